// @ts-check
/** A panel that draws analyses: their controls, the figure, and files of it. */
import * as address from './address.js';
import {controls, hindrance, settingsOf} from './controls.js';
import {choice, el, keepingFocus, states} from './dom.js';
import {figureButtons} from './figure_buttons.js';
import {Grid} from './grid/grid.js';
import {linkOf} from './grid/link.js';
import {paint} from './plot.js';
import {sentenceOf} from './reach.js';
import {Latest} from './request.js';
import {offer} from './staging.js';
import * as target from './target.js';

/**
 * @typedef {object} Drawing
 * @property {import('./grid/data.js').GridText} [grid]
 * @property {{data: any[], layout: any}} [figure]  Plotly's
 * @property {string} note @property {string} python  what draws it in a notebook
 * @property {string[]} tokens @property {string[]} roles  of a conversation's
 * @property {import('./controls.js').Unavailable} unavailable
 * @typedef {import('./bridge.js').View} View
 * @typedef {import('./bridge.js').Example} Example
 */
const FILES = ['svg', 'pdf', 'png', 'csv', 'json'];

export class AnalysisPanel {
  #latest = new Latest();
  /** @type {View|null} */
  #view = null;
  #toolbar = el('div', {className: 'toolbar'});
  #said = el('p', {className: 'said'});
  #staging = el('div', {});
  #content = el('div', {className: 'figure'});
  #detail = el('div', {className: 'plot detail'});
  #plot = el('div', {className: 'plot'});
  #place = states(this.#content);
  /** @type {Grid|null} */
  #grid = null;
  /** @type {Record<string, import('./controls.js').Unavailable>} by analysis */
  #unavailable = {};
  /** @type {Node[]} that save and copy what was drawn last */
  #buttons = [];
  /** What is said of the figure that is drawn. */
  #note = '';
  /** What the figure was asked with. */
  #asked = '';
  /** What draws the figure that is asked for, in Python: there when it is drawn; '' if it fails. */
  #python = Promise.resolve('');
  /** @type {(python: string) => void} */
  #tellPython = () => {};

