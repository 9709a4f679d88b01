// @ts-check
/**
 * What a style or an attribute mends of LIT's own elements for readers with a screen reader or weak
 * eyes: controls without a name, pictures without a text, and colours that are too light to read.
 */
const COLOURS = new CSSStyleSheet();
COLOURS.replaceSync(`
  :host {
    --lit-cyea-500: #29697d !important; --lit-majtonal-nv-600: #5f7179 !important;
    --lit-neutral-600: #6b7177 !important; --app-primary-color: #29697d !important;
  }
  .tab.selected { color: #00606d !important; }
  .filled-button:not(.disabled, :disabled) { background: #29697d !important; }
  .gray-text { color: #5f6368 !important; }
  tr.primary-selected mwc-icon, tr.primary mwc-icon, tr.selected mwc-icon { color: #0b3b47 !important; }
  .wrapper.disabled { opacity: 0.75 !important; }
  .switch-container.disabled .switch-label { color: #6b7177 !important; }
  .slider-label { color: #5f6368 !important; }
  .unselected > .headline-button-text { color: #fff !important; opacity: 1 !important; }
`);
const NAMELESS = 'select, textarea, input, button[role=switch]';
const NAMES = 'label, .dropdown-label, .field-name, .control-name, .switch-label, .slider-label';

/** Mend what there is, and what LIT makes from now on. */
export function mendNames() {
  document.documentElement.lang ||= 'en';
  watchBelow(document);
  const {attachShadow} = Element.prototype;
  Element.prototype.attachShadow = function (/** @type {ShadowRootInit} */ init) {
    const root = attachShadow.call(this, init);
    if (!this.localName.startsWith('lit-tl-')) watch(root);
    return root;
  };
}

/** @param {Document|ShadowRoot} place */
function watchBelow(place) {
  for (const {shadowRoot} of place.querySelectorAll('*')) {
    if (!shadowRoot) continue;
    watch(shadowRoot);
    watchBelow(shadowRoot);
  }
}

/** @param {ShadowRoot} root */
function watch(root) {
  const mend = () => {
    if (!root.adoptedStyleSheets.includes(COLOURS))
      root.adoptedStyleSheets = [...root.adoptedStyleSheets, COLOURS];
    for (const picture of root.querySelectorAll('img:not([alt])')) picture.setAttribute('alt', '');
    for (const link of root.querySelectorAll('a:not([aria-label])'))
      if (!link.textContent?.trim())
        link.setAttribute('aria-label', link.getAttribute('href') ?? '');
    for (const control of root.querySelectorAll(NAMELESS))
      if (!isNamed(control)) control.setAttribute('aria-label', nameOf(control, root));
  };
  new MutationObserver(mend).observe(root, {childList: true, subtree: true});
  if (root.childElementCount) mend();
}

/** @param {Element} control */
function isNamed(control) {
  const {labels} = /** @type {HTMLInputElement} */ (control);
  return (
    control.hasAttribute('aria-label') || [...(labels ?? [])].some((label) => label.textContent)
  );
}

/**
 * What stands before a control, or what the elements say that it is inside of.
 * @param {Element} control @param {ShadowRoot} root
 * @returns {string}
 */
function nameOf(control, root) {
  for (let box = control.parentElement; box; box = box.parentElement) {
    const text = box
      .querySelector(NAMES)
      ?.textContent?.trim()
      .replace(/[:*]+$/, '');
    if (text) return text;
  }
  for (let host = root.host; host; host = /** @type {any} */ (host.getRootNode()).host) {
    const text = host.getAttribute('label') || host.getAttribute('title');
    if (text) return text;
    const beside = host.parentElement?.querySelector(NAMES)?.textContent?.trim();
    if (beside) return beside;
  }
  return control.getAttribute('title') || control.getAttribute('placeholder') || 'value';
}
