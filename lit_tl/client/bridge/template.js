// @ts-check
/** A template for LIT's renderer, made once for each place of use. @param {string[]} parts */
export function template(...parts) {
  const strings = Object.assign([...parts], {raw: parts});
  return (/** @type {unknown[]} */ ...values) => ({_$litType$: 1, strings, values});
}

/** More style for one of LIT's elements. @param {any} element @param {string} style */
export function restyle(element, style) {
  const text = Object.assign(document.createElement('style'), {className: 'lit-tl'});
  text.textContent = style;
  element.renderRoot.append(text);
}

/**
 * Something to do whenever elements of LIT have been drawn.
 * @param {string} tag @param {(host: any) => void} then
 */
export function onUpdate(tag, then) {
  const element = customElements.get(tag)?.prototype;
  if (!element) return;
  const {updated} = element;
  element.updated = /** @this {any} */ function (/** @type {unknown[]} */ ...args) {
    updated?.apply(this, args);
    then(this);
  };
}
