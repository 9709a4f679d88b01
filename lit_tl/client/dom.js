// @ts-check
/**
 * An element with properties and children; text becomes text and never markup.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]  attributes where the name has a dash or is `role`;
 *   `onX` listens to an event
 * @param {...(Node|string|null)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.includes('-') || name === 'role') element.setAttribute(name, value);
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * A labelled choice.
 * @param {string} label
 * @param {string[]} options
 * @param {string} value
 * @param {(value: string) => void} onChange
 */
export function choice(label, options, value, onChange) {
  const select = el(
    'select',
    {'aria-label': label, onchange: () => onChange(select.value)},
    ...options.map((option) => el('option', {value: option}, option)),
  );
  select.value = value;
  return el('label', {className: 'control'}, label, select);
}

/**
 * What was chosen before, where the browser kept it.
 * @template T
 * @param {string} key @param {T} fallback @returns {T}
 */
export function remembered(key, fallback) {
  try {
    const text = localStorage.getItem(`lit_tl.${key}`);
    return text === null ? fallback : JSON.parse(text);
  } catch {
    return fallback;
  }
}

/**
 * Keep a choice; where the browser does not let us, it is forgotten with the page.
 * @param {string} key
 * @param {unknown} value
 */
export function remember(key, value) {
  try {
    localStorage.setItem(`lit_tl.${key}`, JSON.stringify(value));
  } catch {
    // a private window, or a full store
  }
}

/**
 * Buttons behind one that opens them.
 * @param {string} label
 * @param {HTMLElement[]} items
 */
export function menu(label, items) {
  const list = el('div', {className: 'items'}, ...items);
  const box = el('details', {className: 'menu'}, el('summary', {}, label), list);
  box.addEventListener('toggle', () => {
    // to the left of its button only where there is no room to the right
    const panel = box.closest('.panel') ?? document.body;
    const from = box.getBoundingClientRect().left;
    const room = panel.getBoundingClientRect().right - from;
    list.classList.toggle('leftwards', box.open && list.offsetWidth > room);
  });
  const close = () => (box.open = false);
  box.addEventListener('click', (event) => {
    if (items.includes(/** @type {any} */ (event.target))) close();
  });
  box.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !box.open) return;
    close();
    box.querySelector('summary')?.focus();
  });
  box.addEventListener('focusout', (event) => {
    if (!box.contains(/** @type {Node|null} */ (event.relatedTarget))) close();
  });
  return box;
}

/**
 * A labelled switch.
 * @param {string} label
 * @param {boolean} checked
 * @param {(on: boolean) => void} onChange
 */
export function toggle(label, checked, onChange) {
  const box = el('input', {
    type: 'checkbox',
    'aria-label': label,
    checked,
    onchange: () => onChange(box.checked),
  });
  return el('label', {className: 'control'}, box, label);
}

/**
 * A place that shows one of four states: nothing to show yet, waiting, a failure in a sentence, or
 * content.
 * @param {HTMLElement} place
 */
export function states(place) {
  const say = (/** @type {string} */ className, /** @type {string} */ text) =>
    place.replaceChildren(
      el('p', {className, role: className === 'failed' ? 'alert' : 'status'}, text),
    );
  return {
    empty: (/** @type {string} */ text) => say('empty', text),
    loading: (/** @type {string} */ text) => {
      say('loading', text);
      place.firstElementChild?.prepend(el('span', {className: 'spinner', 'aria-hidden': 'true'}));
    },
    failed: (/** @type {string} */ text) => say('failed', text),
    done: (/** @type {Node[]} */ ...nodes) => place.replaceChildren(...nodes),
    more: (/** @type {Node[]} */ ...nodes) => place.append(...nodes),
  };
}

/**
 * Where a key leads in a row of so many; null for a key that leads nowhere.
 * @param {string} key @param {number} at @param {number} count
 * @returns {number|null}
 */
export function stepTo(key, at, count) {
  /** @type {Record<string, number>} */
  const to = {
    ArrowRight: at + 1,
    ArrowDown: at + 1,
    ArrowLeft: at - 1,
    ArrowUp: at - 1,
    Home: 0,
    End: count - 1,
  };
  return key in to ? Math.max(0, Math.min(count - 1, to[key])) : null;
}

/**
 * One tab stop for many buttons: arrow keys, Home and End move among them.
 * @param {HTMLElement} box @param {string} selector
 */
export function roving(box, selector) {
  const items = () => /** @type {HTMLElement[]} */ ([...box.querySelectorAll(selector)]);
  box.addEventListener('keydown', (event) => {
    const all = items();
    const at = all.indexOf(/** @type {HTMLElement} */ (event.target));
    const to = at < 0 ? null : stepTo(event.key, at, all.length);
    if (to === null) return;
    event.preventDefault();
    focusOne(all, all[to]);
  });
  items().forEach((item, i) => (item.tabIndex = i ? -1 : 0));
}

/** The one tab stop of a row goes to an item. @param {HTMLElement[]} all @param {HTMLElement} item */
export function focusOne(all, item) {
  for (const each of all) each.tabIndex = each === item ? 0 : -1;
  item.focus();
}

/** @param {Element} element */
const nameOf = (element) => element.getAttribute('aria-label') ?? element.textContent ?? '';

/**
 * Draw a box anew, and keep the focus on the control of the same name.
 * @param {HTMLElement} box @param {() => void} draw
 */
export function keepingFocus(box, draw) {
  const {activeElement} = /** @type {Document|ShadowRoot} */ (box.getRootNode());
  const name = activeElement && box.contains(activeElement) ? nameOf(activeElement) : '';
  draw();
  if (!name) return;
  const again = [...box.querySelectorAll('[aria-label], button, summary')].find(
    (element) => nameOf(element) === name,
  );
  /** @type {HTMLElement|undefined} */ (again)?.focus();
}
