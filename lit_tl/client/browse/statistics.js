// @ts-check
/** Means and quantiles over all rows, or slice by slice. */
import {ask} from '../bridge/session.js';
import {choice, el} from '../dom.js';
import {shown, shownFirst} from './shelf.js';

const NONE = 'all rows';
const HEADS = ['count', 'mean', 'deviation', 'least', 'median', 'largest'];

export class Statistics {
  #place = el('div', {className: 'statistics', tabindex: 0});
  #by = NONE;
  #serial = 0;

  /**
   * @param {import('./shelf.js').Shelf} shelf
   * @param {{filter: () => string, fail: (sentence: string) => void}} on
   */
  constructor(shelf, on) {
    this.shelf = shelf;
    this.on = on;
    const labels = shelf.columns.filter(({name, kind}) => kind !== 'number' && name !== 'text');
    this.box = el(
      'div',
      {className: 'compare'},
      el(
        'div',
        {className: 'toolbar'},
        choice('By', [NONE, ...labels.map(({name}) => name)], NONE, (by) => {
          this.#by = by;
          void this.again();
        }),
      ),
      this.#place,
    );
  }

  async again() {
    const serial = ++this.#serial;
    const numbers = this.shelf.columns.filter(({kind}) => kind === 'number').map(({name}) => name);
    const columns = shownFirst(this.shelf, 60).filter((name) => numbers.includes(name));
    try {
      /** @type {Record<string, any>[]} */
      const found = await ask('browse_statistics', {
        store: this.shelf.label,
        filter: this.on.filter(),
        columns: columns.length ? columns : numbers.slice(1, 8),
        by: this.#by === NONE ? '' : this.#by,
      });
      if (serial !== this.#serial) return; // something else was asked meanwhile
      this.#draw(found);
      this.on.fail('');
    } catch (error) {
      this.on.fail(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {Record<string, any>[]} found */
  #draw(found) {
    const sliced = found.some((each) => 'slice' in each);
    const names = ['column', ...(sliced ? ['slice'] : []), ...HEADS];
    this.#place.replaceChildren(
      el(
        'table',
        {className: 'numbers'},
        el('thead', {}, el('tr', {}, ...names.map((name) => el('th', {}, name)))),
        el(
          'tbody',
          {},
          ...found.map((each) =>
            el('tr', {}, ...names.map((name) => el('td', {}, shown(each[name])))),
          ),
        ),
      ),
    );
  }
}
