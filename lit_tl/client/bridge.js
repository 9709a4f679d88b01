// @ts-check
/**
 * The one file that knows LIT's client from inside (1.3.1): it makes LIT modules of panels, and
 * puts right what the client gets wrong for language models. Panels know only the `Host` below.
 *
 * @typedef {{id: string, data: Record<string, any>, meta: Record<string, any>}} Example
 * @typedef {{model: string, dataset: string, example: Example|null, pinned: boolean}} View
 * @typedef {object} Host
 * @property {(interpreter: string, example: Example, config: Record<string, unknown>, view: View,
 *   ...more: Example[]) => Promise<any>} ask
 *   one example's result from an interpreter, which may want more examples to compare it with
 * @property {(analysis: string, config: Record<string, unknown>, view: View, with_: {counterpart?:
 *   Example|null, otherModel?: boolean}) => Promise<any>} analyze
 *   what an analysis makes of the example, set against another prompt or model where it uses them
 * @property {() => Example|null} pinned
 * @property {() => Record<string, {configSpec: Record<string, any>, description: string}>}
 *   interpreters
 *   those that the model can be asked with
 * @typedef {object} Panel  what a file in panels/ exports; its tag is in the manifest
 * @property {string} title
 * @property {string} info
 * @property {string} interpreter  the one without which the panel has nothing to show; '' for any
 *   that draws figures
 * @property {(root: HTMLElement, host: any) => {show: (view: View) => void, close?: () => void}}
 *   mount
 */
import {stopperOfLatest} from './jobs.js';
import * as target from './target.js';

const STYLE = new URL('style.css', import.meta.url).href;

/** A template for LIT's renderer, made once for each place of use. @param {string[]} parts */
function template(...parts) {
  const strings = Object.assign([...parts], {raw: parts});
  return (/** @type {unknown[]} */ ...values) => ({_$litType$: 1, strings, values});
}

/**
 * Define each panel as a LIT module, or say in one sentence why not.
 * @param {(Panel & {tag: string})[]} panels
 * @param {(sentence: string) => void} complain
 */
export function install(panels, complain) {
  const known = findBase();
  if (typeof known === 'string') {
    complain(
      `lit_tl's panels are off, because this LIT client is not one that they know (${known}); ` +
        'the rest of LIT works. ' +
        'Install lit-nlp 1.3.1.',
    );
    return;
  }
  for (const panel of panels)
    customElements.define(panel.tag, /** @type {any} */ (makeModule(known, panel)));
  applyLayoutSettings();
  drawGeneratedTextWhenItIsThere();
  fetchOneSalienceMethodAtATime();
  explainTheChosenTarget();
  sayHowFarOffSalienceIs();
  stopWhatIsNotWantedAnyMore(known.Base);
}

/**
 * LIT's modules drop the answer to an older question of the same kind when it comes. Here the server
 * is told at once that nobody waits for it.
 * @param {any} Base
 */
function stopWhatIsNotWantedAnyMore(Base) {
  const module = Base.prototype;
  const {loadLatest} = module;
  if (typeof loadLatest !== 'function') return;
  /** @type {WeakMap<object, Map<string, AbortController>>} */
  const waiting = new WeakMap();
  module.loadLatest = function (/** @type {string} */ kind, /** @type {unknown} */ answer) {
    const own = waiting.get(this) ?? new Map();
    waiting.set(this, own);
    own.get(kind)?.abort();
    own.delete(kind);
    const stopper = stopperOfLatest(); // its request was made just before
    if (stopper) own.set(kind, stopper);
    return loadLatest.call(this, kind, answer);
  };
}

/**
 * @returns {{Base: any, appState: any}|string} LIT's base class of modules and its state, or what
 *   the client lacks
 */
function findBase() {
  const sample = customElements.get('salience-map-module');
  const Base = sample && Object.getPrototypeOf(sample);
  if (!Base || Base === HTMLElement) return 'no salience-map-module';
  const methods = ['react', 'reactImmediately', 'render', 'renderImpl', 'requestUpdate'];
  const missing = methods.find((name) => typeof Base.prototype[name] !== 'function');
  if (missing || typeof Base.template !== 'function') return `no ${missing ?? 'template'}`;
  const {apiService, appState, selectionService} = /** @type {any} */ (
    document.createElement('salience-map-module')
  );
  if (typeof apiService?.getInterpretations !== 'function') return 'no getInterpretations';
  if (typeof apiService.queryServer !== 'function') return 'no queryServer';
  if (!appState || !('currentDataset' in appState)) return 'no currentDataset';
  if (!selectionService || !('primarySelectedInputData' in selectionService))
    return 'no primarySelectedInputData';
  return {Base, appState};
}

/**
 * The interpreters of a model that a panel can use.
 * @param {Panel} panel
 * @param {string[]} names of the model's interpreters
 * @param {Record<string, any>} all
 */
function usable(panel, names, all) {
  return names.filter((name) =>
    panel.interpreter ? name === panel.interpreter : 'figure' in (all[name]?.metaSpec ?? {}),
  );
}

