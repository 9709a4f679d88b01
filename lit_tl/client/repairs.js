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

/**
 * Sequence Salience asks for all methods of a span at once, of which one is looked at and some are slow. Here it asks for the
 * chosen one, and for another when that is chosen.
 */
function fetchOneSalienceMethodAtATime() {
  const module = customElements.get('sequence-salience-module')?.prototype;
  const {spanToKey, fetchSalience, firstUpdated} = module ?? {};
  if (![spanToKey, fetchSalience, firstUpdated].every((method) => typeof method === 'function')) return;
  module.spanToKey = function(/** @type {[number, number]} */ span) {
    return `${spanToKey.call(this, span)}:${this.selectedSalienceMethod}`;
  };
  module.fetchSalience = function(/** @type {[number, number]|undefined} */ span) {
    const {apiService, selectedSalienceMethod} = this;
    this.apiService = Object.create(apiService, {
      getPreds: {
        value: (/** @type {unknown[]} */ inputs, /** @type {string} */ model, /** @type {string} */ dataset,
            /** @type {unknown} */ types, /** @type {unknown} */ fields, /** @type {string} */ message) =>
          apiService.getPreds(inputs, model, dataset, [], [selectedSalienceMethod], message),
      },
    });
    try {
      return fetchSalience.call(this, span); // asks before it waits for anything
    } finally {
      this.apiService = apiService;
    }
  };
  module.firstUpdated = function() {
    firstUpdated.call(this);
    this.react(() => this.selectedSalienceMethod, () => this.fetchSalience(this.targetTokenSpan));
  };
}

drawGeneratedTextWhenItIsThere();
fetchOneSalienceMethodAtATime();
