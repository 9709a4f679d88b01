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
      this.colour();
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
    this.leave = this.link.enter(this);
  }

  /**
   * Parts with the same colours share a scale, those of linked grids among them; each scale has a
   * legend.
   */
  colour() {
    const linked = [...this.link.grids].flatMap(({parts}) => parts);
    const legends = [];
    for (const key of new Set(this.parts.map(scaleOf))) {
      const shown = span(
        linked.filter((part) => scaleOf(part) === key),
        this.first,
      );
      const own = [...this.parts.keys()].filter((i) => scaleOf(this.parts[i]) === key);
      for (const i of own) this.#views[i].colour(shown, this.first === 'hidden');
      legends.push(legend(this.parts[own[0]].colours, shown));
    }
    this.#legends.replaceChildren(...legends);
  }

  close() {
    this.leave();
    for (const view of this.#views) view.close();
  }
}

/** @param {import('./data.js').Part} part */
const scaleOf = ({colours: {name, kind, table}}) => `${name}\0${kind}\0${table}`;
