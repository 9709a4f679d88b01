// @ts-check
import {AnalysisPanel} from '../analysis_panel.js';
import {headTable} from '../head_table.js';
import {PairEditor} from '../pair_editor.js';
import {sentenceOf} from '../reach.js';
import {Latest} from '../request.js';

/**
 * Which part of the model a cell of a map is.
 * @param {import('../grid/card.js').Cell} cell
 * @param {{parts: {rows?: import('../grid/data.js').Axis, columns?: import('../grid/data.js').Axis}[]}} grid
 * @param {Record<string, unknown>} settings  of the map
 */
function partAt({row, column}, {parts: [part]}, settings) {
  const {rows, columns} = /** @type {Required<typeof part>} */ (part);
  const first = Number(rows.labels[row]);
  if (rows.name === 'neuron') return {layer: settings.layer, unit: first + column};
  if (rows.name !== 'layer') return {layer: settings.layer, unit: row, position: column};
  return columns.tokens ? {layer: first, position: column} : {layer: first, unit: column};
}

/**
 * The site of a part, as changes name it.
 * @param {Record<string, unknown>} place @param {Record<string, unknown>} settings
 */
function siteOf({layer, unit, position}, {component}) {
  const at = position === undefined ? '' : `@${position}`;
  if (unit === undefined) return `${component}[${layer}]${at}`;
  if (component === 'z') return `L${layer}H${unit}${at}`;
  return `${component}[${layer}].${component === 'mlp_post' ? 'n' : 'h'}${unit}${at}`;
}

/** @param {Record<string, unknown>} place @param {Record<string, unknown>} settings */
function ablations(place, settings) {
  const adds = ['attn_out', 'mlp_out', 'z', 'mlp_post'].includes(String(settings.component));
  return adds ? [`${siteOf(place, settings)} = zero`] : [];
}

/**
 * What the cell did: the other prompt's value at the same position.
 * @param {Record<string, unknown>} place @param {Record<string, unknown>} settings
 * @param {import('../bridge.js').Example} example
 */
function swaps(place, settings, {data}) {
  const text = settings.direction === 'noise' ? data.corrupted_text : data.text;
  const fits = place.position !== undefined && settings.against === 'corrupt text' && text;
  return fits ? [`${siteOf(place, settings)} = run(${JSON.stringify(text)})`] : [];
}

/** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
function mount(root, host) {
  const latest = new Latest();
  let asked = '';
  const editor = new PairEditor(() => panel.again());
  root.append(editor.box);

  /** @param {import('../bridge.js').View} view @param {Record<string, unknown>} now */
  function asking(view, now) {
    const {example} = view;
    const ofPair = 'against' in now;
    editor.box.hidden = !ofPair || !example;
    if (!ofPair || !example) return;
    const pinned = now.against === 'pinned prompt' ? host.pinned() : null;
    editor.show(example, pinned);
    const own = editor.with(example);
    const question = JSON.stringify([view.model, own.data, pinned?.data.text]);
    if (question === asked) return;
    asked = question;
    latest.run(
      () =>
        host.analyze(
          'Prompt pair',
          {against: now.against},
          {...view, example: own},
          {counterpart: pinned},
        ),
      {
        loading: () => {},
        failed: (sentence) => {
          asked = '';
          editor.fail(sentenceOf(sentence));
        },
        done: ({grid, note}) => editor.draw(grid, note),
      },
    );
  }

  const panel = new AnalysisPanel(root, 'Causes', host, {
    asked: (view) => editor.with(/** @type {import('../bridge.js').Example} */ (view.example)),
    asking,
    sliders: ['edges'],
    cell: partAt,
    stages: (cell, part, settings, example) => {
      const place = partAt(cell, {parts: [part]}, settings);
      return [...ablations(place, settings), ...swaps(place, settings, editor.with(example))];
    },
    picture: ({grid}, _, name) => (name === 'Head finder' && grid ? headTable(grid) : null),
  });
  return {
    show: (/** @type {import('../bridge.js').View} */ view) => panel.show(view),
    othersChanged: () => panel.othersChanged(),
    close() {
      latest.drop();
      panel.close();
    },
  };
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Causes',
  info:
    'Which part of the model carries the difference between two prompts: the selected one, and a ' +
    'corrupt one that you give, or pin. A click on a cell shows what the patched run predicts.',
  interpreter: '',
  tab: 'Causes',
  mount,
};
