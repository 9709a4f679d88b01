// @ts-check
import {choice, el, remember, remembered, states, toggle} from '../dom.js';
import {Latest, sentenceOf} from '../request.js';
import * as target from '../target.js';

/**
 * @typedef {object} Drawing
 * @property {{data: any[], layout: any}} figure  Plotly's
 * @property {string[]} columns @property {any[][]} rows  the same numbers
 * @property {string} note @property {string} python  what draws it in a notebook
 * @property {string[]} tokens
 */

/** @returns {Promise<any>} Plotly, fetched when the first figure is drawn */
function plotly() {
  const loaded = /** @type {any} */ (window);
  loaded.litTlPlotly ??= loaded.Plotly
    ? Promise.resolve(loaded.Plotly)
    : new Promise((resolve, reject) => {
        document.head.append(
          el('script', {
            src: new URL('../plotly.min.js', import.meta.url).href,
            onload: () => resolve(loaded.Plotly),
            onerror: () => {
              loaded.litTlPlotly = undefined;
              reject(
                new Error(
                  "the script that draws figures can't be loaded: is the server still running?",
                ),
              );
            },
          }),
        );
      });
  return loaded.litTlPlotly;
}

/** @param {string[]} columns @param {any[][]} rows */
export function csv(columns, rows) {
  const cell = (/** @type {unknown} */ value) =>
    /[",\n\r]/.test(String(value ?? ''))
      ? `"${String(value).replace(/"/g, '""')}"`
      : String(value ?? '');
  return [columns, ...rows].map((row) => row.map(cell).join(',')).join('\n') + '\n';
}

/**
 * What a control of an interpreter's `config_spec` is.
 * @param {any} field  a LIT type
 * @returns {'choice'|'switch'|'number'|'text'}
 */
export function kindOf(field) {
  if (Array.isArray(field.vocab)) return 'choice';
  if (typeof field.default === 'boolean') return 'switch';
  return 'min_val' in field ? 'number' : 'text';
}

/** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
function mount(root, host) {
  const latest = new Latest();
  /** @type {import('../bridge.js').View|null} */
  let view = null;
  const toolbar = el('div', {className: 'toolbar'});
  const plot = el('div', {className: 'plot'});
  const detail = el('div', {className: 'plot detail'});
  const content = el('div', {className: 'figure'});
  const place = states(content);
  root.append(toolbar, content);
  let name = remembered('figure', '');
  const saved = () => Object(remembered(`figure.${name}`, {}));
  const resized = new ResizeObserver(
    () =>
      plot.isConnected &&
      plot.offsetWidth > 0 &&
      /** @type {any} */ (window).Plotly?.Plots.resize(plot),
  );
  resized.observe(content);

  function change(/** @type {string} */ key, /** @type {unknown} */ value) {
    remember(`figure.${name}`, {...saved(), [key]: value});
    run();
  }

  /** @returns {Record<string, unknown>} */
  function settings() {
    const spec = host.interpreters()[name]?.configSpec ?? {};
    return Object.fromEntries(
      Object.entries(spec).map(([key, field]) => {
        const value = saved()[key] ?? field.default;
        return [
          key,
          kindOf(field) === 'choice' && !field.vocab.includes(value) ? field.vocab[0] : value,
        ];
      }),
    );
  }

  function drawControls(/** @type {Node[]} */ ...buttons) {
    const all = host.interpreters();
    if (!(name in all)) [name] = Object.keys(all);
    const now = settings();
    const controls = Object.entries(all[name].configSpec).map(([key, field]) => {
      const label = key.replace(/_/g, ' ');
      switch (kindOf(field)) {
        case 'choice':
          return choice(label, field.vocab, String(now[key]), (value) => change(key, value));
        case 'switch':
          return toggle(label, Boolean(now[key]), (on) => change(key, on));
        default: {
          const numeric = kindOf(field) === 'number';
          const input = el('input', {
            type: numeric ? 'number' : 'text',
            value: String(now[key] ?? ''),
            onchange: () => change(key, numeric ? Number(input.value) : input.value),
          });
          if (numeric) Object.assign(input, {min: field.min_val, max: field.max_val});
          return el('label', {className: 'control'}, label, input);
        }
      }
    });
    toolbar.replaceChildren(
      choice('Figure', Object.keys(all), name, (value) => {
        name = value;
        remember('figure', name);
        run();
      }),
      ...controls,
      ...buttons,
    );
    toolbar.title = all[name].description;
  }

  function run() {
    drawControls();
    const looked = view;
    const example = looked?.example;
    if (!looked || !example) {
      latest.drop();
      content.setAttribute('aria-busy', 'false');
      place.empty(
        looked?.pinned ? 'Pin a prompt to compare it here.' : 'Select a prompt to draw it.',
      );
      return;
    }
    const now = settings();
    content.setAttribute('aria-busy', 'true');
    const pinned = now.against === 'pinned prompt' ? host.pinned() : null;
    const against = {counterpart: pinned, otherModel: now.against === 'other model'};
    latest.run(() => Promise.all([host.analyze(name, now, looked, against), plotly()]), {
      loading: () => place.loading(`Computing ${name}.`),
      failed: (sentence) => {
        content.setAttribute('aria-busy', 'false');
        place.failed(sentence);
      },
      partial: async (drawing) => {
        const Plotly = await plotly();
        if (content.getAttribute('aria-busy') === 'true') void draw(drawing, Plotly, example, true);
      },
      done: ([drawing, Plotly]) => void draw(drawing, Plotly, example),
    });
  }

  /**
   * @param {Drawing} drawing
   * @param {any} Plotly
   * @param {import('../bridge.js').Example} example
   * @param {boolean} more  whether a better one is to come
   */
  async function draw(drawing, Plotly, example, more = false) {
    const {figure, columns, rows, note, tokens} = drawing;
    const file = name.toLowerCase().replace(/\W+/g, '-');
    const button = (/** @type {string} */ text, /** @type {() => void} */ onclick) =>
      el('button', {type: 'button', onclick}, text);
    drawControls(
      ...['png', 'svg'].map((format) =>
        button(format.toUpperCase(), () => Plotly.downloadImage(plot, {format, filename: file})),
      ),
      button('CSV', () => save(`${file}.csv`, 'text/csv', csv(columns, rows))),
      button('JSON', () =>
        save(
          `${file}.json`,
          'application/json',
          JSON.stringify({figure: name, settings: settings(), columns, rows}),
        ),
      ),
      button('Copy as Python', () => void copy(drawing.python, content)),
    );
    place.done(...(note ? [el('p', {}, note)] : []), plot);
    await paint(Plotly, plot, figure);
    content.setAttribute('aria-busy', `${more}`);
    /** @type {any} */ (plot).removeAllListeners?.('plotly_click');
    /** @type {any} */ (plot).on(
      'plotly_click',
      (/** @type {{points: any[]}} */ {points: [point]}) => {
        const pos = figure.layout.meta?.pos === 'x' ? point.x : null;
        if (!Number.isInteger(pos)) return;
        if (pos > 0)
          target.set({
            model: /** @type {any} */ (view).model,
            exampleId: example.id,
            tokens: tokens.length,
            pos,
            token: tokens[pos],
          });
        if (figure.layout.meta.detail)
          void drawDetail(figure.layout.meta.detail, pos, Plotly, example);
      },
    );
  }

  /**
   * Another figure, of the position that was clicked, under the first.
   * @param {string} other
   * @param {number} pos
   * @param {any} Plotly
   * @param {import('../bridge.js').Example} example
   */
  async function drawDetail(other, pos, Plotly, example) {
    const shared = Object.entries(settings()).filter(
      ([key]) => key in host.interpreters()[other].configSpec,
    );
    try {
      const {figure} = await host.analyze(
        other,
        {...Object.fromEntries(shared), position: pos},
        /** @type {any} */ (view),
        {},
      );
      content.append(detail);
      await paint(Plotly, detail, figure);
      detail.scrollIntoView({block: 'nearest'});
    } catch (error) {
      detail.replaceChildren(el('p', {className: 'failed', role: 'alert'}, sentenceOf(error)));
      content.append(detail);
    }
  }

  return {
    show(/** @type {import('../bridge.js').View} */ next) {
      view = next;
      run();
    },
    close() {
      latest.drop();
      resized.disconnect();
    },
  };
}