/** @param {{Base: any, appState: any}} known @param {Panel & {tag: string}} panel */
function makeModule({Base, appState}, panel) {
  const element = template(
    `<${panel.tag} model=`,
    ' .shouldReact=',
    ' selectionServiceIndex=',
    `></${panel.tag}>`,
  );
  const pinnedSelection = Object.assign(
    /** @type {any} */ (document.createElement('salience-map-module')),
    {selectionServiceIndex: 1},
  );
  const inside = template(`<link rel="stylesheet" href="${STYLE}">`, '');
  return class extends Base {
    static title = panel.title;
    static infoMarkdown = panel.info;
    static numCols = 8;
    static duplicateForExampleComparison = true;
    static duplicateForModelComparison = true;

    /** @param {string} model @param {number} index @param {number} shouldReact */
    static template(model, index, shouldReact) {
      return element(model, shouldReact, index);
    }

    /** @param {Record<string, any>} models */
    static shouldDisplayModule(models) {
      return Object.values(models).some(
        (info) => usable(panel, info.interpreters, appState.metadata.interpreters).length > 0,
      );
    }

    box = Object.assign(document.createElement('div'), {className: 'panel'});

    firstUpdated() {
      const mounted = panel.mount(this.box, {
        ask: (
          /** @type {string} */ interpreter,
          /** @type {Example} */ example,
          /** @type {object} */ config,
          /** @type {View} */ view,
          /** @type {Example[]} */ ...more
        ) =>
          this.apiService
            .getInterpretations(
              [example, ...more],
              view.model,
              view.dataset,
              interpreter,
              config,
              `Running ${interpreter}`,
              true,
            )
            .then((/** @type {any[]} */ results) => results[0]),
        analyze: (
          /** @type {string} */ analysis,
          /** @type {object} */ config,
          /** @type {View} */ view,
          /** @type {{counterpart?: Example|null, otherModel?: boolean}} */ {
            counterpart = null,
            otherModel = false,
          },
        ) =>
          this.apiService
            .queryServer(
              '/get_analysis',
              {
                model: view.model,
                dataset_name: view.dataset,
                analysis,
                other_model: otherModel
                  ? (this.appState.currentModels.find(
                      (/** @type {string} */ name) => name !== view.model,
                    ) ??
                    Object.keys(appState.metadata.models).find(
                      (name) => name !== view.model && !name.startsWith('_'),
                    ) ??
                    '')
                  : '',
              },
              [view.example, ...(counterpart ? [counterpart] : [])],
              `Running ${analysis}`,
              config,
            )
            .then((/** @type {any[]} */ results) => results[0]),
        pinned: () => pinnedSelection.selectionService.primarySelectedInputData,
        interpreters: () => {
          const all = appState.metadata.interpreters;
          return Object.fromEntries(
            usable(panel, appState.metadata.models[this.model].interpreters, all).map((name) => [
              name,
              all[name],
            ]),
          );
        },
      });
      this.close = mounted.close;
      const look = () => ({
        model: this.model,
        dataset: this.appState.currentDataset,
        example: this.selectionService.primarySelectedInputData,
        pinned: this.selectionServiceIndex === 1,
      });
      // LIT holds this back while the panel is hidden.
      this.reactImmediately(look, (/** @type {View} */ view) => mounted.show(view));
    }

    disconnectedCallback() {
      super.disconnectedCallback();
      this.close?.();
    }

    renderImpl() {
      return inside(this.box);
    }
  };
}

/**
 * The client looks at a layout's `mainHeight` and `leftWidth` before the layout has come; here it
 * does so when it comes.
 */
function applyLayoutSettings() {
  const modules = customElements.get('lit-modules')?.prototype;
  const render = modules?.render;
  if (typeof render !== 'function') return;
  /** @type {unknown} */
  let applied = null;
  modules.render = /** @this {any} */ function () {
    const declared = this.modulesService?.declaredLayout;
    if (declared && declared !== applied) {
      // once: the user may move the dividers
      applied = declared;
      const {mainHeight, leftWidth} = declared.layoutSettings ?? {};
      queueMicrotask(() => {
        if (mainHeight) this.upperHeight = `${mainHeight}%`;
        if (leftWidth) this.leftColumnWidth = `${leftWidth}%`;
      });
    }
    return render.call(this);
  };
}

/**
 * The Generated Text module fills in its predictions after it has asked to be drawn, so that they
 * do not show. Here it is drawn once more when they are there.
 */
function drawGeneratedTextWhenItIsThere() {
  const module = customElements.get('generated-text-module')?.prototype;
  const update = module?.updateSelection;
  if (typeof update !== 'function') return;
  module.updateSelection = async function (/** @type {unknown} */ input) {
    await update.call(this, input);
    this.requestUpdate();
  };
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
              ? withTarget(input, chosen)
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

/** @param {Example} example @param {target.Target} chosen @returns {Example} */
function withTarget(example, chosen) {
  const fields = target.asFields(chosen);
  return {
    id: '',
    data: {...example.data, ...fields, _id: ''},
    meta: {...example.meta, added: true, parentId: example.id},
  };
}
