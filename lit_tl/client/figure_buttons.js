// @ts-check
/** What can be done with a figure: save it as a file, keep it in the session, copy its Python. */
import {el, menu} from './dom.js';
import {copy, save} from './files.js';
import {sentenceOf} from './reach.js';
import * as paper from './paper.js';
import * as session from './session.js';

/**
 * @typedef {object} Shown  a figure that is drawn
 * @property {string} name  of its analysis
 * @property {string[]} files  the kinds that the server makes of it
 * @property {(file: string) => Promise<any>} ask  for a file of it
 * @property {() => Promise<string>} python  that draws it
 * @property {() => {model: string, dataset: string, otherModel: string}} of  what it is a figure of
 * @property {HTMLElement} content  the place of the figure, in which failures are said
 */

/** @param {string} name @returns {string} for files: letters, digits and hyphens */
export const stemOf = (name) =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

/** @param {Shown} shown @returns {HTMLElement[]} */
export function figureButtons({name, files, ask, python, of, content}) {
  const stem = stemOf(name);
  const button = (/** @type {string} */ text, /** @type {() => unknown} */ onclick) =>
    el('button', {type: 'button', onclick}, text);
  const failed = (/** @type {unknown} */ error) =>
    content.prepend(el('p', {className: 'failed', role: 'alert'}, sentenceOf(error)));
  const download = async (/** @type {string} */ file) => {
    try {
      save(`${stem}.${file}`, await ask(file));
    } catch (error) {
      failed(error);
    }
  };
  const kept = button('Keep', async () => {
    try {
      const {model, dataset, otherModel} = of();
      session.keep({...(await ask('kept')), model, data: dataset, other_model: otherModel});
      kept.textContent = 'Kept';
    } catch (error) {
      failed(error);
    }
  });
  kept.title = 'Into the session, with its numbers: see the Session tab.';
  return [
    menu('Save', [
      paper.fields(),
      ...files.map((file) => button(file.toUpperCase(), () => download(file))),
    ]),
    button('Copy as Python', async () => {
      const text = await python();
      if (text) await copy(text, content);
    }),
    kept,
  ];
}
