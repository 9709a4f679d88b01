// @ts-check
/**
 * Written into the page itself: what happens where the plug-in can't start. LIT looks up the
 * panels' elements in any case, so that they must exist; these say of themselves that they do not
 * apply.
 * @param {string} sentence @param {string} main  LIT's script, where the page has not loaded it
 */
function litTlWithout(sentence, main) {
  const panels = /** @type {{tag: string}[]} */ (/** @type {any} */ (window).litTlPanels);
  for (const {tag} of panels) {
    if (customElements.get(tag)) continue;
    customElements.define(
      tag,
      class extends HTMLElement {
        static title = '';
        static infoMarkdown = '';
        static numCols = 1;
        static shouldDisplayModule() {
          return false;
        }
      },
    );
  }
  const notice = document.createElement('div');
  notice.setAttribute('role', 'alert');
  notice.style.cssText =
    'position:fixed;bottom:32px;left:16px;z-index:1000;max-width:60ch;padding:8px 12px;' +
    'background:#fff3e0;border:1px solid #e65100;color:#3e2723;font:13px/18px Roboto,sans-serif';
  const close = document.createElement('button');
  close.textContent = 'Close';
  close.style.marginLeft = '12px';
  close.onclick = () => notice.remove();
  notice.append(sentence, close);
  document.body.append(notice);
  if (main) document.body.append(Object.assign(document.createElement('script'), {src: main}));
}

window.addEventListener(
  'error',
  (event) => {
    const script = event.target;
    if (!(script instanceof HTMLScriptElement) || !script.dataset.main) return;
    litTlWithout(
      'lit_tl could not load its panels: reload the page; the rest of LIT works.',
      script.dataset.main,
    );
  },
  true,
);
