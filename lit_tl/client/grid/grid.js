// @ts-check
/**
 * Matrices side by side on one scale, with a legend, and with what is done about the first token and
 * a chat template's.
 */
import {choice, el} from '../dom.js';
import * as template from '../template_tokens.js';
import {HOW, howOf} from './aside.js';
import {span} from './colours.js';
import {decode} from './data.js';
import {legend} from './legend.js';
import {Link} from './link.js';
import {MatrixView} from './matrix_view.js';

/**
 * @typedef {import('./data.js').GridText} GridText
 * @typedef {import('./aside.js').How} How
 */

export class Grid {
  /** @type {MatrixView[]} */
  #views = [];
  #legends = el('div', {className: 'legends'});
  #matrices = el('div', {className: 'matrices'});

  /**
   * @param {GridText} drawing
   * @param {object} [on]
   * @param {How} [on.first]
   * @param {(first: How) => void} [on.keep]  the reader has chosen
   * @param {(cell: import('./card.js').Cell) => void} [on.choose]  a cell is held
   * @param {Link} [on.link]  with other grids
   * @param {() => import('./card.js').Cell} [on.chosen]  the cell that is chosen for good, where
   *   a click chooses one instead of holding its card
   */
  constructor(drawing, {first = 'shown', keep = () => {}, choose = () => {}, link, chosen} = {}) {
    this.first = howOf(first);
    this.link = link ?? new Link();
    this.parts = decode(drawing);
    const tokens = this.parts.some(({rows, columns}) => rows.tokens || columns.tokens);
    const chats = this.parts.some(({rows, columns}) => rows.roles || columns.roles);
    const unsubscribe = chats ? template.subscribe(() => this.colour()) : () => {};
    const control = choice('First token', HOW, this.first, (value) => {
      this.first = howOf(value);
      keep(this.first);
      this.colour();
    });
    this.box = el(
      'div',
      {className: 'grid'},
      el(
        'div',
        {className: 'scale'},
        this.#legends,
        tokens ? control : null,
        chats ? template.control() : null,
      ),
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
    const leave = this.link.enter(this);
    this.leave = () => {
      leave();
      unsubscribe();
    };
  }

  /**
   * Parts with the same colours share a scale, those of linked grids among them; each scale has a
   * legend.
   */
  colour() {
    const linked = [...this.link.grids].flatMap(({parts}) => parts);
    const aside = {first: this.first, template: template.get()};
    const legends = [];
    for (const key of new Set(this.parts.map(scaleOf))) {
      const shown = span(
        linked.filter((part) => scaleOf(part) === key),
        aside,
      );
      const own = [...this.parts.keys()].filter((i) => scaleOf(this.parts[i]) === key);
      for (const i of own) this.#views[i].colour(shown, aside);
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
