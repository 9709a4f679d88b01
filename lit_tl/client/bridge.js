// @ts-check
/**
 * This file and those in bridge/ alone know LIT's client from inside (1.3.1): they make LIT modules
 * of panels, and put right what the client gets wrong for language models. Panels know only the
 * `Host` below.
 *
 * @typedef {{id: string, data: Record<string, any>, meta: Record<string, any>}} Example
 * @typedef {{model: string, dataset: string, example: Example|null, pinned: boolean}} View
 * @typedef {object} Host
 * @property {(interpreter: string, example: Example, config: Record<string, unknown>, view: View,
 *   ...more: Example[]) => Promise<any>} ask
 *   one example's result from an interpreter, which may want more examples to compare it with
 * @property {(analysis: string, config: Record<string, unknown>, view: View, with_: {counterpart?:
 *   Example|null, otherModel?: boolean, file?: string}) => Promise<any>} analyze
 *   what an analysis makes of the example, set against another prompt or model where it uses them,
 *   or a file of it
 * @property {() => Example|null} pinned
 * @property {(data: Record<string, any>, parent: string) => Promise<void>} addExample  to the data
 *   of the page, made from another; it is selected
 * @property {(tab: string) => void} goTo  a tab of the lower half
 * @property {() => Promise<void>|undefined} generateForAll  text for all prompts, into the table
 * @property {() => string[]} otherModels  those that are chosen first
 * @property {() => Record<string, {configSpec: Record<string, any>, description: string, onlyWith:
 *   import('./controls.js').OnlyWith}>} interpreters
 *   those of the panel's tab that the model can be asked with
 * @property {(name: string) => Record<string, any>} configSpec  the settings of any analysis
 * @property {(model: string) => Variant|null} variant  what is known of a model that can be changed
 * @property {() => string[]} dataSets  those that changes may name
 * @property {(original: string, changes: string[], name: string, instead?: string) =>
 *   Promise<string>} makeVariant  onto the page, in place of another where one is named
 * @property {(name: string) => Promise<void>} removeVariant  from the page and the server
 * @typedef {{changes: string[], original: string, layers: number, heads: number, sites: string[],
 *   tasks: string[]}} Variant  `original` is '' where it is not on the server
 * @typedef {object} Panel  what a file in panels/ exports; its tag is in the manifest
 * @property {string} title
 * @property {string} info
 * @property {string} interpreter  the one without which the panel has nothing to show; '' for any
 *   that draws figures for its tab
 * @property {string} [tab]
 * @property {boolean} [single]  whether one panel is for all models and prompts
 * @property {string} [needs]  what of the server's metadata must not be empty
 * @property {(root: HTMLElement, host: any) => {show: (view: View) => void, close?: () => void,
 *   othersChanged?: () => void}} mount
 *   `othersChanged` hears when there are other models, or another prompt is pinned
 */
import {mendNames} from './bridge/accessible.js';
import {mendKeyboard} from './bridge/keyboard.js';
import {mendLayout, mendModules} from './bridge/mends.js';
import {mendOpening} from './bridge/opening.js';
import {makeModule} from './bridge/panels.js';
import {mendSalience} from './bridge/salience.js';
import {mendSession} from './bridge/session.js';
import {mendSettingsDialog} from './bridge/settings_dialog.js';
import {mendTable} from './bridge/table.js';
import {mendTeaching} from './bridge/teaching.js';
import {mendHeader} from './bridge/variants.js';

/**
 * Define each panel as a LIT module, or say in one sentence why not.
 * @param {(Panel & {tag: string})[]} panels
 * @param {(sentence: string) => void} complain
 */
export function install(panels, complain) {
  const known = findBase();
  if (typeof known === 'string') {
    complain(
      `lit_tl's panels are off, because this LIT client is not one that they know (${known}); ` +
        'the rest of LIT works. ' +
        'Install lit-nlp 1.3.1.',
    );
    return;
  }
  mendNames();
  for (const panel of panels)
    customElements.define(panel.tag, /** @type {any} */ (makeModule(known, panel)));
  mendLayout();
  mendModules(known.Base);
  mendSalience();
  mendOpening();
  mendSettingsDialog();
  mendTable();
  mendKeyboard();
  mendTeaching();
  mendHeader();
  mendSession();
}

/**
 * @returns {{Base: any, appState: any}|string} LIT's base class of modules and its state, or what
 *   the client lacks
 */
function findBase() {
  const sample = customElements.get('salience-map-module');
  const Base = sample && Object.getPrototypeOf(sample);
  if (!Base || Base === HTMLElement) return 'no salience-map-module';
  const methods = ['react', 'reactImmediately', 'render', 'renderImpl', 'requestUpdate'];
  const missing = methods.find((name) => typeof Base.prototype[name] !== 'function');
  if (missing || typeof Base.template !== 'function') return `no ${missing ?? 'template'}`;
  const {apiService, appState, selectionService} = /** @type {any} */ (
    document.createElement('salience-map-module')
  );
  if (typeof apiService?.getInterpretations !== 'function') return 'no getInterpretations';
  if (typeof apiService.queryServer !== 'function') return 'no queryServer';
  if (!appState || !('currentDataset' in appState)) return 'no currentDataset';
  if (!selectionService || !('primarySelectedInputData' in selectionService))
    return 'no primarySelectedInputData';
  return {Base, appState};
}
