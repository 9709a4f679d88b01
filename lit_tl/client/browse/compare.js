// @ts-check
/** Where two columns of the same prompts differ most. */
import {ask} from '../bridge/session.js';
import {choice, el} from '../dom.js';
import {Histogram} from './histogram.js';
import {RowsTable} from './rows_table.js';
import {shown} from './shelf.js';

/** @typedef {import('./shelf.js').Shelf} Shelf */

export class Compare {
  #controls = el('div', {className: 'toolbar'});
  #said = el('p', {className: 'said', role: 'status'});
  #spread = el('div', {className: 'aside'});
  #side = {store: '', column: ''};
  #other = {store: '', column: ''};

  /**
   * @param {Shelf[]} shelves
   * @param {object} on
   * @param {() => string} on.filter  of the left store
   * @param {(rows: number[], store: string) => void} on.choose
   * @param {(sentence: string) => void} on.fail
   */
  constructor(shelves, on) {
    this.shelves = shelves;
    this.on = on;
    this.table = new RowsTable({
      fetch: (first, count) => this.#fetch(first, count),
      sort: () => {},
      choose: () => on.choose([...this.table.chosen], this.#side.store),
      fail: on.fail,
    });
    this.table.box.setAttribute('aria-label', 'Rows by their difference');
    this.box = el(
      'div',
      {className: 'compare'},
      this.#controls,
      this.#said,
      el('div', {className: 'beside'}, this.table.box, this.#spread),
    );
    [this.#side, this.#other] = this.#proposed();
    this.#drawControls();
  }

  /** Columns that are worth comparing: of two models, or of two stores. */
  #proposed() {
    const [first, second = first] = this.shelves;
    const numbers = this.#numbers(first.label);
    const own = (/** @type {string} */ name) => name.split('.').at(-1);
    const loss = numbers.find((name) => own(name) === 'loss') ?? numbers[0] ?? '';
    const there = this.#numbers(second.label);
    const same = there.filter((name) => own(name) === own(loss));
    const other = second === first ? (same.find((name) => name !== loss) ?? loss) : (same[0] ?? '');
    return [
      {store: first.label, column: loss},
      {store: second.label, column: other},
    ];
  }

  /** @param {string} label @returns {string[]} */
  #numbers(label) {
    const shelf = this.shelves.find((each) => each.label === label);
    const columns = (shelf?.columns ?? []).filter(({kind}) => kind === 'number');
    return columns.map(({name}) => name).filter((name) => name !== 'row');
  }

  #drawControls() {
    const sides = [this.#side, this.#other].map((side, i) => [
      ...(this.shelves.length > 1
        ? [
            choice(
              i ? 'Less store' : 'Store',
              this.shelves.map(({label}) => label),
              side.store,
              (store) => {
                side.store = store;
                side.column = this.#numbers(store)[0] ?? '';
                this.#drawControls();
                void this.again();
              },
            ),
          ]
        : []),
      choice(i ? 'against' : 'Compare', this.#numbers(side.store), side.column, (column) => {
        side.column = column;
        void this.again();
      }),
    ]);
    this.#controls.replaceChildren(...sides.flat());
  }

  /** @param {number} first @param {number} count */
  async #fetch(first, count) {
    const found = await ask('compare_columns', {
      store: this.#side.store,
      column: this.#side.column,
      other_store: this.#other.store,
      other_column: this.#other.column,
      filter: this.on.filter(),
      first,
      count,
      columns: ['text'],
    });
    this.spread = found.spread;
    return found;
  }

  /** Ask again: the filter, or a side, is another. */
  async again() {
    const columns = [
      {name: 'text', kind: 'text'},
      {name: 'one', kind: 'number', title: this.#side.column},
      {name: 'other', kind: 'number', title: this.#other.column},
      {name: 'difference', kind: 'number'},
    ];
    try {
      const found = await this.table.show(columns, 'difference', true);
      if (found) this.#drawSpread();
      this.on.fail('');
    } catch (error) {
      this.on.fail(error instanceof Error ? error.message : String(error));
    }
  }

  #drawSpread() {
    const {spread} = this;
    const named = `${this.#other.column} less ${this.#side.column}`;
    if (!spread?.count) {
      this.#said.textContent = `${named}: no row has both numbers.`;
      this.#spread.replaceChildren();
      return;
    }
    const interval =
      spread.low === null
        ? ''
        : ` (95 % bootstrap interval ${shown(spread.low)} to ${shown(spread.high)})`;
    this.#said.textContent =
      `${named}: mean ${shown(spread.mean)}${interval}, median ${shown(spread.median)}, above 0 in ` +
      `${(100 * spread.above).toFixed(1)} % of ${spread.count.toLocaleString('en')} rows` +
      `${spread.missing ? `; ${spread.missing.toLocaleString('en')} lack a number` : ''}.`;
    const histogram = new Histogram(named, null);
    histogram.show(spread);
    this.#spread.replaceChildren(histogram.box);
  }

  close() {
    this.table.close();
  }
}
