// @ts-check
/**
 * What LIT 1.3.1's client gets wrong for language models, put right from outside. Loaded after main.js and before any module is
 * made; where the client is another one, nothing is changed.
 */

/**
 * The Generated Text module fills in its predictions after it has asked to be drawn, so that they do not show. Here it is drawn
 * once more when they are there.
 */
function drawGeneratedTextWhenItIsThere() {
  const element = customElements.get('generated-text-module');
  const update = element?.prototype?.updateSelection;
  if (typeof update !== 'function') return;
  /** @this {{requestUpdate: () => void}} */
  element.prototype.updateSelection = async function(/** @type {unknown} */ input) {
    await update.call(this, input);
    this.requestUpdate();
  };
}

drawGeneratedTextWhenItIsThere();
