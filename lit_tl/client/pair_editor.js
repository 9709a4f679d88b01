// @ts-check
/** A pair of prompts: what is typed in, and its tokens one above the other. */
import {el} from './dom.js';
import {decode} from './grid/data.js';
import {visible} from './tokens.js';

/**
 * @typedef {import('./bridge.js').Example} Example
 * @typedef {{corrupted_text?: string, answer?: string, foil?: string}} Typed
 * @typedef {{clean: number|null, corrupt: number|null, differs: boolean}} Column  places of tokens
 */
const BEFORE = 6; // tokens that are shown in front of the first difference
const MOST = 240; // columns that are shown

const FIELDS = /** @type {const} */ ([
  ['corrupted_text', 'corrupt prompt', 40],
  ['answer', 'answer', 10],
  ['foil', 'foil', 10],
]);

/** @type {Map<string, Typed>} what was typed in, by example, in any panel */
const typedIn = new Map();

/** @returns {Record<string, Typed>} by example */
export const pairs = () => Object.fromEntries(typedIn);

/** @param {Record<string, Typed>} pairs  by example */
export function setPairs(pairs) {
  typedIn.clear();
  for (const [id, typed] of Object.entries(pairs)) typedIn.set(id, typed);
}

/** Set an example against a corrupt prompt. @param {string} id @param {string} text */
export const setCorrupt = (id, text) => typedIn.set(id, {...typedIn.get(id), corrupted_text: text});

export class PairEditor {
  #key = '';
  #fields = el('div', {className: 'toolbar pair-fields'});
  #tokens = el('div', {
    className: 'pair-tokens',
    role: 'group',
    'aria-label': 'The pair of prompts',
  });
  #note = el('p', {className: 'said', role: 'status'});
  box = el('div', {className: 'pair'}, this.#fields, this.#tokens, this.#note);

  /** @param {() => void} changed  the pair is another one */
  constructor(changed) {
    this.changed = changed;
  }

  /** The example with what was typed in. @param {Example} example @returns {Example} */
  with(example) {
    const typed = typedIn.get(example.id);
    if (!typed) return example;
    return {
      id: '',
      data: {...example.data, ...typed, _id: ''},
      meta: {...example.meta, added: true, parentId: example.id},
    };
  }

  /**
   * Fields for the pair of an example.
   * @param {Example} example @param {Example|null} pinned  the corrupt prompt, where it is pinned
   */
  show(example, pinned) {
    const key = JSON.stringify([example, typedIn.get(example.id), pinned?.id]);
    if (key === this.#key) return;
    this.#key = key;
    const {data} = this.with(example);
    this.#fields.replaceChildren(
      ...FIELDS.map(([name, label, size]) => {
        const fixed = name === 'corrupted_text' && pinned;
        const value = fixed ? pinned.data.text : (data[name] ?? '');
        const lines = String(value).includes('\n');
        const input = el(lines ? 'textarea' : 'input', {
          ...(lines ? {rows: 3, cols: 60} : {type: 'text', size}),
          'aria-label': label,
          value: String(value),
          disabled: Boolean(fixed),
          title: fixed
            ? 'The pinned prompt is the corrupt one.'
            : name === 'corrupted_text'
              ? 'The prompt that differs in what matters.'
              : 'With its leading space, if it has one.',
          onchange: () => {
            typedIn.set(example.id, {...typedIn.get(example.id), [name]: input.value});
            this.changed();
          },
        });
        return el('label', {className: 'control'}, label, input);
      }),
    );
  }

  /** Tokens one above the other. @param {import('./grid/data.js').GridText} grid @param {string} note */
  draw(grid, note) {
    const [clean, corrupt] = decode(grid);
    const columns = aligned(clean, corrupt);
    const first = Math.max(0, columns.findIndex(({differs}) => differs) - BEFORE);
    const shown = columns.slice(first, first + MOST);
    const rest = columns.length - first - shown.length;
    const cell = (/** @type {string[]} */ labels, /** @type {number|null} */ at) =>
      el('code', {}, at === null ? '' : visible(labels[at]));
    this.#tokens.replaceChildren(
      el(
        'div',
        {className: 'pair-column names'},
        el('span', {}, 'clean'),
        el('span', {}, 'corrupt'),
      ),
      ...(first > 0 ? [el('span', {className: 'more'}, `${first} alike …`)] : []),
      ...shown.map(({clean: one, corrupt: two, differs}) =>
        el(
          'div',
          {
            className: `pair-column${differs ? ' differs' : ''}`,
            title: one === null || two === null ? 'not aligned' : '',
          },
          cell(clean.columns.labels, one),
          cell(corrupt.columns.labels, two),
        ),
      ),
      ...(rest > 0 ? [el('span', {className: 'more'}, `… ${rest} more`)] : []),
    );
    this.#note.textContent = note;
  }

  /** @param {string} sentence */
  fail(sentence) {
    this.#tokens.replaceChildren();
    this.#note.textContent = sentence;
  }
}

/**
 * Tokens that stand for each other in one column; others alone.
 * @param {import('./grid/data.js').Part} clean @param {import('./grid/data.js').Part} corrupt
 * @returns {Column[]}
 */
export function aligned(clean, corrupt) {
  /** @type {Column[]} */
  const columns = [];
  let next = 0;
  corrupt.columns.labels.forEach((_, at) => {
    const partner = corrupt.beside.partner[at];
    if (partner < 0) {
      columns.push({clean: null, corrupt: at, differs: true});
      return;
    }
    for (; next < partner; next++) columns.push({clean: next, corrupt: null, differs: true});
    columns.push({clean: partner, corrupt: at, differs: corrupt.values[at] > 0});
    next = Math.max(next, partner + 1);
  });
  for (; next < clean.columns.labels.length; next++)
    columns.push({clean: next, corrupt: null, differs: true});
  return columns;
}
