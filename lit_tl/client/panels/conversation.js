// @ts-check
import * as address from '../address.js';
import {el, states} from '../dom.js';
import {guesses} from '../guesses.js';
import {copyOf, dataOf, drafts, nextRole, toText} from '../messages.js';
import {setCorrupt} from '../pair_editor.js';
import {sentenceOf} from '../reach.js';
import {Latest} from '../request.js';
import * as template from '../template_tokens.js';
import {number, strength, tokenStrip, visible} from '../tokens.js';
import {TurnsEditor} from '../turns_editor.js';

/**
 * @typedef {import('../bridge.js').View} View
 * @typedef {import('../bridge.js').Example} Example
 * @typedef {import('../messages.js').Conversation} Conversation
 * @typedef {import('../prediction.js').Reply & {conversation: (Conversation & {turns: number[]})|null}}
 *   Reply
 */
const SETTINGS = {new_tokens: 200, temperature: 0, seed: 0};

class ConversationPanel {
  #latest = new Latest();
  #answer = new Latest();
  /** @type {View|null} */
  #view = null;
  /** @type {Reply|null} */
  #reply = null;
  #editor = new TurnsEditor(() => this.#edited());
  #toolbar = el('div', {className: 'toolbar'});
  #said = el('p', {className: 'said', role: 'status'});
  #tokens = el('div', {className: 'of-conversation'});
  #detail = el('div', {className: 'detail', 'aria-live': 'polite'});
  #place;
  #busy = false;

