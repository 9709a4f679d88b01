// @ts-check
/** Rows as points: principal components or UMAP of stored activations, drawn by WebGL. */
import {ask} from '../bridge/session.js';
import {choice, el, states} from '../dom.js';
import {paint} from '../plot.js';
import {sentenceOf} from '../reach.js';

const NONE = 'nothing';

/** @param {string} text @param {typeof Int32Array|typeof Float32Array} kind */
function numbers(text, kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new kind(bytes.buffer);
}

export class RowsMap {
  #controls = el('div', {className: 'toolbar'});
  #said = el('p', {className: 'said', role: 'status'});
  #place = el('div', {className: 'map'});
  #state = states(this.#place);
  #serial = 0;

  /**
   * @param {import('./shelf.js').Shelf} shelf
   * @param {{filter: () => string, fail: (sentence: string) => void,
   *   choose: (rows: number[]) => void}} on
   */
  constructor(shelf, on) {
    this.shelf = shelf;
    this.on = on;
    /** @type {number[]} */
    this.chosen = [];
    const [first] = shelf.vectors;
    this.part = first.part;
    this.layer = first.layers.at(-1);
    this.method = 'pca';
    this.color = shelf.columns.find(({name}) => /(^|\.)loss$/.test(name))?.name ?? NONE;
    this.box = el('div', {className: 'compare'}, this.#controls, this.#said, this.#place);
    this.#drawControls();
  }

  #drawControls() {
    const parts = this.shelf.vectors.map(({part}) => part);
    const {layers} = this.shelf.vectors[parts.indexOf(this.part)];
    const colors = this.shelf.columns.filter(({kind}) => kind === 'number');
    const again = () => void this.again();
    this.#controls.replaceChildren(
      choice('Of', parts, this.part, (part) => {
        this.part = part;
        this.layer = this.shelf.vectors[parts.indexOf(part)].layers.at(-1);
        this.#drawControls();
        again();
      }),
      ...(layers.length
        ? [
            choice('Layer', layers.map(String), String(this.layer), (layer) => {
              this.layer = Number(layer);
              again();
            }),
          ]
        : []),
      choice('By', ['pca', 'umap'], this.method, (method) => {
        this.method = method;
        again();
      }),
      choice('Colour', [NONE, ...colors.map(({name}) => name)], this.color, (color) => {
        this.color = color;
        again();
      }),
    );
  }

  async again() {
    const serial = ++this.#serial;
    this.chosen = [];
    this.on.choose([]);
    this.#state.loading(this.method === 'umap' ? 'UMAP is made once, and kept.' : 'Placing rows.');
    try {
      const found = await ask('place_rows', {
        store: this.shelf.label,
        part: this.part,
        layer: this.layer,
        method: this.method,
        color: this.color === NONE ? '' : this.color,
        filter: this.on.filter(),
      });
      if (serial === this.#serial) await this.#draw(found);
      this.on.fail('');
    } catch (error) {
      if (serial !== this.#serial) return;
      this.#place.replaceChildren();
      this.on.fail(sentenceOf(error));
    }
  }

  /** @param {Record<string, any>} found */
  async #draw(found) {
    const rows = numbers(found.rows, Int32Array);
    const color = numbers(found.color, Float32Array);
    const share = found.explained
      ? `; the axes have ${found.explained.map((/** @type {number} */ each) => `${(100 * each).toFixed(1)} %`).join(' and ')} of the variance`
      : '';
    this.#said.textContent = `${rows.length.toLocaleString('en')} rows${share}. Drag to choose some.`;
    const plot = el('div', {className: 'plot'});
    this.#place.replaceChildren(plot);
    await paint(plot, {
      data: [
        {
          type: 'scattergl',
          mode: 'markers',
          x: numbers(found.x, Float32Array),
          y: numbers(found.y, Float32Array),
          hoverinfo: 'none',
          marker: {
            size: rows.length > 20000 ? 2 : 4,
            color: color.length ? color : '#00777b',
            colorscale: 'Viridis',
            showscale: color.length > 0,
            colorbar: {title: {text: this.color}, thickness: 12},
          },
        },
      ],
      layout: {dragmode: 'select', xaxis: {zeroline: false}, yaxis: {zeroline: false}},
    });
    /** @type {any} */ (plot).on('plotly_selected', (/** @type {any} */ event) => {
      const points = /** @type {{pointIndex: number}[]} */ (event?.points ?? []);
      this.chosen = points.slice(0, this.shelf.most).map(({pointIndex}) => rows[pointIndex]);
      this.on.choose(this.chosen);
    });
  }

  close() {
    this.#serial++;
  }
}
