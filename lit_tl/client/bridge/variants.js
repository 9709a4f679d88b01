// @ts-check
/** Variants on LIT's page: models under changes come and go, and the header says what is changed. */
import * as address from '../address.js';
import {set} from '../changes.js';
import {pageId} from '../linked_variants.js';
import {el} from '../dom.js';
import {onUpdate, restyle} from './template.js';

const STILL_ANSWERED = 3000; // milliseconds
const STYLE = `
  .lit-tl-changed { display: flex; flex-direction: column; align-items: stretch; max-width: 340px; max-height: 44px;
    overflow-y: auto; color: #fff; font-size: 11px; line-height: 14px; margin-right: 10px; }
  .lit-tl-changed span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; flex: none;
    width: 100%; text-align: left; }
`;

/** @type {any} LIT's toolbar, which knows its services */
let toolbar = null;

/** @type {Map<string, ReturnType<typeof setTimeout>>} variants that are let go of soon */
const leaving = new Map();

/** @returns {any} */
const services = () => (toolbar ??= document.createElement('lit-app-toolbar'));

/**
 * Make a variant, and put it on the page.
 * @param {string} original @param {string[]} changes @param {string} name
 * @param {string} [instead]  the model that it takes the place of
 * @returns {Promise<string>} what it is called
 */
export async function makeVariant(original, changes, name, instead = '') {
  const {appState, settingsService} = services();
  const {apiService} = /** @type {any} */ (document.createElement('salience-map-module'));
  const config = {original, changes, name, page: pageId()};
  const made = await apiService.queryServer('/make_variant', {}, [], 'Making variant', config);
  appState.metadata = made.info;
  clearTimeout(leaving.get(made.name)); // it is wanted again
  keep(made.name);
  if (made.name === instead) return made.name;
  const others = appState.currentModels.filter((/** @type {string} */ each) => each !== instead);
  await settingsService.updateSettings({models: [...new Set([...others, made.name])]});
  if (instead) unload(instead);
  return made.name;
}

/** @param {string} name */
export async function removeVariant(name) {
  const {appState, settingsService} = services();
  const others = appState.currentModels.filter((/** @type {string} */ each) => each !== name);
  const {original} = appState.metadata.models[name].variant;
  await settingsService.updateSettings({models: others.length ? others : [original]});
  unload(name);
}

/**
 * Let go of a variant that is on the page no longer. What was asked of it a moment ago is still
 * answered.
 * @param {string} name
 */
function unload(name) {
  const {appState} = services();
  address.keep('Variants', {[name]: undefined});
  set(name, null);
  const query = `unload_model?model=${encodeURIComponent(name)}`;
  const timer = setTimeout(async () => {
    const reply = await fetch(query, {method: 'POST', body: '{}'});
    if (reply.ok) appState.metadata = await reply.json();
  }, STILL_ANSWERED);
  leaving.set(name, timer);
}

/** The address carries the variant. @param {string} name */
function keep(name) {
  const {changes, original} = services().appState.metadata.models[name].variant;
  if (!original) return; // of a variant that the server was started with: no link can make it
  address.keep('Variants', {[name]: {original, changes}});
}

/** LIT's header says which models on the page are changed, and how. */
export function mendHeader() {
  onUpdate('lit-app-toolbar', (header) => {
    const section = [...header.renderRoot.querySelectorAll('.headline-section')].at(-1);
    if (!section) return;
    if (!header.renderRoot.querySelector('style.lit-tl')) restyle(header, STYLE);
    const lines = said(header.appState);
    const old = section.querySelector('.lit-tl-changed');
    if ((old?.textContent ?? '') === lines.join('')) return;
    old?.remove();
    if (lines.length)
      section.prepend(
        el(
          'div',
          {className: 'lit-tl-changed', role: 'status'},
          ...lines.map((line) => el('span', {title: line}, line)),
        ),
      );
  });
}

/** A line for each changed model on the page. @param {any} appState @returns {string[]} */
function said({currentModels, metadata}) {
  return currentModels
    .map((/** @type {string} */ name) => [name, metadata.models[name]?.variant?.changes ?? []])
    .filter((/** @type {[string, string[]]} */ [, changes]) => changes.length)
    .map((/** @type {[string, string[]]} */ [name, changes]) => `${name}: ${changes.join('; ')}`);
}
