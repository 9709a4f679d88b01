// @ts-check
/**
 * What the page computes when it opens: the example that is looked at, then the numbers of the
 * others, a few at a time; no text, and no metrics that nobody sees.
 *
 * @typedef {import('../bridge.js').Example} Example
 */
import {ASKED_FIRST} from './table.js';

const FEW = 8; // prompts, so that the table has numbers soon
const MANY = 32;

/** @type {any} LIT's service of columns */
let service = null;

/** @type {((model: string, data: Example[]) => Promise<void>)|null} */
let generateText = null;

export function mendOpening() {
  const table = /** @type {any} */ (document.createElement('data-table-module'));
  service = table.dataService;
  const data = service && Object.getPrototypeOf(service);
  if (typeof data?.runScalarPreds === 'function' && typeof data.addColumn === 'function')
    fillInBehind(data, () => table.selectionService?.primarySelectedId ?? null);
  if (typeof data?.runGeneratedTextPreds === 'function') {
    generateText = data.runGeneratedTextPreds;
    data.runGeneratedTextPreds = async () => {};
  }
  selectTheFirst(Object.getPrototypeOf(table));
  measureWhatIsSeen();
  compareWhatIsSeen();
}

/**
 * Text for all prompts of the page, into the table: only on request.
 * @param {string} model
 */
export function generateForAll(model) {
  const shown = Object.assign(Object.create(service), {
    addColumnFromList: (/** @type {any[]} */ ...column) => {
      column[4].show_in_data_table = true; // its type
      service.addColumnFromList(...column);
    },
  });
  return generateText?.call(shown, model, service.appState.currentInputData);
}

/** @param {any} data  prototype of the service @param {() => string|null} selected */
function fillInBehind(data, selected) {
  const {runScalarPreds} = data;
  /** @type {Map<string, object>} the latest call for each model */
  const latest = new Map();
  data.runScalarPreds = /** @this {any} */ async function (
    /** @type {string} */ model,
    /** @type {Example[]} */ all,
  ) {
    const call = {};
    latest.set(model, call);
    /** @type {Map<string, Map<string, unknown>>} */
    const known = new Map();
    const collect = Object.assign(Object.create(this), {
      addColumnFromList: (
        /** @type {unknown[]} */ values,
        /** @type {Example[]} */ some,
        /** @type {string} */ key,
        /** @type {string} */ name,
        /** @type {{show_in_data_table: boolean}} */ type,
        /** @type {string} */ source,
      ) => {
        type.show_in_data_table = ASKED_FIRST.includes(key);
        const column = new Map(known.get(name));
        some.forEach(({id}, i) => column.set(id, values[i]));
        known.set(name, column);
        if (latest.get(model) === call) this.addColumn(column, key, name, type, source);
      },
    });
    const isWanted = () =>
      latest.get(model) === call && this.appState.currentModels.includes(model);
    for (const some of parts(all, selected())) {
      if (!isWanted()) return;
      try {
        await runScalarPreds.call(collect, model, some);
      } catch {
        // One that can't be read takes no numbers from the others. The status bar says why.
        for (const one of some.length > 1 ? some : []) {
          if (!isWanted()) return;
          await runScalarPreds.call(collect, model, [one]).catch(() => {});
        }
      }
    }
  };
}

/**
 * The prompts that are asked for together: first the one that is looked at, whose panels share its
 * pass, then the first of the table.
 * @param {Example[]} all
 * @param {string|null} selected
 */
function parts(all, selected) {
  const looked = all.find(({id}) => id === selected) ?? all[0];
  const others = all.filter((example) => example !== looked);
  const cut = [[looked], others.slice(0, FEW - 1)];
  for (let from = FEW - 1; from < others.length; from += MANY)
    cut.push(others.slice(from, from + MANY));
  return cut.filter((part) => part.length);
}

/** @param {any} table  prototype of the module */
function selectTheFirst(table) {
  const {firstUpdated} = table;
  let asked = /[?&](selection|primary|data_?\d*_)/.test(location.search);
  table.firstUpdated = /** @this {any} */ function () {
    firstUpdated?.call(this);
    this.reactImmediately(
      () => this.appState.currentInputData?.[0]?.id,
      (/** @type {string|undefined} */ id) => {
        const fresh = !asked && id && !this.selectionService.selectedIds.length;
        asked = asked && !id; // by the address, which speaks of the first data alone
        if (fresh) this.selectionService.selectIds([id]);
      },
    );
  };
}

/** LIT's metrics are computed while their tab is hidden; here they wait for it. */
function measureWhatIsSeen() {
  const module = customElements.get('metrics-module')?.prototype;
  const {addMetrics, performPendingReactions} = module ?? {};
  if (typeof addMetrics !== 'function' || typeof performPendingReactions !== 'function') return;
  /** @type {WeakMap<object, Map<string, unknown[]>>} */
  const waiting = new WeakMap();
  module.addMetrics = function (/** @type {unknown[]} */ ...args) {
    if (this.shouldReact !== 0) return addMetrics.apply(this, args);
    const own = waiting.get(this) ?? new Map();
    waiting.set(this, own);
    own.set(`${args[1]} ${JSON.stringify(args[2] ?? '')}`, args);
    return Promise.resolve();
  };
  module.performPendingReactions = function () {
    performPendingReactions.call(this);
    const own = waiting.get(this);
    waiting.delete(this);
    own?.forEach((args) => addMetrics.apply(this, args));
  };
}

/** LIT's Compare takes 256 MB for a million points when the page opens; here it waits to be seen. */
function compareWhatIsSeen() {
  const module = customElements.get('dive-module')?.prototype;
  const {firstUpdated, performPendingReactions} = module ?? {};
  if (typeof firstUpdated !== 'function' || typeof performPendingReactions !== 'function') return;
  const waiting = new WeakSet();
  module.firstUpdated = function () {
    if (this.shouldReact !== 0) firstUpdated.call(this);
    else waiting.add(this);
  };
  module.performPendingReactions = function () {
    if (waiting.delete(this)) firstUpdated.call(this);
    performPendingReactions.call(this);
  };
}
