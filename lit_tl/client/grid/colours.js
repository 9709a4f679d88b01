// @ts-check
import {buffer} from './data.js';

/** @typedef {import('./data.js').Part} Part */
/** @typedef {'shown'|'not in the colours'|'hidden'} First  what becomes of a prompt's first token */
/** @typedef {{low: number, high: number}} Span */

const NOTHING = 0xfff4f3f1; // of cells without a number

/**
 * The least and the greatest number that colours show.
 * @param {Part[]} parts  on one scale
 * @param {First} first
 * @returns {Span}
 */
export function span(parts, first) {
  let [low, high] = [Infinity, -Infinity];
  for (const {values, rows, columns} of parts) {
    const width = columns.labels.length;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (!Number.isFinite(value)) continue;
      if (first !== 'shown' && isFirst(rows, columns, Math.floor(i / width), i % width)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  const {kind} = parts[0].colours;
  const ends = (/** @type {'low'|'high'} */ name) =>
    parts.flatMap(({colours}) => colours[name] ?? []);
  const [lows, highs] = [ends('low'), ends('high')];
  if (low > high) [low, high] = [0, 1];
  if (kind === 'diverging') {
    const far = Math.max(Math.abs(low), Math.abs(high), ...highs.map(Math.abs)) || 1;
    return {low: -far, high: far};
  }
  const least = lows.length ? Math.min(...lows) : low;
  return {low: least, high: Math.max(high, ...highs, least + 1e-12)};
}

/**
 * Whether a cell is in the column of the first token, or the row.
 * @param {import('./data.js').Axis} rows @param {import('./data.js').Axis} columns
 * @param {number} row @param {number} column
 */
export const isFirst = (rows, columns, row, column) =>
  Boolean((columns.tokens && column === 0) || (rows.tokens && row === 0));

/**
 * Where a number lies on the scale, 0 to 1.
 * @param {import('./data.js').Colours} colours @param {Span} span @param {number} value
 */
export function share({kind}, {low, high}, value) {
  if (kind === 'log') {
    const [from, to] = [Math.log(Math.max(low, 1e-30)), Math.log(Math.max(high, 1e-30))];
    return clamp((Math.log(Math.max(value, 1e-30)) - from) / (to - from || 1));
  }
  const part = clamp((value - low) / (high - low || 1));
  return kind === 'root' ? Math.sqrt(part) : part;
}

const clamp = (/** @type {number} */ part) => Math.max(0, Math.min(1, part));

/** @type {Map<string, Uint32Array>} */
const tables = new Map();

/** 256 colours as pixels. @param {string} text @returns {Uint32Array} */
export function table(text) {
  let known = tables.get(text);
  if (!known) {
    const raw = new Uint8Array(buffer(text));
    known = Uint32Array.from(
      {length: 256},
      (_, i) => ((255 << 24) | (raw[3 * i + 2] << 16) | (raw[3 * i + 1] << 8) | raw[3 * i]) >>> 0,
    );
    tables.set(text, known);
  }
  return known;
}

/**
 * A matrix with one pixel a cell, in the order in which it is seen.
 * @param {Part} part @param {Span} span
 * @returns {HTMLCanvasElement}
 */
export function picture(part, span) {
  const {rows, columns, values, colours} = part;
  const [height, width] = [rows.labels.length, columns.labels.length];
  const pixels = new Uint32Array(width * height);
  const known = table(colours.table);
  for (let row = 0; row < height; row++) {
    const seen = rows.upwards ? height - 1 - row : row;
    for (let column = 0; column < width; column++) {
      const value = values[row * width + column];
      pixels[seen * width + column] = Number.isNaN(value)
        ? NOTHING
        : known[Math.round(255 * share(colours, span, value))];
    }
  }
  const canvas = Object.assign(document.createElement('canvas'), {width, height});
  canvas
    .getContext('2d')
    ?.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), width, height), 0, 0);
  return canvas;
}

/**
 * Black or white, whichever stands out more from the colour of a number (WCAG 2.2, relative
 * luminance).
 * @param {Part} part @param {Span} span @param {number} value
 */
export function ink(part, span, value) {
  if (Number.isNaN(value)) return '#000000';
  const pixel = table(part.colours.table)[Math.round(255 * share(part.colours, span, value))];
  const linear = [0, 8, 16].map((shift) => {
    const channel = ((pixel >> shift) & 255) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return luminance > 0.179 ? '#000000' : '#ffffff';
}
