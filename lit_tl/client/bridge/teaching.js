// @ts-check
/** A line under the tabs that says what is seen and how to read it, and a tour of the page. */
import {el, remember, remembered} from '../dom.js';
import {startTour} from '../tour.js';
import {onUpdate, restyle} from './template.js';

const STYLE = `
#outer-container { --right-column-min-section-content-height: 132px; min-width: 640px; }
#lower-right .components-group-holder { --top-offset: calc(var(--tab-bar-height) + 24px); }
:host([folded]) #left-column, :host([folded]) #left-column + .expander { display: none; }
.tab { padding-left: 7px !important; padding-right: 7px !important; flex: none; }
#center-bar .tabs-container { flex: 0 1 auto; min-width: 0; overflow-x: auto; scrollbar-width: none; }
#center-bar #drag-container { flex: 1 0 32px; }
@media (max-height: 700px) {
  #outer-container { --right-column-min-section-content-height: 84px; }
}
@media (max-width: 1560px) {
  #center-bar .tab { padding-left: 2px !important; padding-right: 2px !important; font-size: 12px; }
  #center-bar #drag-container { flex: 0 1 24px; }
}
@media (max-width: 1100px) {
  #center-bar .tab { padding-left: 5px !important; padding-right: 5px !important; font-size: 12px; }
}
.lit-tl-says { flex: none; height: 24px; box-sizing: border-box; display: flex; gap: 12px;
  align-items: center; padding: 0 8px; font: 13px/18px Roboto, sans-serif; color: #5f6368;
  background: #fff; border: 1px solid #dadce0; border-top: 0; }
.lit-tl-says span { flex: 1 1 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.lit-tl-says button { flex: none; border: 0; background: none; padding: 0; font: inherit;
  color: #00696d; cursor: pointer; }
.lit-tl-says button:hover { text-decoration: underline; }
.lit-tl-says button:focus-visible { outline: 2px solid #00777b; outline-offset: 1px; }
`;
/** @type {Record<string, string>} by tab */
const SAYS = {
  Predictions:
    'What the model expects after each token. The colour of a token is its loss; click one to see the likeliest there.',
  Browse: 'All prompts of a store: sort, filter, compare, and open some of them in the page.',
  Chat: 'The messages that the model reads: change them, let it answer, and fork where it could have gone another way.',
  Attention:
    'Where each token looks. A cell of the small grid is a head: choose one to see its map, queries down, keys across.',
  Lens: 'What the model would say if it stopped at a layer: the first layer is at the bottom, the output on top.',
  Causes:
    'Which part does it: put a part of one run into the run of another prompt, and see how far the answer changes.',
  Interventions:
    'What if a part were different: stage changes, see what they do, and make a variant that every tab shows.',
  Salience: 'How much each token of the prompt counts for what is explained, by the chosen method.',
  'Sequence Salience':
    'Choose a piece of text, by words or sentences: the colours before it say what it depends on.',
  'Salience Maps': 'The same questions as maps of LIT: run a method to fill its row.',
  'Generated Text': 'What the model goes on with after the prompt, beside the answer of the data.',
  Figures:
    'Scores of heads and tokens as figures: choose one on the left, and change its settings.',
  Embeddings:
    'A point is a prompt; near ones are alike to the model. Color By gives a colour, a click selects.',
  Counterfactuals: 'Prompts made of the selected one: run a generator, and add those to keep.',
  Metrics: 'How well the model does on all prompts, on those that are selected, and on slices.',
};

export function mendTeaching() {
  /** @type {WeakSet<object>} */
  const styled = new WeakSet();
  onUpdate('lit-modules', (host) => {
    if (!styled.has(host)) {
      restyle(host, STYLE);
      if (remembered('folded', false)) host.toggleAttribute('folded', true);
    }
    styled.add(host);
    const bar = host.renderRoot.querySelector('#center-bar');
    if (!bar) return;
    let line = bar.parentElement.querySelector('.lit-tl-says');
    if (!line) bar.after((line = lineOf(host)));
    const name = bar.querySelector('.tab.selected')?.textContent?.trim() ?? '';
    const text = SAYS[name] ?? '';
    const said = line.querySelector('span');
    if (said.textContent !== text) said.textContent = said.title = text;
  });
}

/** @param {any} host */
function lineOf(host) {
  const names = () => (host.hasAttribute('folded') ? 'Show prompts' : 'Hide prompts');
  const fold = el(
    'button',
    {
      type: 'button',
      onclick: () => {
        remember('folded', host.toggleAttribute('folded'));
        fold.textContent = names();
        window.dispatchEvent(new Event('resize'));
      },
    },
    names(),
  );
  const tour = el('button', {type: 'button', onclick: () => startTour(stops(host))}, 'Tour');
  const left = host.renderRoot.querySelector('#left-column') ? fold : null;
  return el('div', {className: 'lit-tl-says'}, el('span', {}), left, tour);
}

/** @param {any} host @returns {import('../tour.js').Stop[]} */
function stops(host) {
  const inside = (/** @type {string} */ selector) => () => host.renderRoot.querySelector(selector);
  return [
    {
      at: inside('#left-column'),
      says: 'The prompts, and how well the model does on each. Click a row to look into it; click the head of a column to sort by it.',
    },
    {
      at: inside('#upper-right'),
      says: 'The prompt that is selected. Write another one and add it: it is looked at at once.',
    },
    {
      at: inside('#center-bar'),
      says: 'What there is to look at. The line below says what each tab shows and how to read it.',
    },
    {
      at: inside('#lower-right'),
      says: 'Point at a cell, a token or a bar for its numbers; click to hold them. Figures, tables and the Python that makes them are behind the buttons.',
    },
    {
      at: () => document.querySelector('lit-app')?.shadowRoot?.querySelector('lit-app-toolbar'),
      says: 'Configure loads other models and prompts. Pin a prompt, or choose a second model, to see two side by side. Press ? for the keys.',
    },
  ];
}
