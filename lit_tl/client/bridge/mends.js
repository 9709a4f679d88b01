// @ts-check
/** What LIT's own modules get wrong. */
import {el} from '../dom.js';
import {stopperOfLatest} from '../jobs.js';
import {sentenceOf} from '../reach.js';

/** @param {any} Base  of LIT's modules */
export function mendModules(Base) {
  drawGeneratedTextWhenItIsThere();
  projectAtOnce();
  stopWhatIsNotWantedAnyMore(Base);
}

/**
 * LIT's modules drop the answer to an older question of the same kind when it comes. Here the server
 * is told at once that nobody waits for it. Projections of two embeddings are of two kinds to LIT,
 * though the module shows one: here the newer takes the place of the older.
 * @param {any} Base
 */
function stopWhatIsNotWantedAnyMore(Base) {
  const module = Base.prototype;
  const {loadLatest} = module;
  if (typeof loadLatest !== 'function') return;
  /** @type {WeakMap<object, Map<string, AbortController>>} */
  const waiting = new WeakMap();
  module.loadLatest = function (/** @type {string} */ asked, /** @type {unknown} */ answer) {
    const projects = asked.startsWith('proj-');
    const kind = projects ? 'proj' : asked;
    const own = waiting.get(this) ?? new Map();
    waiting.set(this, own);
    own.get(kind)?.abort();
    own.delete(kind);
    const stopper = stopperOfLatest(); // its request was made just before
    if (stopper) own.set(kind, stopper);
    const loaded = loadLatest.call(this, kind, answer);
    sayWhatFails(this, kind, loaded);
    // LIT takes a dropped projection for the end of loading: the newer one is still to come
    return projects
      ? loaded.then((/** @type {unknown} */ points) => points ?? new Promise(() => {}))
      : loaded;
  };
}

/** What each module waits for in vain: a sentence for each kind of request. */
/** @type {WeakMap<object, Map<string, string>>} */
const failures = new WeakMap();

/**
 * LIT's modules turn for ever when a request fails. Here they stop, and say why until a request of
 * the same kind is answered.
 * @param {any} module @param {string} kind @param {Promise<unknown>} loaded
 */
function sayWhatFails(module, kind, loaded) {
  const failed = failures.get(module) ?? new Map();
  failures.set(module, failed);
  const show = () => {
    const root = module.renderRoot ?? module;
    root.querySelectorAll('.lit-tl-failed').forEach((/** @type {Element} */ old) => old.remove());
    for (const sentence of new Set(failed.values())) {
      const said = el('p', {className: 'lit-tl-failed', role: 'alert'}, sentence);
      said.style.cssText = 'margin: 8px 16px; color: #b3261e';
      root.prepend(said);
    }
  };
  loaded.then(
    () => failed.delete(kind) && show(),
    (error) => {
      module.setIsLoading(false);
      if (module.isLoading === true) module.isLoading = false; // the Embeddings module's own
      failed.set(kind, sentenceOf(error));
      show();
    },
  );
}

/**
 * The client looks at a layout's `mainHeight` and `leftWidth` before the layout has come; here it
 * does so when it comes.
 */
export function mendLayout() {
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
 * The Embeddings module begins with UMAP, which takes seconds for what PCA shows at once. Here it
 * begins with PCA, and UMAP is a choice.
 */
function projectAtOnce() {
  const module = customElements.get('embeddings-module')?.prototype;
  const first = module?.firstUpdated;
  if (typeof first !== 'function') return;
  module.firstUpdated = /** @this {any} */ function (/** @type {unknown[]} */ ...args) {
    if (this.projectorChoices?.pca) this.projectorName = 'pca';
    first.apply(this, args);
  };
}
