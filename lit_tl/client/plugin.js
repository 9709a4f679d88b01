// @ts-check
/**
 * What the page loads in place of LIT's main.js. The panels come first; then main.js is added, and in its load event, before LIT
 * starts, their elements are defined. A panel that can't be loaded leaves a sentence, and the rest of LIT.
 */
const here = new URL('.', import.meta.url);
const PANELS = ['predictions', 'attention', 'figure'];

/** @param {string} sentence */
function complain(sentence) {
  const notice = document.createElement('div');
  notice.setAttribute('role', 'alert');
  notice.className = 'lit-tl-notice';
  notice.style.cssText = 'position:fixed;bottom:32px;left:16px;z-index:1000;max-width:60ch;padding:8px 12px;' +
      'background:#fff3e0;border:1px solid #e65100;color:#3e2723;font:13px/18px Roboto,sans-serif';
  notice.textContent = sentence;
  const close = document.createElement('button');
  close.textContent = 'Close';
  close.style.marginLeft = '12px';
  close.addEventListener('click', () => notice.remove());
  notice.append(close);
  document.body.append(notice);
}

/** @param {string} src @returns {Promise<void>} */
function addMain(src) {
  const late = document.readyState === 'complete'; // then LIT would wait for an event that has been
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = src;
    script.addEventListener('load', () => {
      resolve();
      if (late) queueMicrotask(() => window.dispatchEvent(new Event('load')));
    });
    script.addEventListener('error', () => reject(new Error(`LIT's client (${src}) can't be loaded`)));
    document.body.append(script);
  });
}

async function start() {
  const own = /** @type {HTMLScriptElement|null} */ (document.querySelector('script[data-main]'));
  const loaded = await Promise.allSettled(
      [import(new URL('bridge.js', here).href), ...PANELS.map((name) => import(new URL(`panels/${name}.js`, here).href))]);
  const [bridge, ...panels] = loaded.map((result) => result.status === 'fulfilled' ? result.value : null);
  const missing = ['bridge', ...PANELS].filter((_, i) => loaded[i].status === 'rejected');
  if (missing.length) complain(`lit_tl could not load ${missing.join(', ')}: reload the page; the rest of LIT works.`);
  window.addEventListener('lit-tl-complaint', (event) => complain(/** @type {CustomEvent<string>} */ (event).detail));
  const defined = addMain(own?.dataset.main ?? 'main.js');
  await defined;
  const tags = ['lit-tl-predictions-module', 'lit-tl-attention-module', 'lit-tl-figure-module'];
  if (bridge) bridge.install(panels.filter((panel) => panel).map((panel) => panel.panel), complain);
  for (const tag of tags) if (!customElements.get(tag)) customElements.define(tag, makeAbsent());
}

/** LIT asks any module of its layout whether it applies; an absent one says no. */
function makeAbsent() {
  return class extends HTMLElement {
    static title = '';
    static infoMarkdown = '';
    static numCols = 1;
    static shouldDisplayModule() {
      return false;
    }
  };
}

start().catch((error) => complain(`${error.message}. Reload the page, or start the server again.`));
