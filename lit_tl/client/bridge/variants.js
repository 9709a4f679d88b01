// @ts-check
/** Variants on LIT's page: models under changes come and go, and the header says what is changed. */
import * as address from '../address.js';
import {set} from '../changes.js';
import {el} from '../dom.js';
import {onUpdate, restyle} from './template.js';

const STYLE = `
  .lit-tl-changed { max-width: 330px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
    color: #fff; font-size: 12px; margin-right: 10px; }
`;

/** @type {any} LIT's toolbar, which knows its services */
let toolbar = null;

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
  const config = {original, changes, name};
  const made = await apiService.queryServer('/make_variant', {}, [], 'Making variant', config);
  appState.metadata = made.info;
  keep(made.name);
  if (made.name === instead) return made.name;
  const others = appState.currentModels.filter((/** @type {string} */ each) => each !== instead);
  await settingsService.updateSettings({models: [...new Set([...others, made.name])]});
  if (instead) await unload(instead);
  return made.name;
}

/** @param {string} name */
export async function removeVariant(name) {
  const {appState, settingsService} = services();
  const others = appState.currentModels.filter((/** @type {string} */ each) => each !== name);
  const {original} = appState.metadata.models[name].variant;
  await settingsService.updateSettings({models: others.length ? others : [original]});
  await unload(name);
}

/** @param {string} name */
async function unload(name) {
  const {appState} = services();
  const {apiService} = /** @type {any} */ (document.createElement('salience-map-module'));
  address.keep('Variants', {[name]: undefined});
  set(name, null);
  appState.metadata = await apiService.queryServer(
    '/unload_model',
    {model: name},
    [],
    'Deleting variant',
  );
}

/** The address carries the variant. @param {string} name */
function keep(name) {
  const {changes, original} = services().appState.metadata.models[name].variant;
  address.keep('Variants', {[name]: {original, changes}});
}

/** LIT's header says which models on the page are changed, and how. */
export function mendHeader() {
  onUpdate('lit-app-toolbar', (header) => {
    const section = [...header.renderRoot.querySelectorAll('.headline-section')].at(-1);
    if (!section) return;
    if (!header.renderRoot.querySelector('style.lit-tl')) restyle(header, STYLE);
    const text = said(header.appState);
    const old = section.querySelector('.lit-tl-changed');
    if ((old?.textContent ?? '') === text) return;
    old?.remove();
    if (text)
      section.prepend(el('span', {className: 'lit-tl-changed', role: 'status', title: text}, text));
  });
}

/** @param {any} appState @returns {string} */
function said({currentModels, metadata}) {
  return currentModels
    .map((/** @type {string} */ name) => [name, metadata.models[name]?.variant?.changes ?? []])
    .filter((/** @type {[string, string[]]} */ [, changes]) => changes.length)
    .map((/** @type {[string, string[]]} */ [name, changes]) => `${name}: ${changes.join('; ')}`)
    .join(' | ');
}
