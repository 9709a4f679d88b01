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
