// @ts-check
import * as address from '../address.js';
import {attentionText} from '../attention_text.js';
import {choice, el, keepingFocus, roving, states, toggle} from '../dom.js';
import {figureButtons} from '../figure_buttons.js';
import {table} from '../grid/colours.js';
import {buffer} from '../grid/data.js';
import {Grid} from '../grid/grid.js';
import {linkOf} from '../grid/link.js';
import {Latest} from '../request.js';
import {offer} from '../staging.js';
import * as target from '../target.js';
import {number} from '../tokens.js';

/**
 * @typedef {import('../bridge.js').View} View
 * @typedef {object} Overview
 * @property {string[]} tokens @property {number} n_layers @property {number} n_heads
 * @property {number[]} layers  those with attention
 * @property {Record<string, (number|null)[][]>} scores  layer x head, by name
 * @property {Record<string, import('../grid/data.js').GridText>} grids  of the scores
 * @property {number} size  of a small map
 * @property {string} maps  8 bits, layer after layer with attention, head after head
 */
const FILES = ['svg', 'pdf', 'png', 'csv', 'json'];
const DRAWN = ['one head', 'heads of the layer', 'mean of the layer', 'mean of all layers'];
const MINUS = ['nothing', 'pinned prompt', 'other model'];

class AttentionPanel {
  #latest = new Latest();
  #large = new Latest();
  #box = el('div', {className: 'attention'});
  #place;
  /** @type {View|null} */
  #view = null;
  /** @type {Overview|null} */
  #overview = null;
  #toolbar = el('div', {className: 'toolbar'});
  #heads = el('div', {className: 'head-scores'});
  #strip = el('div', {className: 'strip', role: 'group', 'aria-label': 'Heads of the layer'});
  #matrix = el('div', {className: 'large'});
  #matrixPlace = states(this.#matrix);
  #python = '';
  /** @type {Grid[]} */
  #grids = [];
  /** @type {ReturnType<typeof attentionText>|null} */
  #text = null;

