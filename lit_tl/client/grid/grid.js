// @ts-check
/** Matrices side by side on one scale, with a legend, and with what is done about the first token. */
import {choice, el} from '../dom.js';
import {span} from './colours.js';
import {decode} from './data.js';
import {legend} from './legend.js';
import {Link} from './link.js';
import {MatrixView} from './matrix_view.js';

/**
 * @typedef {import('./data.js').GridText} GridText
 * @typedef {import('./colours.js').First} First
 */
/** @type {First[]} */
const FIRST = ['shown', 'not in the colours', 'hidden'];

export class Grid {
  /** @type {MatrixView[]} */
  #views = [];
  #legends = el('div', {className: 'legends'});
  #matrices = el('div', {className: 'matrices'});

  /**
   * @param {GridText} drawing
   * @param {object} [on]
   * @param {First} [on.first]
   * @param {(first: First) => void} [on.keep]  the reader has chosen
   * @param {(cell: import('./card.js').Cell) => void} [on.choose]  a cell is held
   * @param {Link} [on.link]  with other grids
   * @param {() => import('./card.js').Cell} [on.chosen]  the cell that is chosen for good, where
   *   a click chooses one instead of holding its card
   */
  constructor(drawing, {first = 'shown', keep = () => {}, choose = () => {}, link, chosen} = {}) {
    this.first = FIRST.includes(first) ? first : 'shown';
    this.link = link ?? new Link();
    this.parts = decode(drawing);
    const tokens = this.parts.some(({rows, columns}) => rows.tokens || columns.tokens);
    const control = choice('First token', FIRST, this.first, (value) => {
      this.first = /** @type {First} */ (value);
      keep(this.first);
      this.#colour();
    });
    this.box = el(
      'div',
      {className: 'grid'},
      el('div', {className: 'scale'}, this.#legends, tokens ? control : null),
      this.#matrices,
    );
    this.#views = this.parts.map(
      (part) =>
        new MatrixView(part, {
          box: this.box,
          link: this.link,
          label: `${part.title || drawing.title}: ${part.rows.name} by ${part.columns.name}.`,
          choose,
          chosen,
        }),
    );
    this.#matrices.append(...this.#views.map(({figure}) => figure));
    this.#colour();
  }

  /** Parts with the same colours share a scale; each scale has a legend. */
  #colour() {
    /** @type {Map<string, number[]>} */
    const scales = new Map();
    this.parts.forEach(({colours: {name, kind, table: text}}, i) => {
      const key = `${name}\0${kind}\0${text}`;
      scales.set(key, [...(scales.get(key) ?? []), i]);
    });
    const legends = [];
    for (const places of scales.values()) {
      const parts = places.map((i) => this.parts[i]);
      const shown = span(parts, this.first);
      for (const i of places) this.#views[i].colour(shown, this.first === 'hidden');
      legends.push(legend(parts[0].colours, shown));
    }
    this.#legends.replaceChildren(...legends);
  }

  close() {
    for (const view of this.#views) view.close();
  }
}
