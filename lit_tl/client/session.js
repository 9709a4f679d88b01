// @ts-check
/**
 * What of a page its address does not hold: figures that were kept, notes, a title; and how a page
 * begins with a session.
 *
 * @typedef {object} Kept  a figure with its result, as the server gives it
 * @property {string} analysis @property {string} model @property {string} [other_model]
 * @property {string} data  the data set
 * @property {Record<string, any>|null} example @property {Record<string, any>|null} counterpart
 * @property {Record<string, unknown>} settings @property {Record<string, string>} facts
 * @property {string} note  of the figure itself
 * @property {string} python @property {string} csv
 * @property {any} [grid] @property {any} [figure]
 * @property {string} [text]  the reader's note
 * @typedef {object} Opened
 * @property {string} title
 * @property {Record<string, string>} query  LIT's part of the address
 * @property {Record<string, Record<string, unknown>>} panels
 * @property {Record<string, Record<string, string>>} pairs
 * @property {Record<string, import('./messages.js').Conversation>} drafts
 * @property {import('./bridge.js').Example[]} added
 * @property {Kept[]} figures
 * @property {Record<string, string>} notes  by the id of the example
 * @property {string[]} said  what is missing or different here
 */
import * as address from './address.js';
import {pageId, renewPage} from './linked_variants.js';
import {setDrafts} from './messages.js';
import {setPairs} from './pair_editor.js';
import {sentenceOf} from './reach.js';

/** @type {{title: string, figures: Kept[], notes: Record<string, string>}} */
const held = {title: '', figures: [], notes: {}};
const listeners = new Set(/** @type {(() => void)[]} */ ([]));
/** @type {Opened|null} */
let opened = null;

export const get = () => held;

/** What was opened, until the page has all of it. */
export const pending = () => opened;

/** @param {() => void} listener @returns {() => void} what ends it */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @param {Partial<typeof held>} changes */
export function set(changes) {
  Object.assign(held, changes);
  for (const listener of [...listeners]) listener();
}

/** Keep a figure, behind the others. @param {Kept} figure */
export const keep = (figure) => set({figures: [...held.figures, figure]});

/** @param {string} id @param {string} text  of an example; '' for none */
export function note(id, text) {
  const {[id]: _, ...others} = held.notes;
  set({notes: text ? {...others, [id]: text} : others});
}

/** The name of this page's autosave. */
export const autosaveName = () => `page-${pageId()}`;

/**
 * Begin with the session that the address names.
 * @returns {Promise<string[]>} what is missing or different here, and what failed
 */
export async function start() {
  const name = new URLSearchParams(location.search).get('session');
  if (!name) return [];
  if (name !== autosaveName()) renewPage(); // what this tab has kept stays
  try {
    const got = name.startsWith('z.') ? await unpacked(name.slice(2)) : await fetched(name);
    begin(got);
    return got.said;
  } catch (error) {
    address.setSession('');
    return [`The session can't be opened: ${sentenceOf(error)}.`];
  }
}

/** @param {string} name @returns {Promise<Opened>} */
async function fetched(name) {
  const reply = await fetch(`open_session?name=${encodeURIComponent(name)}`, {
    method: 'POST',
    body: JSON.stringify({page: pageId()}),
  });
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
}

/** @param {Opened} got */
function begin(got) {
  const added = new Set(got.added.map(({id}) => id));
  const query = {...got.query};
  for (const name of ['selection', 'primary', 'pinned']) {
    const left = (query[name] ?? '').split(',').filter((id) => id && !added.has(id));
    if (left.length) query[name] = left.join(',');
    else delete query[name];
  }
  address.replace(query, got.panels);
  setPairs(got.pairs);
  setDrafts(got.drafts);
  opened = got;
  set({title: got.title, figures: got.figures, notes: got.notes});
}

/** The page has what was opened. */
export function finish() {
  opened = null;
}

/**
 * A small state as a part of an address.
 * @param {object} state @returns {Promise<string>}
 */
export async function packed(state) {
  const stream = new Blob([JSON.stringify(state)]).stream();
  const small = stream.pipeThrough(new CompressionStream('deflate-raw'));
  const bytes = new Uint8Array(await new Response(small).arrayBuffer());
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** @param {string} text @returns {Promise<Opened>} */
async function unpacked(text) {
  const raw = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const bytes = Uint8Array.from(raw, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const state = JSON.parse(await new Response(stream).text());
  const {
    title = '',
    query = {},
    panels = {},
    pairs = {},
    drafts = {},
    added = [],
    notes = {},
  } = state;
  return {title, query, panels, pairs, drafts, added, notes, figures: [], said: []};
}
