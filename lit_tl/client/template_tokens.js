// @ts-check
/** What becomes of a chat template's tokens, for all panels of the page. */
import * as address from './address.js';
import {choice} from './dom.js';
import {HOW, howOf} from './grid/aside.js';

/** @typedef {import('./grid/aside.js').How} How */

const PAGE = 'Page';
const listeners = new Set(/** @type {((how: How) => void)[]} */ ([]));

/** @returns {How} */
export const get = () => howOf(address.settingsOf(PAGE).template);

/** @param {How} how */
export function set(how) {
  address.keep(PAGE, {template: how});
  for (const listener of [...listeners]) listener(how);
}

/** @param {(how: How) => void} listener @returns {() => void} what ends it */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Keep an element as the choice wants it, for as long as it lives.
 * @template {HTMLElement} T
 * @param {T} element @param {(element: T, how: How) => void} apply
 */
export function follow(element, apply) {
  const known = new WeakRef(element);
  apply(element, get());
  const end = subscribe((how) => {
    const there = known.deref();
    if (there) apply(there, how);
    else end();
  });
}

/** A control, for a panel that shows a conversation's tokens. */
export function control() {
  const label = choice('Template tokens', HOW, get(), (value) => set(howOf(value)));
  follow(label, (box, how) => {
    /** @type {HTMLSelectElement} */ (box.querySelector('select')).value = how;
  });
  return label;
}
