// @ts-check
/** Lists of what a model expects. */
import {el, roving} from './dom.js';
import * as template from './template_tokens.js';
import {number, visible} from './tokens.js';

/**
 * @typedef {[string, number]} Guess  a token and its probability
 *
 * What a model thinks of a token of the prompt; null where nothing predicts it.
 * @typedef {{loss: number|null, rank: number|null, probability: number|null}} Value
 */

/**
 * @typedef {object} Marked  a token that is pointed out
 * @property {string} token @property {string} mark
 * @property {number} probability @property {number} rank
 * @property {string[]} [parts]  its tokens, where it has several
 */

/**
 * The likeliest tokens with bars on a common axis; marked ones that are not among them follow with
 * their rank.
 * @param {Guess[]} top
 * @param {Marked[]} marked
 * @param {((token: string) => void)|null} choose
 */
export function guesses(top, marked, choose) {
  const rows = top.map(([token, probability], i) => ({token, probability, rank: i + 1}));
  for (const {token, probability, rank} of marked)
    if (!rows.some((row) => row.token === token)) rows.push({token, probability, rank});
  const most = Math.max(...rows.map(({probability}) => probability)) || 1;
  const end = most > 0.5 ? 1 : most;
  const axis = el(
    'div',
    {className: 'axis', 'aria-hidden': 'true'},
    el('span', {}, '0'),
    el('span', {}, number(end, 2)),
  );
  const list = el(
    'ol',
    {className: 'guesses'},
    ...rows.map(({token, probability, rank}) => {
      const own = marked.filter((one) => one.token === token);
      const parts = own.find((one) => (one.parts?.length ?? 0) > 1)?.parts;
      const shown = (parts ?? [token]).map(visible).join('|');
      const name = choose
        ? el(
            'button',
            {
              type: 'button',
              className: 'name',
              title: parts ? `${parts.length} tokens: ${shown}` : 'Make it the target',
              onclick: () => choose(token),
            },
            shown,
          )
        : el('code', {className: 'name'}, shown);
      const bar = el('span', {className: 'bar'}, el('span', {}));
      /** @type {HTMLElement} */ (bar.firstElementChild).style.width =
        `${((100 * probability) / end).toFixed(2)}%`;
      return el(
        'li',
        {className: own.map(({mark}) => mark).join(' '), value: rank},
        el('span', {className: 'rank'}, String(rank)),
        name,
        bar,
        el('span', {className: 'value'}, number(probability)),
        el('span', {className: 'mark'}, own.map(({mark}) => mark).join(', ')),
      );
    }),
  );
  return el('div', {}, axis, list);
}

/**
 * All tokens of the prompt, one below the other.
 * @param {string[]} tokens
 * @param {Value[]} values
 * @param {(pos: number) => void} focus @param {(pos: number) => void} choose
 * @param {string[]} [roles]  of a conversation's tokens
 */
export function tokenTable(tokens, values, focus, choose, roles = []) {
  const rows = tokens.map((token, pos) => {
    const {loss, rank, probability} = values[pos];
    const button = el(
      'button',
      {
        type: 'button',
        className: 'name',
        tabIndex: pos ? -1 : 0,
        onfocus: () => focus(pos),
        onclick: () => choose(pos),
      },
      visible(token),
    );
    return el(
      'tr',
      {className: roles[pos] ? `of-${roles[pos]}` : '', onmouseenter: () => focus(pos)},
      el('td', {}, String(pos)),
      el('td', {}, button),
      ...[
        rank === null ? '' : String(rank),
        probability === null ? '' : number(probability),
        loss === null ? '' : number(loss, 2),
      ].map((text) => el('td', {className: 'value'}, text)),
    );
  });
  const heads = ['', 'token', 'rank', 'probability', 'loss'].map((text) =>
    el('th', {scope: 'col'}, text),
  );
  const table = el(
    'table',
    {className: 'of-tokens'},
    el('thead', {}, el('tr', {}, ...heads)),
    el('tbody', {}, ...rows),
  );
  roving(table, '.name');
  template.follow(table, (box, how) => box.setAttribute('data-template', how));
  return table;
}
