// @ts-check
/** One prompt as the model reads it. */
import {choice, el} from './dom.js';
import {guesses, tokenTable} from './guesses.js';
import {TEMPLATE} from './roles.js';
import * as target from './target.js';
import * as template from './template_tokens.js';
import {number, strength, tokenStrip, visible} from './tokens.js';

/**
 * @typedef {object} Named  the answer or the foil: what the data says
 * @property {string[]} tokens  its own
 * @property {string} token @property {number} probability @property {number} rank
 * @typedef {object} Reply
 * @property {string[]} tokens
 * @property {string[]} roles  of a conversation's tokens
 * @property {Over} loss_over  which of them a mean loss is of
 * @property {(number|null)[]} loss  nats
 * @property {(number|null)[]} rank  1 is the likeliest
 * @property {import('./guesses.js').Guess[][]} top  what the model expected at each position, and
 *   last what comes next
 * @property {Named|null} answer
 * @property {Named|null} foil
 * @property {number|null} logit_diff
 * @property {number} d_vocab
 * @property {boolean} truncated
 * @property {string} opening
 *
 * @typedef {'loss'|'rank'|'probability'} Quantity
 * @typedef {'all'|'messages'|'assistant'} Over
 */
/** @type {Over[]} */
export const OVER = ['all', 'messages', 'assistant'];
/** @type {Quantity[]} */
export const QUANTITIES = ['loss', 'rank', 'probability'];

export class Prediction {
  #detail = el('div', {className: 'detail', 'aria-live': 'polite'});
  #said = el('span', {className: 'target', role: 'status'});
  #means = el('span', {role: 'status'});

