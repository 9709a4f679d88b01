// @ts-check
/** How often numbers are how large, with an interval that can be brushed or typed in. */
import {el} from '../dom.js';
import {shown} from './shelf.js';

const WIDTH = 240;
const HEIGHT = 90;
const NAMESPACE = 'http://www.w3.org/2000/svg';

/**
 * @param {string} tag @param {Record<string, string|number>} attributes
 * @returns {SVGElement}
 */
function svg(tag, attributes) {
  const element = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return /** @type {SVGElement} */ (element);
}

/**
 * @typedef {{edges: number[], counts: number[], missing?: number}} Counts
 */
export class Histogram {
  #low = el('input', {type: 'number', step: 'any', 'aria-label': 'From'});
  #high = el('input', {type: 'number', step: 'any', 'aria-label': 'To'});
  #said = el('div', {className: 'note'});
  #place = el('div', {className: 'bars'});

  /** @param {string} label @param {((low: number, high: number) => void)|null} brushed */
  constructor(label, brushed) {
    this.brushed = brushed;
    const apply = () => {
      const [low, high] = [this.#low.valueAsNumber, this.#high.valueAsNumber];
      if (low <= high) brushed?.(low, high);
    };
    const between = brushed
      ? el(
          'div',
          {className: 'between'},
          this.#low,
          '–',
          this.#high,
          el('button', {type: 'button', onclick: apply}, 'Filter'),
        )
      : null;
    this.box = el(
      'figure',
      {className: 'histogram', 'aria-label': `Histogram of ${label}`},
      el('figcaption', {}, label),
      this.#place,
      between,
      this.#said,
    );
  }

  /** @param {Counts} counts */
  show({edges, counts, missing = 0}) {
    this.#said.textContent = missing ? `${missing.toLocaleString('en')} without a number` : '';
    if (!counts.length) {
      this.#place.replaceChildren(el('p', {className: 'empty'}, 'No numbers.'));
      return;
    }
    const picture = svg('svg', {viewBox: `0 0 ${WIDTH} ${HEIGHT + 14}`, role: 'img'});
    picture.setAttribute(
      'aria-label',
      `${counts.length} intervals from ${shown(edges[0])} to ${shown(edges.at(-1))}`,
    );
    const most = Math.max(...counts);
    const width = WIDTH / counts.length;
    counts.forEach((count, i) => {
      const height = count ? Math.max(1, (count / most) * HEIGHT) : 0;
      const bar = svg('rect', {x: i * width, y: HEIGHT - height, width: width * 0.9, height});
      const title = svg('title', {});
      title.textContent = `${shown(edges[i])} to ${shown(edges[i + 1])}: ${count.toLocaleString('en')}`;
      bar.append(title);
      picture.append(bar);
    });
    const label = (
      /** @type {number} */ x,
      /** @type {string} */ anchor,
      /** @type {number} */ value,
    ) => {
      const text = svg('text', {x, y: HEIGHT + 11, 'text-anchor': anchor});
      text.textContent = shown(value);
      picture.append(text);
    };
    label(0, 'start', edges[0]);
    label(WIDTH, 'end', edges[edges.length - 1]);
    if (edges[0] < 0 && edges[edges.length - 1] > 0) {
      const x = (-edges[0] / (edges[edges.length - 1] - edges[0])) * WIDTH;
      picture.append(svg('line', {x1: x, x2: x, y1: 0, y2: HEIGHT, class: 'zero'}));
    }
    [this.#low.value, this.#high.value] = [String(edges[0]), String(edges[edges.length - 1])];
    if (this.brushed) this.#brush(picture, edges);
    this.#place.replaceChildren(picture);
  }

  /** @param {SVGElement} picture @param {number[]} edges */
  #brush(picture, edges) {
    const area = svg('rect', {class: 'brush', y: 0, height: HEIGHT, x: 0, width: 0});
    picture.append(area);
    const [low, high] = [edges[0], edges[edges.length - 1]];
    let from = NaN;
    const at = (/** @type {PointerEvent} */ event) => {
      const {left, width} = picture.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - left) / width));
    };
    const value = (/** @type {number} */ share) => low + share * (high - low);
    picture.addEventListener('pointerdown', (event) => {
      from = at(event);
      picture.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    picture.addEventListener('pointermove', (event) => {
      if (Number.isNaN(from)) return;
      const to = at(event);
      area.setAttribute('x', String(Math.min(from, to) * WIDTH));
      area.setAttribute('width', String(Math.abs(to - from) * WIDTH));
    });
    picture.addEventListener('pointerup', (event) => {
      const [first, last] = [from, at(event)].sort((a, b) => a - b);
      from = NaN;
      if (last - first < 0.01) return; // a click
      this.#low.value = Number(value(first).toPrecision(4)).toString();
      this.#high.value = Number(value(last).toPrecision(4)).toString();
      this.brushed?.(this.#low.valueAsNumber, this.#high.valueAsNumber);
    });
  }
}
