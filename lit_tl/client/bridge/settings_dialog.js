// @ts-check
/**
 * LIT's Configure dialog, at a size at which all of it can be reached: what to load, device and
 * number format first, the rest folded away, and files to choose from where the page may read them.
 */
import {el} from '../dom.js';
import {sentenceOf} from '../reach.js';
import {restyle} from './template.js';

const FIRST = 4; // the new name, and what most people set
const PATHS = ['model_name:', 'path:'];
const STYLE = `
  #global-settings { width: min(94vw, 1100px) !important; height: min(94vh, 860px) !important;
    position: fixed !important; inset: 0 !important; margin: auto !important;
    display: flex !important; flex-direction: column; }
  #global-settings.hide { display: none !important; }
  #holder { flex: 1 1 0; min-height: 0; height: auto !important; }
  #main-panel { min-height: 0; }
  #config { overflow-y: auto; }
  .config-list { flex: 1 0 120px !important; min-height: 120px; }
  .model-dataset-loading { flex: none !important; }
  .model-dataset-loading .controls .options { height: auto !important; max-height: none !important;
    overflow: visible !important; }
  .options.few .option-entry:nth-child(n + ${FIRST + 1}) { display: none !important; }
  .lit-tl-held { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; padding: 4px 0; }
  .lit-tl-more, .lit-tl-held button { font: inherit; border: 1px solid #9aa0a6; border-radius: 3px;
    background: #fff; padding: 2px 8px; cursor: pointer; text-align: left; }
  .lit-tl-more { align-self: flex-start; }
  .lit-tl-paths { max-height: 160px; overflow-y: auto; border: 1px solid #dadce0; padding: 4px;
    display: flex; flex-direction: column; }
  .lit-tl-paths[hidden] { display: none; }
  .lit-tl-paths button { border: 0; }
  .lit-tl-paths p { margin: 4px; }
  #bottombar { flex: none; background: #fff; }
  .link-out, .description, #state > div { color: #5f6368 !important; }
  #state .info:not(.error) { color: #00606d !important; }
`;

export function mendSettingsDialog() {
  const dialog = customElements.get('lit-global-settings')?.prototype;
  const {updated} = dialog ?? {};
  if (!dialog || !('loadingCallConfig' in dialog || typeof dialog.renderLoader === 'function'))
    return;
  dialog.updated = /** @this {any} */ function (/** @type {unknown[]} */ ...args) {
    updated?.apply(this, args);
    if (!this.renderRoot.querySelector('style.lit-tl')) restyle(this, STYLE);
    const options = this.renderRoot.querySelector('.model-dataset-loading .options');
    if (options) decorate(this, options);
    for (const list of this.renderRoot.querySelectorAll('.one-col, .two-col')) list.tabIndex = 0;
    listHeld(this);
  };
}

/**
 * The models in memory, each with a button that frees it.
 * @param {any} dialog
 */
function listHeld(dialog) {
  const box = dialog.renderRoot.querySelector('.model-dataset-loading');
  const old = box?.querySelector('.lit-tl-held');
  if (!box || dialog.selectedTab !== 'Models') {
    old?.remove();
    return;
  }
  const {metadata, currentModels} = dialog.appState;
  const names = Object.keys(metadata.models).filter((name) => !name.startsWith('_'));
  const chosen = [...currentModels, ...dialog.selectedModels];
  const shown = JSON.stringify([names, chosen]);
  if (old?.dataset.shown === shown) return;
  const held = el(
    'div',
    {className: 'lit-tl-held', role: 'group', 'aria-label': 'Models in memory'},
    'In memory:',
    ...names.map((name) =>
      chosen.includes(name)
        ? el('span', {}, `${name} (${currentModels.includes(name) ? 'on the page' : 'selected'})`)
        : el('button', {
            type: 'button',
            title: 'Frees its memory.',
            textContent: `Unload ${name}`,
            onclick: (/** @type {MouseEvent} */ event) =>
              void unload(dialog, name, /** @type {HTMLElement} */ (event.target)),
          }),
    ),
  );
  held.dataset.shown = shown;
  if (old) old.replaceWith(held);
  else box.prepend(held);
}