  /**
   * @param {Reply} reply
   * @param {object} how
   * @param {{model: string, exampleId: string}} how.of
   * @param {Quantity} how.by  what colours the tokens
   * @param {Over} [how.over]  which tokens of a conversation the mean loss is of
   * @param {(by: Quantity, over: Over) => void} how.keep
   * @param {Node[]} how.controls  of the panel
   */
  constructor(reply, {of, by, over = reply.loss_over, keep, controls}) {
    const {tokens, roles} = reply;
    this.reply = reply;
    this.of = of;
    this.values = tokens.map((_, pos) => {
      const loss = reply.loss[pos];
      return {loss, rank: reply.rank[pos], probability: loss === null ? null : Math.exp(-loss)};
    });
    const focus = (/** @type {number} */ pos) => this.#detail.replaceChildren(...this.#about(pos));
    const choose = (/** @type {number} */ pos) => {
      if (pos > 0) target.set({...of, tokens: tokens.length, pos, token: tokens[pos]});
    };
    this.strip = tokenStrip(tokens, {label: 'The prompt, token by token', focus, choose, roles});
    const toolbar = el(
      'div',
      {className: 'toolbar'},
      choice('Colour by', QUANTITIES, by, (chosen) => {
        by = /** @type {Quantity} */ (chosen);
        keep(by, over);
        this.#colour(by);
      }),
      ...this.#ofConversations(over, (chosen) => {
        over = chosen;
        keep(by, over);
      }),
      ...controls,
      ...this.#facts(),
      this.#said,
    );
    this.#colour(by);
    this.#mean(roles.length ? over : 'all');
    this.#markTarget();
    this.forget = target.subscribe(() => this.#markTarget());
    focus(tokens.length - 1);
    const table = tokenTable(tokens, this.values, focus, choose, roles);
    const columns = el('div', {className: 'columns'}, this.#next(), this.#detail, table);
    this.box = el('div', {className: 'predictions'}, toolbar, this.strip.box, columns);
  }

  /** What is true of the whole prompt. @returns {Node[]} */
  #facts() {
    const {reply} = this;
    const cut = el('span', {className: 'failed'}, 'The text was cut to what the model reads.');
    return [
      this.#means,
      el('span', {className: 'opening'}, reply.opening),
      ...(reply.truncated ? [cut] : []),
    ];
  }

  /**
   * Controls that prompts without roles have not.
   * @param {Over} over @param {(over: Over) => void} keep @returns {Node[]}
   */
  #ofConversations(over, keep) {
    if (!this.reply.roles.length) return [];
    const lossOf = choice('Loss of', OVER, over, (chosen) => {
      keep(/** @type {Over} */ (chosen));
      this.#mean(/** @type {Over} */ (chosen));
    });
    return [template.control(), lossOf];
  }

  /** The mean loss of some tokens. @param {Over} over */
  #mean(over) {
    const {tokens, roles, loss} = this.reply;
    const counts = (/** @type {string} */ role) =>
      over === 'all' || (over === 'assistant' ? role === over : role !== TEMPLATE);
    /** @type {number[]} */
    const losses = [];
    loss.forEach((each, pos) => {
      if (each !== null && (!roles.length || counts(roles[pos]))) losses.push(each);
    });
    const mean = losses.reduce((sum, each) => sum + each, 0) / losses.length;
    const of = over === 'all' ? '' : ` of ${losses.length}`;
    const none = over === 'all' ? '' : `, none of them of ${over}`;
    this.#means.textContent = losses.length
      ? `${tokens.length} tokens, mean loss${of} ${number(mean, 2)} nats, ` +
        `perplexity ${number(Math.exp(mean), 1)}`
      : `${tokens.length} tokens${none}`;
  }

  /** What the model expects at the end, with the data's answer and foil. */
  #next() {
    const {answer, foil, top, tokens, logit_diff} = this.reply;
    const named = [
      answer && {...answer, parts: answer.tokens, mark: 'answer'},
      foil && {...foil, parts: foil.tokens, mark: 'foil'},
    ].filter((one) => one !== null);
    const choose = (/** @type {string} */ token) =>
      target.set({...this.of, tokens: tokens.length, pos: null, token});
    const difference = `Logit difference of answer and foil: ${number(logit_diff, 2)}`;
    return el(
      'div',
      {className: 'next'},
      el('h4', {}, 'What comes next'),
      guesses(top[tokens.length - 1], named, choose),
      ...(logit_diff === null ? [] : [el('p', {}, difference)]),
    );
  }

  /** What the model expected in the place of a token. @param {number} pos @returns {Node[]} */
  #about(pos) {
    const {loss, rank, probability} = this.values[pos];
    const token = this.reply.tokens[pos];
    const heading = el('h4', {}, `${pos}: `, el('code', {}, visible(token)));
    if (loss === null) return [heading, el('p', {}, 'Nothing predicts the first token.')];
    const line = `loss ${number(loss, 2)} nats, rank ${rank}, probability ${number(probability)}`;
    const here = {token, mark: 'here', probability: probability ?? 0, rank: rank ?? 0};
    return [heading, el('p', {}, line), guesses(this.reply.top[pos - 1], [here], null)];
  }

  /** @param {Quantity} by */
  #colour(by) {
    this.strip.buttons.forEach((button, pos) => {
      const {loss, rank, probability} = this.values[pos];
      const token = this.reply.tokens[pos];
      const alpha = 0.75 * strength(by, this.values[pos], this.reply.d_vocab);
      const colour = by === 'probability' ? '0, 137, 123' : '230, 81, 0';
      button.style.backgroundColor = `rgba(${colour}, ${alpha.toFixed(3)})`;
      button.setAttribute(
        'aria-label',
        loss === null
          ? token
          : `${token}: loss ${number(loss, 2)}, rank ${rank}, probability ${number(probability)}`,
      );
    });
  }

  #markTarget() {
    const chosen = target.get();
    const mine = chosen && target.isOf(chosen, this.of) ? chosen : null;
    this.strip.buttons.forEach((button, pos) =>
      button.classList.toggle('chosen', mine?.pos === pos),
    );
    this.#said.replaceChildren(
      ...(mine
        ? [
            'Target: ',
            el('code', {}, visible(mine.token)),
            mine.pos === null ? ' next ' : ` at ${mine.pos} `,
            el('button', {type: 'button', onclick: () => target.set(null)}, 'Clear'),
          ]
        : ['Click a token to explain it in Salience.']),
    );
  }
}
