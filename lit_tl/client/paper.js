// @ts-check
/** How figures look that are saved for paper: width, font and size, for the whole page. */
import * as address from './address.js';
import {el} from './dom.js';

const KEY = 'Paper';
/** @type {Record<string, [string, Record<string, string>]>} */
const FIELDS = {
  width_mm: ['Width in mm', {type: 'number', min: '40', max: '1000', placeholder: '178'}],
  font: ['Font', {type: 'text', placeholder: 'sans-serif'}],
  font_size: ['Size in points', {type: 'number', min: '3', max: '30', placeholder: '7'}],
};
export const KINDS = ['svg', 'pdf', 'png'];

/** @returns {Record<string, unknown>} what was chosen */
export function get() {
  const kept = address.settingsOf(KEY);
  return Object.fromEntries(
    Object.keys(FIELDS)
      .filter((name) => kept[name] !== undefined && kept[name] !== '')
      .map((name) => [name, kept[name]]),
  );
}

/** The choices, for a menu. */
export function fields() {
  const kept = address.settingsOf(KEY);
  return el(
    'div',
    {className: 'of-paper', role: 'group', 'aria-label': 'On paper'},
    ...Object.entries(FIELDS).map(([name, [label, how]]) => {
      const input = el('input', {
        ...how,
        value: String(kept[name] ?? ''),
        'aria-label': label,
        onchange: () => address.keep(KEY, {[name]: input.value}),
      });
      return el('label', {}, label, input);
    }),
  );
}
