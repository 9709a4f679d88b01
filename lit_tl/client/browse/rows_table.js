// @ts-check
/** A table of any number of rows, of which those that are seen are fetched. */
import {el} from '../dom.js';
import {sentenceOf} from '../reach.js';
import {shown} from './shelf.js';

const HEIGHT = 24; // of a row, pixels
const TALLEST = 12_000_000; // browsers lay out no more
const PAGE = 100; // rows that are fetched together
const KEPT = 40; // pages

/**
 * @typedef {{name: string, kind: string, title?: string}} Shown
 * @typedef {{total: number, rows: Record<string, any>[]}} Page
 */
export class RowsTable {
  #head = el('div', {className: 'line head', role: 'row'});
  #body = el('div', {className: 'body', role: 'rowgroup'});
  #space = el('div', {className: 'space', role: 'none'}, this.#body);
  #view = el(
    'div',
    {className: 'rows', role: 'table', tabindex: 0, 'aria-label': 'Rows of the store'},
    this.#head,
    this.#space,
  );
  /** @type {Map<number, Page|Promise<Page>>} */
  #pages = new Map();
  /** @type {Shown[]} */
  #columns = [];
  #total = 0;
  #serial = 0;
  #asked = 0;
  /** @type {Set<number>} numbers of rows */
  chosen = new Set();

  /**
   * @param {object} on
   * @param {(first: number, count: number) => Promise<Page>} on.fetch
   * @param {(column: string) => void} on.sort
   * @param {() => void} on.choose  the chosen rows are others
   * @param {(sentence: string) => void} on.fail
   */
  constructor(on) {
    this.on = on;
    this.box = this.#view;
    this.#view.addEventListener('scroll', () => this.#draw(), {passive: true});
    this.#view.addEventListener('keydown', (event) => this.#key(event));
    this.observer = new ResizeObserver(() => this.#draw());
    this.observer.observe(this.#view);
  }

  /**
   * Other rows, or other columns.
   * @param {Shown[]} columns @param {string} sort @param {boolean} descending
   * @returns {Promise<Page|null>} the first page; null where something else was asked meanwhile
   */
  async show(columns, sort, descending) {
    const serial = ++this.#asked;
    const first = await this.on.fetch(0, PAGE);
    if (serial !== this.#asked) return null;
    this.#serial++;
    this.#pages.clear();
    this.#columns = columns;
    this.#pages.set(0, first);
    this.#total = first.total;
    this.#drawHead(sort, descending);
    this.#view.scrollTop = 0;
    this.#view.setAttribute('aria-rowcount', String(this.#total + 1));
    this.#space.style.height = `${Math.min(this.#total * HEIGHT, TALLEST)}px`;
    this.#draw();
    return first;
  }

  /** @param {string} sort @param {boolean} descending */
  #drawHead(sort, descending) {
    const arrow = descending ? ' ▼' : ' ▲';
    this.#head.replaceChildren(
      el('span', {className: 'cell choose', role: 'columnheader', 'aria-label': 'Chosen'}),
      ...this.#columns.map(({name, kind, title}) =>
        el(
          'span',
          {
            className: `cell ${kind}`,
            role: 'columnheader',
            'aria-sort': sort === name ? (descending ? 'descending' : 'ascending') : 'none',
          },
          this.#headOf(title ?? name, sort === name ? arrow : '', () => this.on.sort(name)),
        ),
      ),
    );
    this.#view.style.setProperty(
      '--columns',
      `28px ${this.#columns.map(({kind, name}) => (name === 'text' ? 'minmax(220px, 3fr)' : kind === 'number' ? '86px' : 'minmax(72px, 1fr)')).join(' ')}`,
    );
  }

  /**
   * A column's name, that of its model small above it.
   * @param {string} name @param {string} arrow @param {() => void} onclick
   */
  #headOf(name, arrow, onclick) {
    const [, model, own] = /^([^.[]+)\.(.+)$/.exec(name) ?? ['', '', name];
    return el(
      'button',
      {type: 'button', 'aria-label': name, title: `Sort by ${name}`, onclick},
      el('small', {}, model),
      el('span', {}, own + arrow),
    );
  }

  /** The first row that is seen, and how many are. */
  #seen() {
    const {scrollTop, clientHeight} = this.#view;
    const fits = Math.max(1, Math.ceil(clientHeight / HEIGHT));
    const whole = this.#total * HEIGHT;
    if (whole <= TALLEST) return {first: Math.floor(scrollTop / HEIGHT), fits};
    const share = scrollTop / Math.max(1, TALLEST - clientHeight);
    return {first: Math.round(share * Math.max(0, this.#total - fits + 1)), fits};
  }

  #draw() {
    const {first, fits} = this.#seen();
    const last = Math.min(this.#total, first + fits + 1);
    const lines = [];
    for (let at = first; at < last; at++) lines.push(this.#line(at));
    const top = this.#total * HEIGHT <= TALLEST ? first * HEIGHT : this.#view.scrollTop;
    this.#body.style.transform = `translateY(${top}px)`;
    this.#body.replaceChildren(...lines);
  }

  /** @param {number} at */
  #line(at) {
    const page = this.#page(Math.floor(at / PAGE));
    const record = page?.rows[at % PAGE];
    if (!record)
      return el('div', {className: 'line waiting', role: 'row', 'aria-rowindex': at + 2}, '');
    const box = el('input', {
      type: 'checkbox',
      'aria-label': `Choose row ${record.row}`,
      checked: this.chosen.has(record.row),
      onchange: () => {
        if (box.checked) this.chosen.add(record.row);
        else this.chosen.delete(record.row);
        this.on.choose();
      },
    });
    return el(
      'div',
      {className: 'line', role: 'row', 'aria-rowindex': at + 2},
      el('span', {className: 'cell choose', role: 'cell'}, box),
      ...this.#columns.map(({name, kind}) => {
        const text = shown(record[name]);
        return el('span', {className: `cell ${kind}`, role: 'cell', title: text}, text);
      }),
    );
  }

  /** What is there of a page; where nothing is, it is fetched. @param {number} number */
  #page(number) {
    const known = this.#pages.get(number);
    if (known) {
      this.#pages.delete(number);
      this.#pages.set(number, known); // used last
      return known instanceof Promise ? null : known;
    }
    const serial = this.#serial;
    const fetching = this.on.fetch(number * PAGE, PAGE);
    this.#pages.set(number, fetching);
    fetching.then(
      (page) => {
        if (serial !== this.#serial) return;
        this.#pages.set(number, page);
        for (const old of this.#pages.keys()) if (this.#pages.size > KEPT) this.#pages.delete(old);
        this.#draw();
      },
      (error) => {
        if (serial !== this.#serial) return;
        this.#pages.delete(number);
        this.on.fail(sentenceOf(error));
      },
    );
    return null;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.target !== this.#view) return;
    if (event.key !== 'Home' && event.key !== 'End') return;
    event.preventDefault();
    this.#view.scrollTop = event.key === 'Home' ? 0 : this.#view.scrollHeight;
  }

  /** Numbers of the rows that are seen. */
  get seen() {
    const {first, fits} = this.#seen();
    return {first, count: fits};
  }

  close() {
    this.#serial++;
    this.observer.disconnect();
  }
}
