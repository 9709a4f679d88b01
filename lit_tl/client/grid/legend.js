// @ts-check
import {el} from '../dom.js';
import {number} from '../tokens.js';
import {table} from './colours.js';

/** @param {import('./data.js').Colours} colours @param {{low: number, high: number}} shown */
export function legend({name, unit, table: text, kind}, {low, high}) {
  const canvas = el('canvas', {width: 256, height: 1});
  const pixels = new Uint32Array(table(text));
  if (kind === 'root') {
    const all = table(text);
    for (let i = 0; i < 256; i++) pixels[i] = all[Math.round(255 * Math.sqrt(i / 255))];
  }
  canvas
    .getContext('2d')
    ?.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), 256, 1), 0, 0);
  const how = kind === 'log' ? ', logarithmic' : '';
  return el(
    'span',
    {className: 'legend'},
    el('span', {}, `${name}${unit ? ` (${unit})` : ''}${how}`),
    el('span', {className: 'low'}, number(low, 2)),
    canvas,
    el('span', {className: 'high'}, number(high, 2)),
  );
}
