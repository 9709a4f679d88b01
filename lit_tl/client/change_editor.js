// @ts-check
/** Staged changes as chips, and what makes a variant of them. */
import {completions, ownChanges, set, staged, strengthOf, withStrength} from './changes.js';
import {el, keepingFocus} from './dom.js';
import {sentenceOf} from './reach.js';

/**
 * @typedef {import('./bridge.js').View} View
 * @typedef {import('./bridge.js').Variant} Variant
 */
export class ChangeEditor {
  #model = '';
  #chips = el('div', {className: 'chips', role: 'list', 'aria-label': 'Staged changes'});
  #list = el('datalist', {id: `changes-${Math.random().toString(36).slice(2)}`});
  #input = el('input', {
    type: 'text',
    size: 44,
    'aria-label': 'Add a change',
    placeholder: 'L9H6 = zero',
    oninput: () => this.#complete(),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === 'Enter') this.#add();
    },
  });
  #actions = el('div', {className: 'toolbar'});
  #said = el('p', {className: 'said', role: 'status'});
  box = el('div', {className: 'changes'});

  /** @param {import('./bridge.js').Host} host */
  constructor(host) {
    this.host = host;
    this.#input.setAttribute('list', this.#list.id);
    this.box.append(
      this.#chips,
      el(
        'div',
        {className: 'toolbar'},
        el('label', {className: 'control'}, 'Change', this.#input),
        this.#list,
        el('button', {type: 'button', onclick: () => this.#add()}, 'Add'),
        this.#actions,
      ),
      this.#said,
    );
  }

  /** @returns {Variant} */
  get #about() {
    return /** @type {Variant} */ (this.host.variant(this.#model));
  }

  /** @returns {string[]} */
  get now() {
    return staged(this.#model, ownChanges(this.#about));
  }

  /** As one text. */
  get text() {
    return this.now.join('; ');
  }

  get #isVariant() {
    const {original, changes} = this.#about;
    return changes.length > 0 && original !== '';
  }

  /** The model that the changes are made of. */
  get base() {
    return this.#isVariant ? this.#about.original : this.#model;
  }

  /** @param {string} model */
  show(model) {
    if (model !== this.#model) this.#said.textContent = '';
    this.#model = model;
    this.draw();
  }

  draw() {
    const {now} = this;
    keepingFocus(this.box, () => {
      this.#chips.replaceChildren(
        ...(now.length
          ? now.map((change, at) => this.#chip(change, at))
          : [
              el(
                'p',
                {className: 'said'},
                'No change is staged: type one, or take it from a head in Attention, a cell in ' +
                  'Causes or a token in Lens.',
              ),
            ]),
      );
      this.#actions.replaceChildren(...this.#buttons());
    });
    this.#complete();
  }

  /** @param {string} change @param {number} at */
  #chip(change, at) {
    const strength = strengthOf(change);
    const replace = (/** @type {string|null} */ next) => {
      const all = [...this.now];
      all.splice(at, 1, ...(next === null ? [] : [next]));
      this.#take(all);
    };
    const slider =
      strength === null
        ? null
        : el('input', {
            type: 'number',
            step: 0.1,
            value: String(strength),
            'aria-label': `Strength of ${change}`,
            title: "A share of the value's norm.",
            onchange: (/** @type {Event} */ event) => {
              const value = Number(/** @type {HTMLInputElement} */ (event.target).value);
              if (Number.isFinite(value)) replace(withStrength(change, value));
            },
          });
    return el(
      'span',
      {className: 'chip', role: 'listitem'},
      el('code', {title: change}, change),
      slider,
      el(
        'button',
        {type: 'button', 'aria-label': `Remove ${change}`, onclick: () => replace(null)},
        '×',
      ),
    );
  }

  #buttons() {
    const {now} = this;
    const {changes} = this.#about;
    const button = (
      /** @type {string} */ text,
      /** @type {() => unknown} */ onclick,
      off = false,
    ) => el('button', {type: 'button', onclick, disabled: off}, text);
    const same = JSON.stringify(now) === JSON.stringify(changes);
    if (this.#isVariant)
      return [
        button('Apply', () => this.#replace(), same || !now.length),
        button('Undo', () => set(this.#model, null), same),
        button('Delete variant', () => this.#delete()),
      ];
    const name = el('input', {
      type: 'text',
      size: 14,
      'aria-label': 'Name of the variant',
      value: `${this.#model}-changed`,
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === 'Enter' && now.length) void this.#make(name.value);
      },
    });
    return [
      el('label', {className: 'control'}, 'name', name),
      button('Make variant', () => this.#make(name.value), !now.length),
      button('Clear', () => set(this.#model, []), !now.length),
    ];
  }

  #complete() {
    const names = [...new Set([...this.host.dataSets(), ...this.#about.tasks])];
    this.#list.replaceChildren(
      ...completions(this.#about, names, this.#input.value).map((value) => el('option', {value})),
    );
  }

  #add() {
    const change = this.#input.value.trim();
    if (!change) return;
    this.#input.value = '';
    this.#take([...this.now, change]);
  }

  /** Other changes: a variant is made anew with them. @param {string[]} changes */
  #take(changes) {
    if (this.#isVariant && !changes.length) {
      this.#said.textContent = 'A variant has at least one change: Delete variant takes it away.';
      return;
    }
    set(this.#model, changes);
    if (this.#isVariant) void this.#replace();
  }

  /** @param {string} name */
  async #make(name) {
    await this.#working('Making the variant.', async () => {
      const made = await this.host.makeVariant(this.base, this.now, name);
      set(this.#model, null);
      return `${made} is on the page, beside ${this.base}.`;
    });
  }

  async #replace() {
    const old = this.#model;
    await this.#working('Making the variant anew.', async () => {
      await this.host.makeVariant(this.base, this.now, nextName(old), old);
      return '';
    });
  }

  async #delete() {
    await this.#working('Deleting the variant.', async () => {
      await this.host.removeVariant(this.#model);
      return '';
    });
  }

  /** @param {string} sentence @param {() => Promise<string>} work */
  async #working(sentence, work) {
    this.#said.className = 'said';
    this.#said.textContent = sentence;
    this.#actions.inert = true;
    try {
      this.#said.textContent = await work();
    } catch (error) {
      this.#said.className = 'failed';
      this.#said.textContent = sentenceOf(error);
    } finally {
      this.#actions.inert = false;
    }
  }
}

/** A name that this page has not had: LIT keeps predictions by it. @param {string} name */
function nextName(name) {
  const [, base = name, count = '1'] = /^(.*?)-(\d+)$/.exec(name) ?? [];
  return `${base}-${Number(count) + 1}`;
}