  /** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
  constructor(root, host) {
    this.host = host;
    this.#place = states(root);
  }

  /** @param {View} view */
  show(view) {
    this.#view = view;
    const {example} = view;
    if (!example) {
      this.close();
      this.#place.empty(
        view.pinned
          ? 'Pin a prompt to compare it here.'
          : 'Select a prompt to see where its tokens look.',
      );
      return;
    }
    this.#latest.run(() => this.host.ask('Attention heads', example, {}, view), {
      loading: () => this.#place.loading('The model is reading the prompt.'),
      failed: this.#place.failed,
      done: (/** @type {Overview} */ overview) => {
        this.#overview = overview;
        this.#box.replaceChildren(
          this.#heads,
          el('div', {className: 'looked-at'}, this.#strip, this.#matrix),
        );
        this.#place.done(this.#toolbar, this.#box);
        this.#drawScores();
        this.#drawStrip();
        this.#drawLarge();
      },
    });
  }

  close() {
    this.#latest.drop();
    this.#large.drop();
    for (const grid of this.#grids) grid.close();
    this.#text?.close();
    this.#grids = [];
  }

  get #key() {
    const {model, pinned} = /** @type {View} */ (this.#view);
    return `Attention:${model}${pinned ? ':pinned' : ''}`;
  }

  /** What is chosen, as the analysis takes it, and the score that colours heads. */
  get #chosen() {
    const {layers, n_heads, scores} = /** @type {Overview} */ (this.#overview);
    const kept = address.settingsOf(this.#key);
    const layer = layers.includes(Number(kept.layer)) ? Number(kept.layer) : layers[0];
    const head = Number(kept.head) < n_heads ? Number(kept.head) : 0;
    const heads = DRAWN.includes(String(kept.heads)) ? String(kept.heads) : DRAWN[0];
    const score = String(kept.score) in scores ? String(kept.score) : Object.keys(scores)[0];
    const minus = this.#minus.includes(String(kept.minus)) ? String(kept.minus) : MINUS[0];
    return {layer, head, heads, value_weighted: kept.value_weighted === true, score, minus};
  }

  /** What there is to take away. */
  get #minus() {
    const there = [true, this.host.pinned(), this.host.otherModels().length];
    return MINUS.filter((_, i) => there[i]);
  }

  /** What there is to compare with has changed: other models, or the pinned prompt. */
  othersChanged() {
    if (!this.#view?.example || !this.#overview) return;
    const {minus} = address.settingsOf(this.#key);
    if (minus && minus !== MINUS[0]) this.#drawLarge();
    else this.#drawToolbar();
  }

  /** @param {Record<string, unknown>} changes */
  #change(changes) {
    address.keep(this.#key, changes);
    this.#drawStrip();
    this.#drawLarge();
  }

  #drawToolbar() {
    const {scores} = /** @type {Overview} */ (this.#overview);
    const {layer, head, heads, score, value_weighted, minus} = this.#chosen;
    keepingFocus(this.#toolbar, () =>
      this.#toolbar.replaceChildren(
        choice('Colour heads by', Object.keys(scores), score, (value) => {
          address.keep(this.#key, {score: value});
          this.#drawScores();
        }),
        choice('Draw', DRAWN, heads, (value) => this.#change({heads: value})),
        toggle('Value-weighted', value_weighted, (on) => this.#change({value_weighted: on})),
        choice('Minus', this.#minus, minus, (value) => this.#change({minus: value})),
        ...this.#staging(),
        ...figureButtons({
          name: `Attention L${layer}H${head}`,
          files: FILES,
          ask: (file) => this.#ask(/** @type {View} */ (this.#view), file),
          python: () => Promise.resolve(this.#python),
          of: () => ({
            model: /** @type {View} */ (this.#view).model,
            dataset: /** @type {View} */ (this.#view).dataset,
            otherModel: minus === 'other model' ? this.host.otherModels()[0] : '',
          }),
          content: this.#matrix,
        }),
      ),
    );
  }

  /** A button that stages the head that is drawn. */
  #staging() {
    const {layer, head, heads} = this.#chosen;
    const {model} = /** @type {View} */ (this.#view);
    const buttons = heads === 'one head' && offer(this.host, model, [`L${layer}H${head} = zero`]);
    return buttons ? [buttons] : [];
  }

  /** All heads, layer by layer, coloured by a score. */
  #drawScores() {
    this.#drawToolbar();
    const {grids, layers} = /** @type {Overview} */ (this.#overview);
    this.#grids[0]?.close();
    const {score} = this.#chosen;
    this.#grids[0] = new Grid(grids[score], {
      link: linkOf('Attention: heads'),
      choose: ({row, column}) => this.#change({layer: layers[row], head: column}),
      chosen: () => {
        const {layer, head} = this.#chosen;
        return {row: layers.indexOf(layer), column: head};
      },
    });
    this.#heads.replaceChildren(this.#grids[0].box);
  }

  /** The layer's heads in small. */
  #drawStrip() {
    const overview = /** @type {Overview} */ (this.#overview);
    const {layer, head, heads} = this.#chosen;
    const {n_heads, size, scores} = overview;
    const place = overview.layers.indexOf(layer);
    const maps = new Uint8Array(buffer(overview.maps));
    const colours = table(Object.values(overview.grids)[0].parts[0].colours?.table ?? '');
    const buttons = Array.from({length: n_heads}, (_, at) => {
      const from = (place * n_heads + at) * size * size;
      const canvas = el('canvas', {});
      paint(canvas, maps.subarray(from, from + size * size), size, colours);
      const name = `L${layer}H${at}`;
      const known = Object.entries(scores)
        .map(([key, rows]) => `${key} ${number(rows[layer][at], 2)}`)
        .join(', ');
      return el(
        'button',
        {
          className: 'head',
          type: 'button',
          title: known,
          'aria-label': `${name}, ${known}`,
          'aria-pressed': String(at === head && heads === 'one head'),
          onclick: () => {
            this.#change({layer, head: at, heads: 'one head'});
            this.#drawScores(); // the head is marked there too
          },
        },
        canvas,
        name,
      );
    });
    const {activeElement} = /** @type {Document|ShadowRoot} */ (this.#strip.getRootNode());
    const focused = [...this.#strip.children].indexOf(/** @type {any} */ (activeElement));
    this.#strip.replaceChildren(...buttons);
    roving(this.#strip, '.head');
    buttons[focused]?.focus(); // its name has changed with the layer
  }

  #drawLarge() {
    this.#drawToolbar();
    const view = /** @type {View} */ (this.#view);
    this.#large.run(() => this.#ask(view), {
      loading: () => this.#matrix.setAttribute('aria-busy', 'true'),
      failed: (sentence) => {
        this.#matrix.setAttribute('aria-busy', 'false');
        this.#grids[1]?.close();
        this.#matrixPlace.failed(sentence);
      },
      done: (/** @type {any} */ drawing) => {
        this.#matrix.setAttribute('aria-busy', 'false');
        this.#python = drawing.python;
        this.#showMatrix(drawing);
      },
    });
  }

  /** @param {View} view @param {string} [file] */
  #ask(view, file = '') {
    const {score, ...settings} = this.#chosen;
    const counterpart = settings.minus === 'pinned prompt' ? this.host.pinned() : null;
    const otherModel = settings.minus === 'other model';
    return this.host.analyze('Attention', settings, view, {file, counterpart, otherModel});
  }

  /** @param {import('../analysis_panel.js').Drawing} drawing */
  #showMatrix({grid, tokens}) {
    if (!grid) return;
    this.#grids[1]?.close();
    this.#text?.close();
    const link = linkOf('Attention: map');
    const {model, example} = /** @type {any} */ (this.#view);
    this.#grids[1] = new Grid(grid, {
      link,
      first: /** @type {any} */ (address.settingsOf(this.#key).first),
      keep: (first) => address.keep(this.#key, {first}),
      choose: ({row}) => {
        if (row > 0)
          target.set({
            model,
            exampleId: example.id,
            tokens: tokens.length,
            pos: row,
            token: tokens[row],
          });
      },
    });
    const [part] = this.#grids[1].parts;
    const isDifference = part.colours.kind === 'diverging'; // no token looks so
    this.#text = isDifference ? null : attentionText(part, link);
    this.#matrixPlace.done(this.#grids[1].box, ...(this.#text ? [this.#text.box] : []));
  }
}

/**
 * A small map as pixels.
 * @param {HTMLCanvasElement} canvas @param {Uint8Array} values @param {number} size
 * @param {Uint32Array} colours
 */
function paint(canvas, values, size, colours) {
  canvas.width = canvas.height = size;
  const pixels = Uint32Array.from(values, (value) => colours[Math.round(Math.sqrt(255 * value))]);
  canvas
    .getContext('2d')
    ?.putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), size, size), 0, 0);
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Attention',
  info:
    'Left: all heads, coloured by a score. Right: where each token (downwards) looks (across). ' +
    'Point at a token below for lines to the tokens that it looks at.',
  interpreter: 'Attention heads',
  mount: (root, host) => new AttentionPanel(root, host),
};
