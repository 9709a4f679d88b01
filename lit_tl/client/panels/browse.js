// @ts-check
import {ask} from '../bridge/session.js';
import {openWindow} from '../bridge/windows.js';
import {Compare} from '../browse/compare.js';
import {Histogram} from '../browse/histogram.js';
import {RowsMap} from '../browse/map.js';
import {RowsTable} from '../browse/rows_table.js';
import {shelves, shown, shownFirst} from '../browse/shelf.js';
import {Statistics} from '../browse/statistics.js';
import * as address from '../address.js';
import {choice, el, menu, states, toggle} from '../dom.js';
import {sentenceOf} from '../reach.js';

/** @typedef {import('../browse/shelf.js').Shelf} Shelf */

const NAME = 'Browse';
const MODES = ['Rows', 'Compare', 'Statistics', 'Map'];
const DATA_ORDER = 'the order of the data';

class BrowsePanel {
  #filter = el('input', {
    type: 'search',
    className: 'filter',
    'aria-label': 'Filter',
    placeholder: 'loss > 3 and text has "not"',
    spellcheck: false,
    onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && void this.#apply(),
    onchange: () => void this.#apply(),
  });
  #count = el('span', {className: 'count', role: 'status'});
  #failed = el('p', {className: 'failed', role: 'alert'});
  #origin = el('p', {className: 'said origin'});
  #toolbar = el('div', {className: 'toolbar'});
  #place = el('div', {className: 'place'});
  #open = el('button', {type: 'button', onclick: () => void this.#openRows()});
  /** @type {Shelf[]} */
  #shelves = [];
  /** @type {Shelf|null} */
  #shelf = null;
  /** @type {string[]} */
  #columns = [];
  /** @type {{again: () => Promise<void>, close?: () => void, rows?: RowsTable, map?: RowsMap}|null} */
  #view = null;
  #applied = '';

  /** @param {HTMLElement} root */
  constructor(root) {
    this.root = root;
    const settings = address.settingsOf(NAME);
    this.mode = MODES.includes(String(settings.mode)) ? String(settings.mode) : 'Rows';
    this.sort = String(settings.sort ?? '');
    this.descending = Boolean(settings.descending);
    this.histogram = String(settings.histogram ?? '');
    this.#filter.value = this.#applied = String(settings.filter ?? '');
    root.classList.add('browse');
    void this.#start();
  }

  async #start() {
    const place = el('div');
    this.root.replaceChildren(place);
    const state = states(place);
    state.loading('Opening the store.');
    try {
      this.#shelves = await shelves();
    } catch (error) {
      state.failed(sentenceOf(error));
      return;
    }
    if (!this.#shelves.length) return state.empty('This server was started without --store.');
    const wanted = address.settingsOf(NAME).store;
    this.root.replaceChildren(this.#toolbar, this.#origin, this.#failed, this.#place);
    this.#choose(this.#shelves.find(({label}) => label === wanted) ?? this.#shelves[0]);
  }

  /** Another store. @param {Shelf} shelf */
  #choose(shelf) {
    this.#shelf = shelf;
    this.#columns = shownFirst(shelf);
    if (!this.#modes().includes(this.mode)) this.mode = 'Rows';
    const names = shelf.columns.map(({name}) => name);
    if (!names.includes(this.sort)) this.sort = '';
    const numbers = this.#numbers();
    if (!numbers.includes(this.histogram))
      this.histogram = this.#columns.find((name) => numbers.includes(name)) ?? numbers[0] ?? '';
    this.#drawOrigin(shelf);
    this.#drawToolbar();
    this.#drawMode();
  }

  #numbers() {
    const columns = this.#shelf?.columns ?? [];
    return columns
      .filter(({kind, name}) => kind === 'number' && name !== 'row')
      .map(({name}) => name);
  }

  /** A map takes vectors. */
  #modes() {
    return MODES.filter((mode) => mode !== 'Map' || this.#shelf?.vectors.length);
  }

  /** @param {Shelf} shelf */
  #drawOrigin(shelf) {
    const parts = shelf.parts.map(
      ({model, analysis, code, weights, changes, same, other, note}) => {
        const changed = changes.length ? `, changed: ${changes.join('; ')}` : '';
        const here = same.length
          ? ` This page's ${same.join(', ')} shows them where rows are opened.`
          : Object.entries(other)
              .map(([name, reason]) => ` ${name}: ${reason}.`)
              .join('');
        const what = `${analysis} of ${model}`;
        return el(
          'span',
          {title: `Weights ${weights}…, lit_tl ${code}${changed}. ${note}${here}`},
          same.length || !Object.keys(other).length ? what : `${what} (other weights than here)`,
        );
      },
    );
    const joined = parts.flatMap((part, i) => (i ? [', ', part] : [part]));
    this.#origin.replaceChildren(
      `From the store ${shelf.folder}, ${shelf.rows.toLocaleString('en')} prompts`,
      ...(parts.length ? [', computed before: ', ...joined] : []),
      '.',
    );
  }

  #drawToolbar() {
    const shelf = /** @type {Shelf} */ (this.#shelf);
    const names = shelf.columns.map(({name}) => name);
    const stores = this.#shelves.map(({label}) => label);
    const columns = menu('Columns', [
      el(
        'div',
        {className: 'many'},
        ...names.slice(0, 400).map((name) => this.#columnSwitch(name)),
      ),
    ]);
    this.#toolbar.replaceChildren(
      ...(stores.length > 1 && this.mode !== 'Compare'
        ? [
            choice('Store', stores, shelf.label, (label) => {
              const found = this.#shelves.find((each) => each.label === label);
              if (found) this.#choose(found);
              this.#keep();
            }),
          ]
        : []),
      choice('Show', this.#modes(), this.mode, (mode) => {
        this.mode = mode;
        this.#drawToolbar();
        this.#drawMode();
        this.#keep();
      }),
      this.#filter,
      ...(this.mode === 'Rows'
        ? [
            choice('Sort by', [DATA_ORDER, ...names], this.sort || DATA_ORDER, (name) => {
              this.#sortBy(name === DATA_ORDER ? '' : name, true);
            }),
            columns,
            choice('Histogram', this.#numbers(), this.histogram, (name) => {
              this.histogram = name;
              this.#drawMode();
              this.#keep();
            }),
          ]
        : []),
      ...(this.mode === 'Statistics' ? [] : [this.#open]),
      this.#count,
    );
    this.#sayOpen(0);
  }

  /** @param {string} name */
  #columnSwitch(name) {
    return toggle(name, this.#columns.includes(name), (on) => {
      this.#columns = on ? [...this.#columns, name] : this.#columns.filter((each) => each !== name);
      void this.#view?.again();
    });
  }

  /** @param {string} name @param {boolean} fromChoice  and not from a click on the column */
  #sortBy(name, fromChoice = false) {
    this.descending = this.sort === name && !fromChoice ? !this.descending : name !== 'row';
    this.sort = name;
    this.#drawToolbar();
    this.#keep();
    void this.#view?.again();
  }

  async #apply() {
    if (this.#filter.value === this.#applied) return this.#fail('');
    const before = this.#applied;
    this.#applied = this.#filter.value;
    await this.#view?.again();
    if (this.#failed.textContent)
      this.#applied = before; // what is shown stays as it was
    else this.#keep();
  }

  #keep() {
    address.keep(NAME, {
      store: this.#shelf?.label,
      mode: this.mode,
      filter: this.#applied || undefined,
      sort: this.sort || undefined,
      descending: this.descending || undefined,
      histogram: this.histogram || undefined,
    });
  }

  #drawMode() {
    this.#view?.close?.();
    this.#view = null;
    const on = {
      filter: () => this.#applied,
      fail: (/** @type {string} */ sentence) => this.#fail(sentence),
      choose: (/** @type {number[]} */ rows) => this.#sayOpen(rows.length),
    };
    this.#count.textContent = '';
    if (this.mode === 'Compare') {
      const compare = new Compare(this.#shelves, on);
      this.#place.replaceChildren(compare.box);
      this.#view = {
        again: () => compare.again(),
        close: () => compare.close(),
        rows: compare.table,
      };
    } else if (this.mode === 'Statistics') {
      const statistics = new Statistics(/** @type {Shelf} */ (this.#shelf), on);
      this.#place.replaceChildren(statistics.box);
      this.#view = statistics;
    } else if (this.mode === 'Map') {
      const map = new RowsMap(/** @type {Shelf} */ (this.#shelf), on);
      this.#place.replaceChildren(map.box);
      this.#view = {again: () => map.again(), close: () => map.close(), map};
    } else this.#drawRows(on);
    void this.#view?.again();
  }

  /** @param {{choose: (rows: number[]) => void, fail: (sentence: string) => void}} on */
  #drawRows(on) {
    const shelf = /** @type {Shelf} */ (this.#shelf);
    const table = new RowsTable({
      fetch: (first, count) => this.#fetch(first, count),
      sort: (name) => this.#sortBy(name),
      choose: () => on.choose([...table.chosen]),
      fail: on.fail,
    });
    const histogram = new Histogram(this.histogram, (low, high) => {
      const own = /^[A-Za-z_][\w.-]*(\[[\w., -]+\])?$/.test(this.histogram);
      const name = own ? this.histogram : `\`${this.histogram}\``;
      const part = `${name} between ${low} and ${high}`;
      this.#filter.value = this.#applied ? `(${this.#applied}) and ${part}` : part;
      void this.#apply();
    });
    this.#place.replaceChildren(
      el('div', {className: 'beside'}, table.box, el('div', {className: 'aside'}, histogram.box)),
    );
    const kinds = new Map(shelf.columns.map(({name, kind}) => [name, kind]));
    this.#view = {
      rows: table,
      close: () => table.close(),
      again: async () => {
        table.chosen.clear();
        on.choose([]);
        try {
          const columns = this.#columns.map((name) => ({name, kind: kinds.get(name) ?? 'text'}));
          const [first, counts] = await Promise.all([
            table.show(columns, this.sort, this.descending),
            this.histogram
              ? ask('browse_histogram', {
                  store: shelf.label,
                  column: this.histogram,
                  filter: this.#applied,
                })
              : {edges: [], counts: []},
          ]);
          if (!first) return;
          histogram.show(counts);
          this.#count.textContent = `${first.total.toLocaleString('en')} of ${shelf.rows.toLocaleString('en')}`;
          this.#fail('');
        } catch (error) {
          this.#fail(sentenceOf(error));
        }
      },
    };
  }

  /** @param {number} first @param {number} count */
  #fetch(first, count) {
    return ask('browse_rows', {...this.#question(), first, count, columns: this.#columns});
  }

  #question() {
    return {
      store: this.#shelf?.label,
      filter: this.#applied,
      sort: this.sort,
      descending: this.descending,
    };
  }

  /** @param {string} sentence */
  #fail(sentence) {
    this.#failed.textContent = sentence;
    this.#filter.setAttribute('aria-invalid', String(Boolean(sentence)));
  }

  /** @param {number} chosen */
  #sayOpen(chosen) {
    const most = this.#shelf?.most ?? 0;
    this.#open.textContent = chosen ? `Open ${shown(chosen)} in the page` : 'Open in the page';
    this.#open.title = chosen
      ? 'The chosen rows become the prompts of the page.'
      : `The rows that are seen, and those behind them up to ${shown(most)}, become the prompts of the page.`;
  }

  async #openRows() {
    const {rows: table, map} = this.#view ?? {};
    this.#open.disabled = true;
    try {
      const rows = table ? [...table.chosen] : (map?.chosen ?? []);
      const first = this.mode === 'Rows' ? table?.seen.first : 0;
      await openWindow(rows.length ? {...this.#question(), rows} : {...this.#question(), first});
      this.#fail('');
    } catch (error) {
      this.#fail(sentenceOf(error));
    } finally {
      this.#open.disabled = false;
    }
  }

  close() {
    this.#view?.close?.();
  }
}

/** @param {HTMLElement} root */
function mount(root) {
  const panel = new BrowsePanel(root);
  return {show() {}, close: () => panel.close()};
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Browse',
  info:
    'All prompts of a store, with the numbers that were computed before: sort, filter, compare, ' +
    'and open some of them in the page.',
  interpreter: '',
  single: true,
  needs: 'stores',
  mount,
};
