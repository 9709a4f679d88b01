// @ts-check
/** Attention as it travels, and as pixels. */

/** @param {string} text base64 @returns {Uint8Array} */
export function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/**
 * Weights of one head: 16-bit numbers, little-endian, in units of `scale`.
 * @param {string} data @param {number} scale @returns {Float32Array}
 */
export function weights(data, scale) {
  const raw = bytes(data);
  const view = new DataView(raw.buffer);
  return Float32Array.from({length: raw.length / 2}, (_, i) => view.getUint16(2 * i, true) * scale);
}

/**
 * Colour of a strength between 0 and 1: white to LIT's teal, steep at first so that weak attention
 * is seen.
 * @param {number} strength @returns {[number, number, number]}
 */
export function colour(strength) {
  const s = Math.sqrt(Math.max(0, Math.min(1, strength)));
  return [255 - Math.round(255 * s), 255 - Math.round(165 * s), 255 - Math.round(155 * s)];
}

/**
 * Pixels of a square matrix, one a number.
 * @param {ArrayLike<number>} values
 * @param {number} size
 * @param {number} most  the value of full strength
 */
export function pixels(values, size, most) {
  const data = new Uint8ClampedArray(4 * size * size);
  for (let i = 0; i < size * size; i++) {
    const [red, green, blue] = colour(most ? values[i] / most : 0);
    data.set([red, green, blue, 255], 4 * i);
  }
  return data;
}

/**
 * Draw a square matrix into a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {ArrayLike<number>} values
 * @param {number} size
 */
export function paint(canvas, values, size) {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, values[i]);
  canvas.width = canvas.height = size;
  canvas
    .getContext('2d')
    ?.putImageData(new ImageData(pixels(values, size, most), size, size), 0, 0);
}

/**
 * The strongest entries of a row or column.
 * @param {number[]} values @param {number} count @returns {{pos: number, weight: number}[]}
 */
export function strongest(values, count) {
  return values
    .map((weight, pos) => ({weight, pos}))
    .filter(({weight}) => weight > 0)
    .sort((a, b) => b.weight - a.weight)
    .slice(0, count);
}

/**
 * Heads in the order of a score, highest first; heads without one come last, and equal ones stay in
 * order.
 * @param {(number|null)[][]} scores  layer x head
 * @returns {[number, number][]}
 */
export function sortedHeads(scores) {
  const heads = scores.flatMap((row, layer) =>
    row.map((score, head) => ({layer, head, score: score ?? -Infinity})),
  );
  return heads
    .sort((a, b) => (b.score === a.score ? 0 : b.score - a.score))
    .map(({layer, head}) => [layer, head]);
}
