// @ts-check
import {el} from '../dom.js';
import {number, visible} from '../tokens.js';

/** @typedef {{row: number, column: number}} Cell  of the matrix, not of the screen */

/**
 * What is known of a cell.
 * @param {import('./data.js').Part} part
 * @param {Cell} cell
 * @param {(() => void)|null} release  closes a card that is held
 */
export function cardOf(part, {row, column}, release) {
  const {rows, columns, values, colours, beside, marked, said, reaches} = part;
  const named = (/** @type {import('./data.js').Axis} */ axis, /** @type {number} */ at) =>
    axis.tokens
      ? [
          `${axis.name} ${at} `,
          el('code', {}, visible(axis.labels[at])),
          axis.roles ? ` (${axis.roles[at]})` : '',
        ]
      : [`${axis.name} ${axis.labels[at]}`];
  const at = row * columns.labels.length + column;
  const value = values[at];
  const more = Object.entries(beside).map(([name, numbers]) =>
    el('p', {className: 'more'}, `${name}: ${number(numbers[at], 4)}`),
  );
  const close =
    release &&
    el(
      'button',
      {type: 'button', className: 'close', 'aria-label': 'Close', onclick: release},
      '×',
    );
  return [
    el('p', {className: 'where'}, ...named(rows, row), ', ', ...named(columns, column), close),
    el(
      'p',
      {},
      `${colours.name}: `,
      el('b', {}, Number.isNaN(value) ? 'none' : `${number(value, 4)}`),
      Number.isNaN(value) || !colours.unit ? '' : ` ${colours.unit}`,
    ),
    ...more,
    marked?.[at] ? el('p', {className: 'more'}, 'Exact value and estimate disagree.') : null,
    said ? el('p', {className: 'more'}, `${said[0].toUpperCase()}${said.slice(1)}.`) : null,
    reaches.length ? el('p', {className: 'more'}, reaches[row] ?? reaches[0]) : null,
    topOf(part.top(row, column)),
  ];
}

/** @param {{token: string, value: number}[]} top */
function topOf(top) {
  if (!top.length) return null;
  const rows = top.map(({token, value}) => {
    const bar = el('span', {className: 'bar'}, el('span', {}));
    /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${100 * value}%`;
    return el(
      'li',
      {},
      el('code', {className: 'name'}, visible(token)),
      bar,
      el('span', {className: 'value'}, number(value)),
    );
  });
  return el('ol', {className: 'guesses'}, ...rows);
}

/**
 * Put a card beside a cell, inside the panel.
 * @param {HTMLElement} card @param {HTMLElement} box  that the card is in
 * @param {{left: number, top: number, right: number, bottom: number}} cell  in the page
 */
export function place(card, box, cell) {
  card.hidden = false;
  const own = box.getBoundingClientRect();
  // A detail stands beside the grid: the card leaves it free.
  const around = box.classList.contains('with-detail') ? box : (box.closest('.panel') ?? box);
  const panel = around.getBoundingClientRect();
  const {offsetWidth, offsetHeight} = card;
  const right = cell.right + 8;
  const left = right + offsetWidth <= panel.right ? right : cell.left - 8 - offsetWidth;
  const within = (
    /** @type {number} */ at,
    /** @type {number} */ low,
    /** @type {number} */ high,
  ) => Math.max(low, Math.min(at, high));
  card.style.left = `${within(left, panel.left + 2, panel.right - offsetWidth - 2) - own.left}px`;
  card.style.top = `${within(cell.top, panel.top + 2, panel.bottom - offsetHeight - 2) - own.top}px`;
}
