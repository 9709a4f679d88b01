// @ts-check
import {inColours} from './aside.js';
import {buffer} from './data.js';

/** @typedef {import('./data.js').Part} Part */
/** @typedef {{low: number, high: number}} Span */

const NOTHING = 0xfff4f3f1; // of cells without a number

/**
 * The least and the greatest number that colours show.
 * @param {Part[]} parts  on one scale
 * @param {import('./aside.js').Aside} aside
 * @returns {Span}
 */
export function span(parts, aside) {
  let [low, high] = [Infinity, -Infinity];
  for (const {values, rows, columns} of parts) {
    const width = columns.labels.length;
    const [ofRow, ofColumn] = [inColours(rows, aside), inColours(columns, aside)];
    const there = columns.labels.map((_, at) => ofColumn(at));
    for (let row = 0; row < rows.labels.length; row++) {
      if (!ofRow(row)) continue;
      for (let at = 0; at < width; at++) {
        const value = values[row * width + at];
        if (!there[at] || !Number.isFinite(value)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
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
 * @param {{rows: number[], columns: number[]}} shown  from the top left
 * @returns {HTMLCanvasElement}
 */
export function picture(part, span, shown) {
  const {columns, values, colours} = part;
  const [height, width] = [shown.rows.length, shown.columns.length];
  const pixels = new Uint32Array(width * height);
  const known = table(colours.table);
  for (let seen = 0; seen < height; seen++) {
    const from = shown.rows[seen] * columns.labels.length;
    for (let column = 0; column < width; column++) {
      const value = values[from + shown.columns[column]];
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