/** @param {any} Plotly @param {HTMLElement} place @param {Drawing['figure']} figure */
async function paint(Plotly, place, figure) {
  const layout = {
    ...figure.layout,
    autosize: true,
    font: {family: 'Roboto, sans-serif', size: 12},
    margin: {l: 64, r: 16, t: 36, b: 64},
  };
  await Plotly.react(place, figure.data, layout, {
    responsive: false,
    displaylogo: false,
    displayModeBar: false,
  });
  adoptStyle(place);
}

/**
 * Plotly puts its style into the document's head, from where it does not reach a panel.
 * @param {HTMLElement} plot
 */
function adoptStyle(plot) {
  const root = plot.getRootNode();
  const style = /** @type {HTMLStyleElement|null} */ (
    document.getElementById('plotly.js-style-global')
  );
  if (!(root instanceof ShadowRoot) || !style?.sheet || root.querySelector('style.plotly')) return;
  const text = [...style.sheet.cssRules].map((rule) => rule.cssText).join('\n');
  root.append(el('style', {className: 'plotly', textContent: text}));
}

/** @param {string} name @param {string} type @param {string} text */
function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  el('a', {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/**
 * To the clipboard, and where that is closed, into a field to copy from.
 * @param {string} text
 * @param {HTMLElement} place
 */
async function copy(text, place) {
  const field = el('textarea', {
    className: 'snippet',
    value: text,
    readOnly: true,
    'aria-label': 'Python',
  });
  place.querySelector('.snippet')?.remove();
  place.prepend(field);
  field.select();
  await navigator.clipboard?.writeText(text).catch(() => {});
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Figures',
  info:
    'What an analysis draws of the selected prompt. ' +
    'Click a token in it to explain that token in Salience.',
  interpreter: '',
  mount,
};
