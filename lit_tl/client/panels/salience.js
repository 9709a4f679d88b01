// @ts-check
import {AnalysisPanel} from '../analysis_panel.js';
import {el} from '../dom.js';
import {inColours} from '../grid/aside.js';
import {ink, share, span, table} from '../grid/colours.js';
import {decode} from '../grid/data.js';
import {legend} from '../grid/legend.js';
import * as target from '../target.js';
import * as template from '../template_tokens.js';
import {number, tokenStrip, visible} from '../tokens.js';

const MOST = 12; // bars

/** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
function mount(root, host) {
  /** @type {import('../bridge.js').View|null} */
  let looked = null;
  const panel = new AnalysisPanel(root, 'Salience', host, {asked, picture});
  const end = target.subscribe((chosen) => {
    // another prompt's or model's target is nothing to this panel
    if (looked?.example && (!chosen || isOf(chosen, looked))) panel.again();
  });
  const endTemplate = template.subscribe(() => {
    if (looked?.example) panel.again();
  });
  return {
    show(/** @type {import('../bridge.js').View} */ view) {
      looked = view;
      panel.show(view);
    },
    othersChanged: () => panel.othersChanged(),
    close() {
      end();
      endTemplate();
      panel.close();
    },
  };
}

/** @param {target.Target} chosen @param {import('../bridge.js').View} view */
const isOf = (chosen, {model, example}) =>
  target.isOf(chosen, {model, exampleId: /** @type {any} */ (example).id});

/** The example, with the target that was chosen. @param {import('../bridge.js').View} view */
function asked(view) {
  const example = /** @type {import('../bridge.js').Example} */ (view.example);
  const chosen = target.get();
  return chosen && isOf(chosen, view) ? target.withTarget(example, chosen) : example;
}

/**
 * The prompt coloured by its scores, and the greatest of them as bars.
 * @param {import('../analysis_panel.js').Drawing} drawing
 * @param {(pos: number) => void} choose
 */
function picture({grid, tokens, roles}, choose) {
  const drawn = /** @type {import('../grid/data.js').GridText} */ (grid);
  const [part] = decode(drawn);
  const {values, colours} = part;
  const aside = {first: /** @type {const} */ ('shown'), template: template.get()};
  const counted = inColours(part.columns, aside);
  const shown = span([part], aside);
  const said = el('p', {className: 'value-of', role: 'status'});
  const say = (/** @type {number} */ pos) =>
    said.replaceChildren(
      `${pos} `,
      el('code', {}, visible(tokens[pos])),
      `: ${number(values[pos], 4)} ${colours.unit}`,
    );
  const strip = tokenStrip(tokens, {
    label: 'The prompt, coloured by salience',
    focus: say,
    choose,
    roles,
  });
  strip.buttons.forEach((button, pos) => {
    const value = values[pos];
    button.style.backgroundColor = css(part, shown, value);
    button.style.color = ink(part, shown, value);
    button.setAttribute('aria-label', `${tokens[pos]}: ${number(value, 4)} ${colours.unit}`);
  });
  const known = [...values.keys()].filter((pos) => !Number.isNaN(values[pos]) && counted(pos));
  const order = known.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
  return el(
    'div',
    {className: 'salience'},
    el('h4', {className: 'explained'}, drawn.title),
    el(
      'div',
      {className: 'toolbar'},
      legend(colours, shown),
      roles.length ? template.control() : null,
    ),
    strip.box,
    said,
    bars(part, shown, tokens, order.slice(0, MOST)),
  );
}

/**
 * @param {import('../grid/data.js').Part} part @param {import('../grid/colours.js').Span} shown
 * @param {number} value
 */
function css(part, shown, value) {
  if (Number.isNaN(value)) return '#eceff1';
  const pixel = table(part.colours.table)[Math.round(255 * share(part.colours, shown, value))];
  return `rgb(${pixel & 255}, ${(pixel >> 8) & 255}, ${(pixel >> 16) & 255})`;
}

/**
 * @param {import('../grid/data.js').Part} part @param {import('../grid/colours.js').Span} shown
 * @param {string[]} tokens @param {number[]} order
 */
function bars(part, shown, tokens, order) {
  const {values} = part;
  const most = Math.max(...order.map((pos) => Math.abs(values[pos]))) || 1;
  const rows = order.map((pos) => {
    const bar = el('span', {className: 'bar'}, el('span', {}));
    const inner = /** @type {HTMLElement} */ (bar.firstElementChild);
    inner.style.width = `${(100 * Math.abs(values[pos])) / most}%`;
    inner.style.backgroundColor = css(part, shown, values[pos]);
    return el(
      'li',
      {},
      el('span', {className: 'rank'}, String(pos)),
      el('code', {className: 'name'}, visible(tokens[pos])),
      bar,
      el('span', {className: 'value'}, number(values[pos])),
      el('span', {}),
    );
  });
  return el('ol', {className: 'guesses', 'aria-label': 'Tokens that count most'}, ...rows);
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Salience',
  info:
    'How much each token counts for a target: the token that was chosen in Predictions, or else ' +
    'the answer, or else the likeliest.',
  interpreter: '',
  tab: 'Salience',
  mount,
};
