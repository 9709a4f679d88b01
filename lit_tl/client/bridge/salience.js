// @ts-check
/** What LIT's two salience modules explain, and what they say of it. */
import * as target from '../target.js';
import {restyle, template} from './template.js';

/** @typedef {import('../bridge.js').Example} Example */

export function mendSalience() {
  openOnTheAnswer();
  fetchOneSalienceMethodAtATime();
  explainTheChosenTarget();
  sayHowFarOffSalienceIs();
}

/**
 * Call a method of a module that asks the server before it waits for anything, with another way to
 * ask.
 * @param {any} module
 * @param {Function} method
 * @param {unknown[]} args
 * @param {Record<string, Function>} ways
 */
function askingOtherwise(module, method, args, ways) {
  const {apiService} = module;
  module.apiService = Object.assign(Object.create(apiService), ways);
  try {
    return method.apply(module, args);
  } finally {
    module.apiService = apiService;
  }
}

/**
 * Sequence Salience waits for a choice of what to explain, in a list whose upper half can't be
 * reached. Here it opens on the answer, or else on the generated text, explains all of it at once,
 * and the list scrolls.
 */
function openOnTheAnswer() {
  const module = customElements.get('sequence-salience-module')?.prototype;
  const {firstUpdated} = module ?? {};
  if (typeof firstUpdated !== 'function') return;
  module.firstUpdated = /** @this {any} */ function () {
    firstUpdated.call(this);
    restyle(
      this,
      '.interstitial-container { align-items: flex-start !important; overflow-y: auto; }',
    );
    this.reactImmediately(
      () => this.salienceTargetOptions,
      (/** @type {{text: string}[]} */ options) => {
        if (!options?.length || this.salienceTargetOption !== undefined) return;
        const answer = String(this.currentData?.data.answer ?? '').trim();
        const texts = options.map(({text}) => text.trim());
        const longest = Math.max(...texts.map((text) => text.length));
        const place = answer ? texts.indexOf(answer) : -1;
        this.salienceTargetOption =
          place >= 0 ? place : texts.findIndex((text) => text.length === longest);
      },
    );
    this.reactImmediately(
      () => this.currentTokens,
      (/** @type {string[]} */ tokens) => {
        if (tokens?.length && !this.targetSegmentSpan) this.targetSegmentSpan = spanOfTarget(this);
      },
    );
  };
}

/**
 * The last segments, which spell what is explained.
 * @param {any} module
 * @returns {[number, number]|undefined}
 */
function spanOfTarget({salienceTargetOptions, salienceTargetOption, currentTokenGroups}) {
  const {length} = salienceTargetOptions[salienceTargetOption]?.text.trim() ?? '';
  let first = currentTokenGroups.length;
  for (let text = ''; first > 0 && text.trim().length < length; )
    text = currentTokenGroups[--first].join('') + text;
  return first < currentTokenGroups.length ? [first, currentTokenGroups.length] : undefined;
}

/**
 * Sequence Salience asks for all methods of a span at once, of which one is looked at and some are
 * slow. Here it asks for the chosen one, and for another when that is chosen.
 */
function fetchOneSalienceMethodAtATime() {
  const module = customElements.get('sequence-salience-module')?.prototype;
  const {spanToKey, fetchSalience, firstUpdated} = module ?? {};
  if (![spanToKey, fetchSalience, firstUpdated].every((method) => typeof method === 'function'))
    return;
  module.spanToKey = function (/** @type {[number, number]} */ span) {
    return `${spanToKey.call(this, span)}:${this.selectedSalienceMethod}`;
  };
  module.fetchSalience = function (/** @type {unknown[]} */ ...args) {
    const {apiService, selectedSalienceMethod} = this;
    return askingOtherwise(this, fetchSalience, args, {
      getPreds: (
        /** @type {unknown[]} */ inputs,
        /** @type {string} */ model,
        /** @type {string} */ dataset,
        /** @type {unknown} */ types,
        /** @type {unknown} */ fields,
        /** @type {string} */ message,
      ) => apiService.getPreds(inputs, model, dataset, [], [selectedSalienceMethod], message),
    });
  };
  module.firstUpdated = function () {
    firstUpdated.call(this);
    this.react(
      () => this.selectedSalienceMethod,
      () => this.fetchSalience(this.targetTokenSpan),
    );
  };
}

/**
 * Salience Maps explain the target that was chosen in a panel of ours: maps that are drawn are
 * drawn again when it changes.
 */
function explainTheChosenTarget() {
  const module = customElements.get('salience-map-module')?.prototype;
  const {runInterpreter, firstUpdated} = module ?? {};
  if (typeof runInterpreter !== 'function' || typeof firstUpdated !== 'function') return;
  module.runInterpreter = function (/** @type {string} */ name) {
    const {apiService} = this;
    const chosen = target.get();
    return askingOtherwise(this, runInterpreter, [name], {
      getInterpretations: (/** @type {Example[]} */ inputs, /** @type {unknown[]} */ ...rest) =>
        apiService.getInterpretations(
          inputs.map((input) =>
            chosen && target.isOf(chosen, {model: this.model, exampleId: input.id})
              ? target.withTarget(input, chosen)
              : input,
          ),
          ...rest,
        ),
    });
  };
  module.firstUpdated = /** @this {any} */ function () {
    firstUpdated.call(this);
    const end = target.subscribe(() => {
      if (!this.isConnected) return void end();
      for (const [name, {autorun, salience}] of Object.entries(this.state)) {
        if (autorun || Object.keys(salience).length) this.runInterpreter(name);
      }
    });
  };
}

/** Below a Salience Map stands the sentence that came with it. */
function sayHowFarOffSalienceIs() {
  const module = customElements.get('salience-map-module')?.prototype;
  const {renderMethodRow} = module ?? {};
  if (typeof renderMethodRow !== 'function') return;
  const noted = template('', '<div class="lit-tl-note" style="padding: 0 16px 8px">', '</div>');
  module.renderMethodRow = function (/** @type {string} */ name) {
    const row = renderMethodRow.call(this, name);
    const maps = Object.values(/** @type {any} */ (this).state[name]?.salience ?? {});
    const note = maps.map((map) => map?.note).find(Boolean);
    return note ? noted(row, note) : row;
  };
}
