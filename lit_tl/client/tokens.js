// @ts-check
import {el, roving} from './dom.js';
import {inSpans} from './roles.js';
import * as template from './template_tokens.js';

/** @type {Record<string, string>} */
const BLANKS = {' ': '·', '\n': '↵', '\r': '␍', '\t': '⇥'};

/** How a token is written where blanks and control characters must be seen. @param {string} token */
export const visible = (token) =>
  token.replace(
    /[\u0000-\u0020]/g,
    (blank) => BLANKS[blank] ?? String.fromCharCode(0x2400 + blank.charCodeAt(0)),
  ) || '∅';

/** @param {number|null|undefined} value @param {number} [digits] */
export function number(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return 'none';
  if (value !== 0 && Math.abs(value) < 10 ** -digits) return value.toExponential(1);
  return Number.isInteger(value) ? String(value) : value.toFixed(digits);
}

/**
 * How strongly a token is coloured, 0 to 1.
 * @param {'loss'|'rank'|'probability'} by
 * @param {{loss: number|null, rank: number|null, probability: number|null}} values
 * @param {number} vocabulary  how many tokens there are
 */
export function strength(by, {loss, rank, probability}, vocabulary) {
  if (loss === null || rank === null || probability === null) return 0;
  if (by === 'loss') return Math.min(1, loss / 10);
  if (by === 'rank') return Math.min(1, Math.log(rank) / Math.log(vocabulary));
  return probability;
}

/**
 * A text as its tokens, each a button.
 * @param {string[]} tokens
 * @param {{label: string, focus: (pos: number) => void, choose: (pos: number) => void,
 *   roles?: string[]}} on  `roles`: of the tokens of a conversation
 */
export function tokenStrip(tokens, {label, focus, choose, roles = []}) {
  const buttons = tokens.map((token, pos) => {
    const button = el(
      'button',
      {className: 'token', type: 'button', 'data-pos': String(pos)},
      visible(token),
    );
    return button;
  });
  const box = el('div', {className: 'tokens', role: 'group', 'aria-label': label});
  if (roles.length) {
    box.append(...inSpans(buttons, roles));
    template.follow(box, (strip, how) => strip.setAttribute('data-template', how));
  } else {
    buttons.forEach((button, pos) =>
      box.append(button, ...(tokens[pos].includes('\n') ? [el('br')] : [])),
    );
  }
  const posOf = (/** @type {Event} */ event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest('.token');
    return button ? Number(button.getAttribute('data-pos')) : null;
  };
  for (const type of ['mouseover', 'focusin']) {
    box.addEventListener(type, (event) => {
      const pos = posOf(event);
      if (pos !== null) focus(pos);
    });
  }
  box.addEventListener('click', (event) => {
    const pos = posOf(event);
    if (pos !== null) choose(pos);
  });
  roving(box, '.token');
  return {box, buttons};
}
