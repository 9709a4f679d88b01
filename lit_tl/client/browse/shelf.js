// @ts-check
/**
 * What the page knows of the server's stores.
 *
 * @typedef {{name: string, kind: 'number'|'text'|'boolean', unit: string}} Column
 * @typedef {{name: string, model: string, analysis: string, weights: string, changes: string[],
 *   code: string, note: string, same: string[], other: Record<string, string>}} Part
 * @typedef {{label: string, folder: string, rows: number, columns: Column[], parts: Part[],
 *   data: string[], most: number, vectors: {part: string, layers: number[]}[]}} Shelf
 * @typedef {{store: string, filter: string, sort: string, descending: boolean}} Question
 */
import {ask} from '../bridge/session.js';

/** @returns {Promise<Shelf[]>} */
export const shelves = () => ask('describe_stores');

/** Columns of numbers that people sort by first. */
const FIRST = ['loss', 'answer_rank', 'answer_prob', 'logit_diff', 'n_tokens', 'next_prob'];

/**
 * @param {Shelf} shelf @param {number} [most]
 * @returns {string[]} columns that the table shows first
 */
export function shownFirst(shelf, most = 9) {
  const names = shelf.columns.map(({name}) => name);
  const own = shelf.columns.filter(({name}) => !name.includes('.') && name !== 'row');
  const text = names.includes('text') ? ['text'] : [];
  const numbers = names.filter((name) => FIRST.includes(name.split('.').at(-1) ?? ''));
  const labels = own.filter(
    ({name, kind}) => kind === 'text' && name !== 'text' && name !== 'error',
  );
  const more = labels
    .map(({name}) => name)
    .filter((name) => ['answer', 'next_token'].includes(name));
  return [...new Set([...text, ...more, ...numbers])].slice(0, most);
}

/** @param {unknown} value @returns {string} as the table shows it */
export function shown(value) {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'number') return String(value);
  if (Number.isInteger(value)) return value.toLocaleString('en');
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(2) : value.toPrecision(4);
}
