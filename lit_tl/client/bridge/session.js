// @ts-check
/** LIT's page as a session: what it shows, collected and brought back. */
import * as address from '../address.js';
import {drafts} from '../messages.js';
import {pairs} from '../pair_editor.js';
import {isAway, sentenceOf} from '../reach.js';
import * as session from '../session.js';

/** @typedef {import('../bridge.js').Example} Example */

const SMALL = 1500; // characters of an address that carries a session
const PATIENCE = 120_000; // milliseconds that data may take to come
const EVERY = 3000; // milliseconds between two looks for changes

/** @type {any} */
let known = null;

/** @returns {any} LIT's services: appState, selectionService, and that of the pinned prompt */
function services() {
  if (known) return known;
  const {appState, apiService, selectionService} = /** @type {any} */ (
    document.createElement('salience-map-module')
  );
  const pinned = Object.assign(/** @type {any} */ (document.createElement('salience-map-module')), {
    selectionServiceIndex: 1,
  }).selectionService;
  return (known = {appState, apiService, selectionService, pinned});
}

/** Examples of the page that the data set has not. @returns {Example[]} */
function added() {
  const all = /** @type {Example[]} */ (services().appState.currentInputData ?? []);
  return all
    .filter(({meta}) => meta.added)
    .map(({id, data, meta: {source, parentId}}) => {
      const own = Object.entries(data).filter(([name]) => !name.startsWith('_'));
      return {id, data: Object.fromEntries(own), meta: {added: true, source, parentId}};
    });
}

/** What the server makes a session of. */
export function state() {
  const {title, figures, notes} = session.get();
  return {
    title,
    query: address.ofLit(),
    panels: address.all(),
    pairs: pairs(),
    drafts: Object.fromEntries(drafts),
    added: added(),
    figures,
    notes,
  };
}

/**
 * @param {string} path @param {object} [body]
 * @returns {Promise<any>}
 */
export async function ask(path, body = {}) {
  const reply = await fetch(path, {method: 'POST', body: JSON.stringify(body)});
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
}

/** Whether the page has what its address alone would not bring back. */
const needsMore = () => {
  const {title, figures, notes, added: examples, pairs: typed, drafts: changed} = state();
  const selected = services().selectionService.primarySelectedId;
  return Boolean(
    title ||
      figures.length ||
      Object.keys(changed).length ||
      Object.keys(notes).length ||
      Object.keys(typed).length ||
      examples.length > 1 ||
      examples.some(({id, data}) => id !== selected || JSON.stringify(data).length > SMALL),
  );
};

/** The address of a page like this one, for others. @returns {Promise<string>} */
export async function link() {
  const base = `${location.origin}${location.pathname}`;
  if (!needsMore()) return location.href;
  const whole = state();
  if (!whole.figures.length) {
    const small = await session.packed(whole);
    if (small.length <= SMALL) return `${base}?session=z.${small}`;
  }
  const {name} = await ask('keep_session', {state: whole});
  return `${base}?session=${name}`;
}

/** Open another session on this page. @param {string} name  that the server has it under */
export function go(name) {
  location.href = `${location.pathname}?session=${encodeURIComponent(name)}`;
}

/** What was opened comes onto the page, and what changes is kept from then on. */
export function mendSession() {
  copyLinks();
  const fresh = !session.pending();
  void restore()
    .catch((error) => say(`The session can't be shown as a whole: ${sentenceOf(error)}.`))
    .then(() => autosave(fresh));
}

/** @param {string} sentence */
const say = (sentence) => /** @type {any} */ (window).litTlWithout(sentence, '');

async function restore() {
  const opened = session.pending();
  if (!opened) return;
  const {appState, selectionService, pinned} = services();
  await until(() => appState.currentInputData?.length && appState.currentDataset);
  const ids = new Map(/** @type {[string, string][]} */ ([]));
  if (opened.added.length) {
    const examples = opened.added.map(({data, meta}) => ({data: {...data, _id: ''}, id: '', meta}));
    const annotated = await appState.annotateNewData(examples);
    annotated.forEach((/** @type {Example} */ example, /** @type {number} */ at) => {
      ids.set(opened.added[at].id, example.id);
      const parent = ids.get(example.meta.parentId);
      if (parent) example.meta.parentId = parent;
    });
    appState.commitNewDatapoints(annotated);
  }
  const here = (/** @type {string|undefined} */ text) =>
    (text ?? '')
      .split(',')
      .filter(Boolean)
      .map((id) => ids.get(id) ?? id);
  const {selection, primary, pinned: held} = opened.query;
  if (here(selection).length) selectionService.selectIds(here(selection));
  if (primary) selectionService.setPrimarySelection(here(primary)[0]);
  if (held) pinned.selectIds(here(held));
  for (const [old, id] of ids) rename(old, id);
  session.finish();
}

/** A note on an example that has another id here. @param {string} old @param {string} id */
function rename(old, id) {
  const draft = drafts.get(old);
  if (draft && old !== id) {
    drafts.delete(old);
    drafts.set(id, draft);
  }
  const text = session.get().notes[old];
  if (!text || old === id) return;
  session.note(old, '');
  session.note(id, text);
}

/** @param {() => unknown} condition */
async function until(condition) {
  const started = Date.now();
  while (!condition()) {
    if (Date.now() - started > PATIENCE) throw new Error('its data did not come');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * The server keeps what changes, so that it outlives the browser and the server.
 * @param {boolean} fresh  whether there is nothing to keep yet
 */
function autosave(fresh) {
  let before = fresh ? JSON.stringify(state()) : '';
  let [busy, touched] = [false, !fresh]; // a page that nobody touches is not kept
  for (const kind of ['pointerdown', 'keydown'])
    addEventListener(kind, () => (touched = true), {capture: true, once: true});
  const look = async () => {
    if (busy || document.hidden || !touched) return;
    const now = state();
    const text = JSON.stringify(now);
    if (text === before) return;
    busy = true;
    try {
      const name = session.autosaveName();
      await ask(`keep_session?autosave=true&name=${name}`, {state: now});
      before = text;
      address.setSession(needsMore() ? name : '');
    } catch (error) {
      // the next look tries again; panels say when the server is away
      if (!isAway(error)) {
        before = text;
        say(`This page is not kept by itself: ${sentenceOf(error)}.`);
      }
    } finally {
      busy = false;
    }
  };
  setInterval(look, EVERY);
}

/** LIT's button copies an address that brings all of the page. */
function copyLinks() {
  const toolbar = customElements.get('lit-app-toolbar')?.prototype;
  if (typeof toolbar?.onClickCopyLink !== 'function') return;
  toolbar.onClickCopyLink = async function () {
    try {
      await navigator.clipboard.writeText(await link());
    } catch (error) {
      say(`The link can't be copied: ${sentenceOf(error)}.`);
    }
  };
}
