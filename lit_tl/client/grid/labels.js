// @ts-check
import {el} from '../dom.js';
import {visible} from '../tokens.js';

const APART = 13; // pixels from one label to the next

/**
 * The labels of an axis that are on screen, each at the middle of its cell, so many that none
 * covers another.
 * @param {HTMLElement} place
 * @param {import('./data.js').Axis} axis
 * @param {number[]} shown  its places that are shown, in the order in which they are seen
 * @param {{from: number, size: number, room: number, chosen: number|null, across: boolean}} window
 *   where the window begins, a cell's size, the window's, in pixels; the place of the label that is chosen;
 *   whether it runs across the page
 */
export function drawLabels(place, axis, shown, {from, size, room, chosen, across}) {
  const count = shown.length;
  const step = Math.max(1, Math.ceil(APART / size));
  const first = Math.max(0, Math.floor(from / size));
  const last = Math.min(count - 1, Math.ceil((from + room) / size) - 1);
  const labels = [];
  for (let seen = first; seen <= last; seen++) {
    const at = shown[seen];
    const away = chosen === null ? Infinity : Math.abs(chosen - seen);
    const counted = axis.upwards ? count - 1 - seen : seen;
    if (seen !== chosen && (counted % step || away * size < APART)) continue;
    const middle = (seen + 0.5) * size - from;
    if (middle < 0 || middle > room) continue;
    const text = axis.tokens ? visible(axis.labels[at]) : axis.labels[at];
    const role = axis.roles?.[at];
    const label = el(
      'span',
      {
        className: [seen === chosen && 'chosen', role && `role role-${role}`]
          .filter(Boolean)
          .join(' '),
        title: role ? `${text} (${role})` : text,
      },
      text,
    );
    label.style[across ? 'left' : 'top'] = `${middle}px`;
    labels.push(label);
  }
  place.replaceChildren(...labels);
}

/** How wide labels down the page want to be, in pixels. @param {import('./data.js').Axis} axis */
export function widthOf(axis) {
  const longest = axis.labels.reduce((most, label) => Math.max(most, label.length), 0);
  return Math.max(28, Math.min(96, 10 + 7 * longest));
}
