// @ts-check
/** The turns of a conversation, to be written, moved and removed. */
import {el} from './dom.js';
import {nextRole, ROLES} from './messages.js';

/** @typedef {import('./messages.js').Conversation} Conversation */

export class TurnsEditor {
  #list = el('ol', {className: 'turns', 'aria-label': 'Messages'});
  #add = el('button', {type: 'button', onclick: () => this.#append()}, 'Add a message');
  box = el(
    'div',
    {className: 'turns-editor'},
    this.#list,
    el('div', {className: 'toolbar'}, this.#add),
  );
  /** @type {Conversation} */
  #draft = {messages: [], continues: false, tools: ''};

  /** @param {() => void} changed  the draft is another one */
  constructor(changed) {
    this.changed = changed;
  }

  /** @returns {Conversation} */
  get draft() {
    return this.#draft;
  }

  /** @param {Conversation} draft */
  show(draft) {
    this.#draft = draft;
    this.#draw();
  }

  /** What the assistant has said so far, behind what it says already. @param {string} text */
  says(text) {
    const field = this.#fields[this.#fields.length - 1];
    if (!field) return;
    field.value = text;
    grow(field);
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** @param {boolean} busy */
  lock(busy) {
    /** @type {NodeListOf<HTMLButtonElement>} */
    const controls = this.box.querySelectorAll('button, select, textarea, input');
    for (const each of controls) each.disabled = busy;
    if (!busy) this.#draw();
  }

  get #fields() {
    return [...this.#list.querySelectorAll('textarea')];
  }

  #append() {
    const {messages} = this.#draft;
    this.#draft.continues = false;
    messages.push({role: nextRole(messages), content: '', more: ''});
    this.#changed();
    this.#fields[messages.length - 1]?.focus();
  }

  #changed() {
    this.#draw();
    this.changed();
  }

  #draw() {
    const {messages, continues} = this.#draft;
    this.#list.replaceChildren(...messages.map((_, at) => this.#turn(at)));
    for (const field of this.#fields) grow(field);
    const last = messages[messages.length - 1];
    this.#add.textContent = `Add a message of the ${nextRole(messages)}`;
    this.#add.title = continues && last ? 'The prefill then is a whole message.' : '';
  }

  /** @param {number} at */
  #turn(at) {
    const {messages} = this.#draft;
    const message = messages[at];
    const number = at + 1;
    const button = (
      /** @type {string} */ sign,
      /** @type {string} */ name,
      /** @type {boolean} */ off,
      /** @type {() => void} */ onclick,
    ) =>
      el(
        'button',
        {
          type: 'button',
          title: name,
          'aria-label': `${name} ${number}`,
          disabled: off,
          onclick: () => {
            onclick();
            this.#draft.continues &&= messages[messages.length - 1]?.role === 'assistant';
            this.#changed();
          },
        },
        sign,
      );
    const move = (/** @type {number} */ by) => () => {
      messages.splice(at, 1);
      messages.splice(at + by, 0, message);
    };
    return el(
      'li',
      {className: `turn role-${message.role}`},
      el(
        'div',
        {className: 'toolbar'},
        this.#role(at),
        ...this.#prefill(at),
        button('↑', 'Move up message', at === 0, move(-1)),
        button('↓', 'Move down message', at === messages.length - 1, move(1)),
        button('×', 'Remove message', messages.length === 1, () => messages.splice(at, 1)),
      ),
      this.#content(at),
      message.more ? el('code', {className: 'more'}, message.more) : null,
    );
  }

  /** @param {number} at */
  #role(at) {
    const message = this.#draft.messages[at];
    const roles = ROLES.includes(message.role) ? ROLES : [...ROLES, message.role];
    const select = el(
      'select',
      {
        'aria-label': `Role of message ${at + 1}`,
        onchange: () => {
          message.role = select.value;
          if (message.role !== 'assistant') this.#draft.continues = false;
          this.#changed();
        },
      },
      ...roles.map((role) => el('option', {value: role}, role)),
    );
    select.value = message.role;
    return select;
  }

  /** Of the last message, where it is the assistant's. @param {number} at */
  #prefill(at) {
    const {messages, continues} = this.#draft;
    if (at !== messages.length - 1 || messages[at].role !== 'assistant') return [];
    const box = el('input', {
      type: 'checkbox',
      checked: continues,
      onchange: () => {
        this.#draft.continues = box.checked;
        this.changed();
      },
    });
    const title = 'The model goes on from what is written here.';
    return [el('label', {className: 'control', title}, box, 'prefill')];
  }

  /** @param {number} at */
  #content(at) {
    const message = this.#draft.messages[at];
    const field = el('textarea', {
      'aria-label': `Message ${at + 1} of the ${message.role}`,
      rows: 1,
      value: message.content,
      oninput: () => {
        message.content = field.value;
        grow(field);
        this.changed();
      },
    });
    return field;
  }
}

/** As high as its text. @param {HTMLTextAreaElement} field */
function grow(field) {
  field.style.height = 'auto';
  if (field.scrollHeight) field.style.height = `${Math.min(field.scrollHeight + 2, 260)}px`;
}
