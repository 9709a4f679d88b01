// @ts-check
/** Files that the reader takes away. */
import {el} from './dom.js';
import {buffer} from './grid/data.js';

/** @param {string} name @param {{type: string, data: string}} file  in base64 */
export function save(name, {type, data}) {
  const url = URL.createObjectURL(new Blob([buffer(data)], {type}));
  el('a', {href: url, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/**
 * To the clipboard, and where that is closed, into a field to copy from.
 * @param {string} text
 * @param {HTMLElement} place
 */
export async function copy(text, place) {
  const field = el('textarea', {
    className: 'snippet',
    value: text,
    readOnly: true,
    'aria-label': 'Python',
  });
  place.querySelector('.snippet')?.remove();
  place.prepend(field);
  field.select();
  await navigator.clipboard?.writeText(text).catch(() => {});
}