  /** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
  constructor(root, host) {
    this.host = host;
    this.#place = states(root);
  }

  /** @param {View} view */
  show(view) {
    if (this.#busy) this.#stop();
    this.#view = view;
    const {example} = view;
    if (!example) {
      this.close();
      this.#place.empty(
        view.pinned ? 'Pin a prompt to compare it here.' : 'Select a prompt to write on.',
      );
      return;
    }
    this.#latest.run(() => this.host.ask('Predictions', example, {}, view), {
      loading: () => this.#place.loading('The model is reading the conversation.'),
      failed: (sentence) => this.#broken(example, sentence),
      done: (/** @type {Reply} */ reply) => {
        this.#reply = reply;
        this.#draw(example);
      },
    });
  }

  close() {
    this.#latest.drop();
    this.#answer.drop();
    this.#busy = false;
  }

  /** What the model can't read can still be mended. @param {Example} example @param {string} sentence */
  #broken(example, sentence) {
    this.#reply = null;
    if (!drafts.has(example.id)) {
      this.#place.failed(sentence);
      this.#place.more(
        el('button', {type: 'button', onclick: () => this.#start(example)}, 'Write it anew'),
      );
      return;
    }
    this.#draw(example);
    this.#said.textContent = sentence;
  }

  /** @param {Example} example */
  #draw(example) {
    const conversation = this.#reply?.conversation ?? null;
    const known = drafts.get(example.id);
    this.#said.textContent = '';
    if (!known && !conversation) {
      const start = el(
        'button',
        {type: 'button', onclick: () => this.#start(example)},
        'Make it one',
      );
      const sentence = 'This prompt is plain text, and no conversation. ';
      this.#place.done(el('p', {className: 'toolbar'}, sentence, start));
      return;
    }
    this.#editor.show(known ?? copyOf(/** @type {Conversation} */ (conversation)));
    this.#drawToolbar();
    this.#drawTokens();
    this.#place.done(
      this.#toolbar,
      this.#said,
      el(
        'div',
        {className: 'conversation'},
        this.#editor.box,
        el('div', {className: 'read'}, this.#tokens, this.#detail),
      ),
    );
    this.#editor.show(this.#editor.draft); // fields have their heights only on the page
  }

  /** The prompt as a user's first turn. @param {Example} example */
  #start(example) {
    const messages = [{role: 'user', content: String(example.data.text), more: ''}];
    drafts.set(example.id, {messages, continues: false, tools: ''});
    this.#draw(example);
  }

  get #text() {
    return toText(this.#editor.draft);
  }

  get #dirty() {
    const {example} = /** @type {View} */ (this.#view);
    return this.#text !== this.#textOf(/** @type {Example} */ (example));
  }

  /** An example's conversation as its text. @param {Example} example */
  #textOf(example) {
    const {conversation} = this.#reply ?? {};
    return conversation ? toText(conversation) : String(example.data.text);
  }

  #edited() {
    const {id} = /** @type {Example} */ (this.#view?.example);
    if (this.#dirty) drafts.set(id, this.#editor.draft);
    else drafts.delete(id);
    this.#said.textContent = '';
    this.#drawToolbar();
  }

  get #settings() {
    const kept = address.settingsOf('Conversation');
    return Object.fromEntries(
      Object.entries(SETTINGS).map(([name, fallback]) => [name, Number(kept[name] ?? fallback)]),
    );
  }

  #drawToolbar() {
    const {messages, continues} = this.#editor.draft;
    const waits = continues || messages[messages.length - 1].role !== 'assistant';
    const button = (
      /** @type {string} */ text,
      /** @type {string} */ title,
      /** @type {boolean} */ off,
      /** @type {() => unknown} */ onclick,
    ) => el('button', {type: 'button', title, disabled: off, onclick}, text);
    const field = (
      /** @type {string} */ name,
      /** @type {string} */ label,
      /** @type {object} */ how,
    ) => {
      const input = el('input', {
        type: 'number',
        value: String(this.#settings[name]),
        'aria-label': label,
        disabled: this.#busy,
        onchange: () => address.keep('Conversation', {[name]: Number(input.value)}),
        ...how,
      });
      return el('label', {className: 'control'}, label, input);
    };
    const {pinned} = /** @type {View} */ (this.#view);
    const never = this.#busy || pinned;
    this.#toolbar.replaceChildren(
      this.#busy
        ? button('Stop', 'The answer so far stays.', false, () => this.#stop())
        : button(
            continues ? 'Go on' : 'Answer',
            waits ? 'The model writes what comes next.' : 'The last message is the assistant’s.',
            !waits || pinned,
            () => this.#write(),
          ),
      field('temperature', 'Temperature', {min: '0', max: '10', step: '0.1'}),
      field('seed', 'Seed', {min: '0', step: '1'}),
      field('new_tokens', 'Most tokens', {min: '1', step: '50'}),
      button(
        'Use in all panels',
        'A new example of the data set, which comes from this one.',
        never || !this.#dirty,
        () => this.#use(this.#text, this.#editor.draft),
      ),
      button(
        'Compare in Causes',
        'This conversation as the corrupt prompt of the one that is selected.',
        never || !this.#dirty,
        () => this.#compare(),
      ),
      button('Undo changes', 'Back to the example as it is.', never || !this.#dirty, () => {
        const example = /** @type {Example} */ (this.#view?.example);
        drafts.delete(example.id);
        this.#draw(example);
      }),
    );
  }

  /** The example with the draft. @returns {Example} */
  get #drafted() {
    const {id, data, meta} = /** @type {Example} */ (this.#view?.example);
    const kept = dataOf(data, this.#reply?.conversation ?? null, this.#editor.draft);
    return {
      id: '',
      data: {...kept, text: this.#text, _id: ''},
      meta: {...meta, added: true, parentId: id},
    };
  }

  #write() {
    const {draft} = this.#editor;
    const view = /** @type {View} */ (this.#view);
    const asked = {...view, example: this.#drafted};
    if (!draft.continues) draft.messages.push({role: 'assistant', content: '', more: ''});
    const last = draft.messages[draft.messages.length - 1];
    const before = last.content;
    draft.continues = true;
    this.#editor.show(draft);
    this.#busy = true;
    this.#editor.lock(true);
    this.#drawToolbar();
    /** @param {{said: {text: string, ended: boolean}}} drawing */
    const partial = ({said}) => {
      last.content = before + said.text;
      this.#editor.says(last.content);
    };
    this.#answer.run(() => this.host.analyze('Answer', this.#settings, asked, {}), {
      loading: () => (this.#said.textContent = 'The model is writing.'),
      partial,
      failed: (sentence) => {
        if (!last.content && draft.messages.length > 1) {
          draft.messages.pop();
          draft.continues = false;
        }
        this.#written();
        this.#said.textContent = sentence;
      },
      done: (drawing) => {
        partial(drawing);
        draft.continues = !drawing.said.ended;
        this.#written();
        void this.#use(this.#text, draft);
      },
    });
  }

  /** The answer so far stays, as a prefill. */
  #stop() {
    this.#answer.drop();
    this.#written();
    this.#said.textContent =
      'Stopped: the answer so far is a prefill, and “Go on” goes on from it.';
  }

  #written() {
    this.#busy = false;
    this.#said.textContent = '';
    this.#editor.lock(false);
    this.#edited();
  }

  /**
   * A new example, which every panel shows.
   * @param {string} text @param {Conversation} conversation
   */
  async #use(text, conversation) {
    const example = /** @type {Example} */ (this.#view?.example);
    try {
      const data = dataOf(example.data, this.#reply?.conversation ?? null, conversation);
      await this.host.addExample({...data, text}, example.id);
      drafts.delete(example.id);
    } catch (error) {
      this.#said.textContent = sentenceOf(error);
    }
  }

  #compare() {
    const {id} = /** @type {Example} */ (this.#view?.example);
    setCorrupt(id, this.#text);
    this.#measure();
    this.host.goTo('Causes');
  }

  /** A metric that does without what the example lacks, where nobody has chosen one. */
  #measure() {
    const {model, example} = /** @type {View} */ (this.#view);
    const {answer, foil} = /** @type {Example} */ (example).data;
    const key = `Causes:${model}`;
    if (foil || address.settingsOf(key).metric) return;
    address.keep(key, {metric: answer ? 'log-probability' : 'KL divergence'});
  }

  #drawTokens() {
    this.#detail.replaceChildren();
    if (!this.#reply?.conversation) {
      this.#tokens.replaceChildren(
        el('p', {className: 'empty'}, 'Use it in all panels to see it read.'),
      );
      return;
    }
    const {tokens, roles, loss, rank, d_vocab, truncated} = this.#reply;
    const focus = (/** @type {number} */ pos) => this.#about(pos);
    const strip = tokenStrip(tokens, {
      label: 'The conversation, token by token',
      focus,
      choose: focus,
      roles,
    });
    strip.buttons.forEach((button, pos) => {
      const probability =
        loss[pos] === null ? null : Math.exp(-(/** @type {number} */ (loss[pos])));
      const alpha =
        0.75 * strength('loss', {loss: loss[pos], rank: rank[pos], probability}, d_vocab);
      button.style.backgroundColor = `rgba(230, 81, 0, ${alpha.toFixed(3)})`;
    });
    const cut = 'The conversation was cut to what the model reads.';
    this.#tokens.replaceChildren(
      el(
        'div',
        {className: 'toolbar'},
        roles.length ? template.control() : 'Which tokens are whose is not known of this template.',
        truncated ? el('span', {className: 'failed'}, cut) : null,
        'Point at a token to see what else might have stood there, and to fork.',
      ),
      strip.box,
    );
  }

  /** What else might have stood in a token's place. @param {number} pos */
  #about(pos) {
    const {tokens, loss, rank, top, conversation} = /** @type {Reply} */ (this.#reply);
    const token = tokens[pos];
    const heading = el('h4', {}, `${pos}: `, el('code', {}, visible(token)));
    if (loss[pos] === null) {
      this.#detail.replaceChildren(heading, el('p', {}, 'Nothing predicts the first token.'));
      return;
    }
    const probability = Math.exp(-(/** @type {number} */ (loss[pos])));
    const here = {token, mark: 'here', probability, rank: rank[pos] ?? 0};
    const turn = conversation?.turns[pos] ?? -1;
    const fork = turn < 0 ? null : (/** @type {string} */ other) => void this.#fork(pos, other);
    this.#detail.replaceChildren(
      heading,
      el(
        'div',
        {className: 'toolbar'},
        `loss ${number(loss[pos], 2)} nats, rank ${rank[pos]}`,
        fork &&
          el(
            'button',
            {
              type: 'button',
              title: 'A twin that has what comes before this token, and goes on from there.',
              onclick: () => fork(''),
            },
            'Fork here',
          ),
      ),
      guesses(top[pos - 1], [here], fork),
    );
  }

  /** @param {number} pos @param {string} token  in its place; '' for none */
  async #fork(pos, token) {
    const view = /** @type {View} */ (this.#view);
    this.#said.textContent = '';
    try {
      const {said} = await this.host.analyze('Fork', {position: pos, token}, view, {});
      await this.#use(said.text, said.conversation);
    } catch (error) {
      this.#said.textContent = sentenceOf(error);
    }
  }
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Conversation',
  info:
    'The messages of a conversation, to be changed and gone on with, and the tokens that the ' +
    'model reads. A token can be forked: a twin goes on from there in another way.',
  interpreter: '',
  tab: 'Chat',
  mount: (root, host) => new ConversationPanel(root, host),
};