  /**
   * @param {HTMLElement} root @param {string} tab @param {import('./bridge.js').Host} host
   * @param {object} [own]  what a tab does in its own way
   * @param {(view: View) => Example} [own.asked]  the example that is sent
   * @param {(drawing: Drawing, choose: (pos: number) => void, name: string) => Node|null}
   *   [own.picture]  in place of the grid
   * @param {(cell: import("./grid/card.js").Cell, grid: import("./grid/data.js").GridText,
   *   settings: Record<string, unknown>) => Record<string, unknown>} [own.cell]  what the detail of
   *   a cell is asked with, where it is not the column's position
   * @param {(cell: import("./grid/card.js").Cell, part: import("./grid/data.js").Part,
   *   settings: Record<string, unknown>, example: Example) => string[]} [own.stages]  changes that a
   *   cell may be staged as
   * @param {() => Node[]} [own.controls]  before those of the analysis
   * @param {string[]} [own.hidden]  settings without a control
   * @param {(settings: Record<string, unknown>) => Record<string, unknown>} [own.settings]  what is
   *   asked with
   * @param {(view: View, settings: Record<string, unknown>) => View} [own.view]  what is asked of
   * @param {string[]} [own.sliders]  settings that are drawn, and not typed in
   * @param {(view: View, settings: Record<string, unknown>) => void} [own.asking]  hears what is
   *   asked for
   */
  constructor(root, tab, host, own = {}) {
    this.own = own;
    this.tab = tab;
    this.host = host;
    root.append(this.#toolbar, this.#said, this.#staging, this.#content);
    this.resized = new ResizeObserver(() => {
      for (const plot of [this.#plot, this.#detail])
        if (plot.isConnected && plot.offsetWidth > 0)
          /** @type {any} */ (window).Plotly?.Plots.resize(plot);
    });
    this.resized.observe(this.#content);
  }

  /** Ask again: what is asked for has changed. */
  again() {
    if (this.#view) this.#run();
  }

  /** @param {View} view */
  show(view) {
    this.#view = view;
    this.#run();
  }

  /** What there is to compare with has changed: other models, or the pinned prompt. */
  othersChanged() {
    if (!this.#view) return;
    if (this.#question() === this.#asked) this.#drawControls();
    else this.#run();
  }

  /** The settings, and what they compare with. */
  #question() {
    const {name, settings, unavailable} = this.#chosen;
    const compared = [settings.against, settings.minus];
    return JSON.stringify([
      name,
      settings,
      hindrance(settings, unavailable),
      compared.includes('pinned prompt') ? this.host.pinned()?.id : '',
      compared.includes('other model') ? this.host.otherModels()[0] : '',
    ]);
  }

  close() {
    this.#latest.drop();
    this.#forget();
    this.resized.disconnect();
  }

  /** The grid that was drawn: others share its scale no longer. */
  #forget() {
    this.#staging.replaceChildren();
    this.#grid?.close();
    this.#grid = null;
  }

  /** Under which the address keeps this panel's settings. */
  get #key() {
    const {model, pinned} = /** @type {View} */ (this.#view);
    return `${this.tab}:${model}${pinned ? ':pinned' : ''}`;
  }

  get #kept() {
    return address.settingsOf(this.#key);
  }

  /** The analysis that is chosen, with what is known of it. */
  get #chosen() {
    const all = this.host.interpreters();
    const names = Object.keys(all);
    const name = names.includes(String(this.#kept.figure)) ? String(this.#kept.figure) : names[0];
    const unavailable = {...this.#unavailable[name]};
    const others = this.host.otherModels().length;
    for (const setting of ['against', 'minus'])
      unavailable[setting] = {
        ...(others ? {} : {'other model': 'there is one model: load another in Configure'}),
        ...(this.host.pinned() ? {} : {'pinned prompt': 'no prompt is pinned'}),
        ...unavailable[setting],
      };
    if (this.own.cell && this.#kept.against === 'pinned prompt')
      unavailable.minus = {
        ...unavailable.minus,
        'pinned prompt': 'it is the corrupt one',
      };
    const {configSpec, description, onlyWith} = all[name];
    const kept = settingsOf(configSpec, onlyWith, this.#kept, unavailable);
    const settings = this.own.settings?.(kept) ?? kept;
    return {name, names, configSpec, description, onlyWith, unavailable, settings};
  }

  #drawControls() {
    const {name, names, configSpec, description, onlyWith, unavailable, settings} = this.#chosen;
    const change = (/** @type {string} */ key, /** @type {unknown} */ value) => {
      address.keep(this.#key, {[key]: value});
      this.#run();
    };
    const choices =
      names.length > 1 ? [choice('Figure', names, name, (value) => change('figure', value))] : [];
    keepingFocus(this.#toolbar, () =>
      this.#toolbar.replaceChildren(
        ...(this.own.controls?.() ?? []),
        ...choices,
        ...controls(
          without(configSpec, this.own.hidden ?? []),
          onlyWith,
          settings,
          unavailable,
          change,
          {'other model': `other model: ${this.host.otherModels()[0]}`},
          this.own.sliders,
        ),
        ...this.#buttons,
      ),
    );
    this.#said.textContent = this.#said.title = [this.#note, description].filter(Boolean).join(' ');
  }

  #run() {
    const view = /** @type {View} */ (this.#view);
    this.#note = '';
    this.#drawControls();
    this.own.asking?.(view, this.#chosen.settings);
    this.#asked = this.#question();
    this.#tellPython('');
    this.#python = new Promise((tell) => (this.#tellPython = tell));
    const {example} = view;
    const {name, settings, unavailable} = this.#chosen;
    if (!example) {
      this.#nothing(
        view.pinned ? 'Pin a prompt to compare it here.' : 'Select a prompt to draw it.',
      );
      return;
    }
    const reason = hindrance(settings, unavailable);
    if (reason) {
      this.#nothing(`Nothing can be drawn with these settings: ${reason}.`);
      return;
    }
    this.#content.setAttribute('aria-busy', 'true');
    this.#latest.run(() => this.#ask(view), {
      loading: () => this.#place.loading(`Computing ${name}.`),
      failed: (sentence) => {
        this.#forget();
        this.#content.setAttribute('aria-busy', 'false');
        this.#place.failed(sentence);
        this.#tellPython('');
      },
      partial: (drawing) => {
        if (this.#content.getAttribute('aria-busy') === 'true')
          void this.#draw(drawing, example, true);
      },
      done: (drawing) => void this.#draw(drawing, example, false),
    });
  }

  /** Show no figure. @param {string} sentence */
  #nothing(sentence) {
    this.#latest.drop();
    this.#forget();
    this.#buttons = [];
    this.#drawControls();
    this.#content.setAttribute('aria-busy', 'false');
    this.#place.empty(sentence);
    this.#tellPython('');
  }

  /**
   * @param {View} view @param {string} [file]
   * @param {string} [name] @param {Record<string, any>} [settings]  of another analysis
   */
  #ask(view, file = '', name = this.#chosen.name, settings = this.#chosen.settings) {
    const others = [settings.against, settings.minus];
    const pinned = others.includes('pinned prompt') ? this.host.pinned() : null;
    const example = view.example && this.own.asked ? this.own.asked(view) : view.example;
    const asked = this.own.view?.(view, settings) ?? view;
    return this.host.analyze(
      name,
      settings,
      {...asked, example},
      {
        counterpart: pinned,
        otherModel: others.includes('other model'),
        file,
      },
    );
  }

  /**
   * @param {Drawing} drawing @param {Example} example
   * @param {boolean} more  whether a better one is to come
   */
  async #draw(drawing, example, more) {
    const {grid, figure, note, python, unavailable} = drawing;
    this.#unavailable[this.#chosen.name] = unavailable;
    this.#buttons = this.#buttonsOf();
    this.#note = note;
    this.#drawControls();
    this.#forget();
    const picture = this.own.picture?.(
      drawing,
      (pos) => this.#choose(drawing, example, pos),
      this.#chosen.name,
    );
    if (picture) {
      this.#place.done(picture);
    } else if (grid) {
      this.#grid = new Grid(grid, {
        link: linkOf(`${this.tab}: ${this.#chosen.name}`),
        first: /** @type {any} */ (this.#kept.first),
        keep: (first) => address.keep(this.#key, {first}),
        choose: (cell) => {
          this.#offer(cell, example);
          if (!this.own.cell) this.#choose(drawing, example, cell.column);
          else if (grid.detail)
            void this.#drawDetail(grid.detail, this.own.cell(cell, grid, this.#chosen.settings));
        },
      });
      this.#grid.box.classList.toggle('with-detail', Boolean(this.own.cell && grid.detail));
      this.#place.done(this.#grid.box);
    } else if (figure) {
      this.#place.done(this.#plot);
      await this.#paint(drawing, example);
    }
    this.#content.setAttribute('aria-busy', `${more}`);
    if (!more) this.#tellPython(python);
  }

  /** @param {Drawing} drawing @param {Example} example */
  async #paint(drawing, example) {
    const {layout} = /** @type {any} */ (drawing.figure);
    await paint(this.#plot, /** @type {any} */ (drawing.figure));
    const plot = /** @type {any} */ (this.#plot);
    plot.removeAllListeners?.('plotly_click');
    plot.on('plotly_click', (/** @type {{points: any[]}} */ {points: [point]}) => {
      if (layout.meta?.pos === 'x' && Number.isInteger(point.x))
        this.#choose(drawing, example, point.x);
    });
  }

  /** @returns {Node[]} */
  #buttonsOf() {
    const {name, settings} = this.#chosen;
    const view = /** @type {View} */ (this.#view);
    const others = [settings.against, settings.minus].includes('other model');
    return figureButtons({
      name,
      files: FILES,
      ask: (file) => this.#ask(view, file),
      python: () => this.#python,
      of: () => ({
        model: (this.own.view?.(view, settings) ?? view).model,
        dataset: view.dataset,
        otherModel: others ? this.host.otherModels()[0] : '',
      }),
      content: this.#content,
    });
  }

  /**
   * A token of the prompt is chosen: it is the target, and what belongs to it is drawn below.
   * @param {Drawing} drawing @param {Example} example @param {number} pos
   */
  #choose({grid, figure, tokens}, example, pos) {
    if (!tokens.length) return;
    const view = /** @type {View} */ (this.#view);
    if (pos > 0)
      target.set({
        model: view.model,
        exampleId: example.id,
        tokens: tokens.length,
        pos,
        token: tokens[pos],
      });
    const detail = grid?.detail ?? figure?.layout.meta?.detail;
    if (detail) void this.#drawDetail(detail, {position: pos});
  }

  /** @param {import('./grid/card.js').Cell} cell @param {Example} example */
  #offer(cell, example) {
    const [part] = this.#grid?.parts ?? [];
    if (!this.own.stages || !part) return;
    const {model} = /** @type {View} */ (this.#view);
    const changes = this.own.stages(cell, part, this.#chosen.settings, example);
    const buttons = offer(this.host, model, changes);
    this.#staging.replaceChildren(...(buttons ? [buttons] : []));
  }

  /** @param {string} other @param {Record<string, unknown>} place */
  async #drawDetail(other, place) {
    const spec = this.host.configSpec(other);
    const shared = Object.entries(this.#chosen.settings).filter(([key]) => key in spec);
    try {
      const {figure} = await this.#ask(/** @type {View} */ (this.#view), '', other, {
        ...Object.fromEntries(shared),
        ...place,
      });
      this.#content.append(this.#detail);
      await paint(this.#detail, figure);
    } catch (error) {
      const sentence = el('p', {className: 'failed', role: 'alert'}, sentenceOf(error));
      this.#detail.replaceChildren(sentence);
      this.#content.append(this.#detail);
    }
  }
}

/** @param {Record<string, any>} spec @param {string[]} hidden */
const without = (spec, hidden) =>
  Object.fromEntries(Object.entries(spec).filter(([name]) => !hidden.includes(name)));
