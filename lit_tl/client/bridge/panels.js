// @ts-check
/** LIT modules of panels. */
import * as paper from '../paper.js';
import {generateForAll} from './opening.js';
import {template} from './template.js';
import {makeVariant, removeVariant} from './variants.js';

/**
 * @typedef {import('../bridge.js').Panel} Panel
 * @typedef {import('../bridge.js').Example} Example
 * @typedef {import('../bridge.js').View} View
 */
const STYLES = ['../style.css', '../grid/grid.css'].map(
  (file) => new URL(file, import.meta.url).href,
);

/**
 * The interpreters of a model that a panel can use.
 * @param {Panel} panel
 * @param {string[]} names of the model's interpreters
 * @param {Record<string, any>} all
 */
function usable(panel, names, all) {
  return names.filter(
    (name) =>
      name === panel.interpreter || (panel.tab && all[name]?.metaSpec?.tab?.default === panel.tab),
  );
}

/**
 * An example of one's own, beside those of the data set.
 * @param {any} module @param {Record<string, any>} data @param {string} parentId
 */
async function addExample({appState, selectionService}, data, parentId) {
  const example = {
    data: {...data, _id: ''},
    id: '',
    meta: {source: 'manual', added: true, parentId},
  };
  const annotated = await appState.annotateNewData([example]);
  appState.commitNewDatapoints(annotated);
  selectionService.selectIds(annotated.map((/** @type {Example} */ {id}) => id));
}

/** @param {{Base: any, appState: any}} known @param {Panel & {tag: string}} panel */
export function makeModule({Base, appState}, panel) {
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
  const styles = STYLES.map((href) => `<link rel="stylesheet" href="${href}">`).join('');
  const inside = template(styles, '');
  return class extends Base {
    static title = panel.title;
    static infoMarkdown = panel.info;
    static numCols = 8;
    static duplicateAsRow = true; // beside each other
    static duplicateForExampleComparison = !panel.single;
    static duplicateForModelComparison = !panel.single;

    /** @param {string} model @param {number} index @param {number} shouldReact */
    static template(model, index, shouldReact) {
      return element(model, shouldReact, index);
    }

    /** @param {Record<string, any>} models */
    static shouldDisplayModule(models) {
      if (panel.needs && !appState.metadata[panel.needs]?.length) return false;
      return Object.values(models).some(({interpreters}) =>
        panel.interpreter
          ? interpreters.includes(panel.interpreter)
          : panel.single || usable(panel, interpreters, appState.metadata.interpreters).length > 0,
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
          /** @type {{counterpart?: Example|null, otherModel?: boolean, file?: string}} */ {
            counterpart = null,
            otherModel = false,
            file = '',
          },
        ) =>
          this.apiService
            .queryServer(
              '/get_analysis',
              {
                model: view.model,
                dataset_name: view.dataset,
                analysis,
                other_model: otherModel ? (this.otherModels()[0] ?? '') : '',
                file,
              },
              [view.example, ...(counterpart ? [counterpart] : [])],
              `Running ${analysis}`,
              paper.KINDS.includes(file) ? {...config, paper: paper.get()} : config,
            )
            .then((/** @type {any[]} */ results) => results[0]),
        otherModels: () => this.otherModels(),
        generateForAll: () => generateForAll(this.model),
        addExample: (/** @type {Record<string, any>} */ data, /** @type {string} */ parent) =>
          addExample(this, data, parent),
        goTo: (/** @type {string} */ tab) => {
          const {modulesService} = /** @type {any} */ (document.createElement('lit-modules'));
          modulesService.selectedTabs.lower = tab;
        },
        pinned: () => pinnedSelection.selectionService.primarySelectedInputData,
        variant: (/** @type {string} */ name) => appState.metadata.models[name]?.variant ?? null,
        dataSets: () =>
          Object.keys(appState.metadata.datasets).filter((name) => !name.startsWith('_')),
        makeVariant,
        removeVariant,
        configSpec: (/** @type {string} */ name) => appState.metadata.interpreters[name].configSpec,
        interpreters: () => {
          const all = appState.metadata.interpreters;
          return Object.fromEntries(
            usable(panel, appState.metadata.models[this.model].interpreters, all).map((name) => [
              name,
              {...all[name], onlyWith: JSON.parse(all[name].metaSpec.only_with?.default ?? '{}')},
            ]),
          );
        },
      });
      this.close = () => mounted.close?.();
      const look = () => ({
        model: this.model,
        dataset: this.appState.currentDataset,
        example: this.selectionService.primarySelectedInputData,
        pinned: this.selectionServiceIndex === 1,
      });
      // LIT holds this back while the panel is hidden.
      this.reactImmediately(look, (/** @type {View} */ view) => mounted.show(view));
      const others = () =>
        JSON.stringify([this.otherModels(), pinnedSelection.selectionService.primarySelectedId]);
      this.react(others, () => mounted.othersChanged?.());
    }

    /** @returns {string[]} models to compare with, those on the page first */
    otherModels() {
      const loaded = Object.keys(appState.metadata.models).filter((name) => !name.startsWith('_'));
      const names = new Set([...this.appState.currentModels, ...loaded]);
      return [...names].filter((name) => name !== this.model);
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
