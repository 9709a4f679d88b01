// @ts-check
/** LIT's tabs and tables by keyboard, and the list of keys. */
import {el, focusOne, stepTo} from '../dom.js';
import {onUpdate, restyle} from './template.js';

const FOCUS = ':focus-visible { outline: 2px solid #00777b; outline-offset: -2px; }';
/** @type {[string, string][]} */
const KEYS = [
  ['Tab, Shift Tab', 'to the next control and back'],
  ['arrow keys', 'in tabs, in tables, among tokens and in grids: to the next one'],
  ['Enter', 'choose a tab, a row, a token; in a grid, hold the card'],
  ['Escape', 'in a grid, let the card go; close a menu or this list'],
  ['+, -, 0', 'in a grid: larger, smaller, all of it'],
  ['Home, End, Page Up, Page Down', 'in a grid: to its ends, ten rows further'],
  ['wheel, Shift wheel', 'on a grid: larger or smaller, to the side'],
  ['?', 'this list'],
];

export function mendKeyboard() {
  onUpdate('lit-modules', (host) => {
    focusShows(host);
    steppable([...host.renderRoot.querySelectorAll('.tab')], {
      role: 'tab',
      chosen: (tab) => tab.classList.contains('selected'),
    });
  });
  onUpdate('lit-data-table', (host) => {
    focusShows(host);
    steppable([...host.renderRoot.querySelectorAll('tbody tr')], {
      role: 'row',
      chosen: (row) => row.classList.contains('selected') || row.classList.contains('primary'),
    });
  });
  listKeys();
}

/** @type {WeakSet<object>} */
const styled = new WeakSet();

/** @param {any} host */
function focusShows(host) {
  if (!styled.has(host)) restyle(host, FOCUS);
  styled.add(host);
}

/**
 * One tab stop for all in a row; arrow keys go from one to the next, Enter and Space click.
 * @param {HTMLElement[]} items
 * @param {{role: string, chosen: (item: HTMLElement) => boolean}} how
 */
function steppable(items, {role, chosen}) {
  /** @type {Map<Element|null, HTMLElement>} */
  const current = new Map();
  for (const item of [...items].reverse()) {
    const group = item.parentElement;
    if (chosen(item) || !current.has(group) || !chosen(/** @type {any} */ (current.get(group))))
      current.set(group, item);
  }
  for (const item of items) {
    const focused = item.matches(':focus');
    item.tabIndex = item === current.get(item.parentElement) || focused ? 0 : -1;
    if (role === 'tab') {
      item.setAttribute('role', role);
      item.parentElement?.setAttribute('role', 'tablist');
      item.setAttribute('aria-selected', String(chosen(item)));
    }
    if (item.dataset.keys) continue;
    item.dataset.keys = role;
    item.addEventListener('keydown', (event) => step(event, item));
  }
}

/** @param {KeyboardEvent} event @param {HTMLElement} item */
function step(event, item) {
  if (event.target !== item) return;
  const siblings = /** @type {HTMLElement[]} */ (
    [...(item.parentElement?.children ?? [])].filter(
      (other) => /** @type {HTMLElement} */ (other).dataset.keys,
    )
  );
  const to = stepTo(event.key, siblings.indexOf(item), siblings.length);
  if (event.key === 'Enter' || event.key === ' ') item.click();
  else if (to !== null) focusOne(siblings, siblings[to]);
  else return;
  event.preventDefault();
}

function listKeys() {
  const list = el(
    'dl',
    {},
    ...KEYS.flatMap(([keys, what]) => [el('dt', {}, keys), el('dd', {}, what)]),
  );
  const close = el('button', {type: 'button', onclick: () => dialog.close()}, 'Close');
  const dialog = el(
    'dialog',
    {className: 'lit-tl-keys', 'aria-label': 'Keys'},
    el('h2', {}, 'Keys'),
    list,
    close,
  );
  document.body.append(dialog);
  document.addEventListener('keydown', (event) => {
    const [inner] = event.composedPath();
    const typing = inner instanceof HTMLElement && inner.matches('input, textarea, select');
    if (event.key !== '?' || typing || dialog.open) return;
    event.preventDefault();
    dialog.showModal();
  });
}