/**
 * The dialog rests while the model goes, so that nobody puts it on the page.
 * @param {any} dialog @param {string} name @param {HTMLElement} button
 */
async function unload(dialog, name, button) {
  const box = dialog.renderRoot.querySelector('#global-settings');
  box.inert = true;
  button.textContent = `Unloading ${name}`;
  try {
    const {apiService, appState} = dialog;
    const query = {model: name};
    appState.metadata = await apiService.queryServer('/unload_model', query, [], 'Unloading model');
    dialog.modelCheckboxValues.delete(name);
  } catch (error) {
    dialog.status = sentenceOf(error);
  } finally {
    box.inert = false;
    button.textContent = `Unload ${name}`;
  }
  dialog.requestUpdate();
}

/** @param {any} dialog @param {HTMLElement} options */
function decorate(dialog, options) {
  const entries = [...options.querySelectorAll('.option-entry')];
  const fields = entries.map((entry) => entry.querySelector('label')?.textContent).join();
  if (options.dataset.fields === fields) return;
  options.dataset.fields = fields;
  options.parentElement
    ?.querySelectorAll('.lit-tl-more, .lit-tl-paths')
    .forEach((old) => old.remove());
  const more = el('button', {type: 'button', className: 'lit-tl-more'});
  const fold = (/** @type {boolean} */ few) => {
    options.classList.toggle('few', few);
    more.setAttribute('aria-expanded', String(!few));
    more.textContent = few ? `${entries.length - FIRST} more settings` : 'Fewer settings';
  };
  more.addEventListener('click', () => fold(!options.classList.contains('few')));
  fold(entries.length > FIRST);
  more.hidden = entries.length <= FIRST;
  const actions = options.parentElement?.querySelector('.actions');
  actions?.append(more);
  const path = entries.find((entry) =>
    PATHS.includes(entry.querySelector('label')?.textContent?.trim() ?? ''),
  );
  if (path) actions?.append(browser(dialog, path));
}

/**
 * A button that lists what may be loaded.
 * @param {any} dialog @param {Element} entry  of the field that takes the path
 */
function browser(dialog, entry) {
  const key = (entry.querySelector('label')?.textContent ?? '').trim().replace(/:$/, '');
  const list = el('div', {
    className: 'lit-tl-paths',
    role: 'group',
    'aria-label': 'Files',
    hidden: true,
  });
  list.hidden = true;
  const button = el('button', {type: 'button', className: 'lit-tl-more'}, 'Browse');
  button.addEventListener('click', () => {
    list.hidden = !list.hidden;
    if (!list.hidden) void show('');
  });

  /** @param {string} folder */
  async function show(folder) {
    try {
      const reply = await fetch(`get_paths?folder=${encodeURIComponent(folder)}`, {
        method: 'POST',
        body: '{}',
      });
      if (!reply.ok) throw new Error(await reply.text());
      const {folder: here, above, entries} = await reply.json();
      list.replaceChildren(
        ...(here
          ? [item('.. (back)', () => void show(above)), item(`Take ${here}`, () => take(here))]
          : []),
        ...entries.map((/** @type {{name: string, path: string, folder: boolean}} */ each) =>
          item(each.folder ? `${each.name}/` : each.name, () =>
            each.folder ? void show(each.path) : take(each.path),
          ),
        ),
        ...(entries.length ? [] : [el('p', {}, here ? 'Nothing to load is in here.' : NOTHING)]),
      );
    } catch (error) {
      list.replaceChildren(el('p', {role: 'alert'}, sentenceOf(error)));
    }
  }

  /** @param {string} path */
  function take(path) {
    dialog.loadingCallConfig = {...dialog.loadingCallConfig, [key]: path};
    list.hidden = true;
    dialog.requestUpdate();
  }
  entry.parentElement?.append(list);
  return button;
}

const NOTHING = 'This server lets its page read no folder: start it with --allow_path.';

/** @param {string} text @param {() => void} onclick */
const item = (text, onclick) => el('button', {type: 'button', onclick}, text);
