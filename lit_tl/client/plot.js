// @ts-check
/** Plotly, which draws lines, bars and points. */
import {el} from './dom.js';

/** @returns {Promise<any>} Plotly, fetched when the first figure is drawn */
export function plotly() {
  const loaded = /** @type {any} */ (window);
  loaded.litTlPlotly ??= loaded.Plotly
    ? Promise.resolve(loaded.Plotly)
    : new Promise((resolve, reject) => {
        document.head.append(
          el('script', {
            src: new URL('plotly.min.js', import.meta.url).href,
            onload: () => resolve(loaded.Plotly),
            onerror: () => {
              loaded.litTlPlotly = undefined;
              reject(
                new Error(
                  "the script that draws figures can't be loaded: is the server still running?",
                ),
              );
            },
          }),
        );
      });
  return loaded.litTlPlotly;
}

/** @param {HTMLElement} place @param {{data: any[], layout: any}} figure */
export async function paint(place, figure) {
  const Plotly = await plotly();
  const layout = {
    ...figure.layout,
    autosize: true,
    font: {family: 'Roboto, sans-serif', size: 12},
    margin: {l: 64, r: 16, t: 36, b: 64},
  };
  await Plotly.react(place, figure.data, layout, {
    responsive: false,
    displaylogo: false,
    displayModeBar: false,
  });
  adoptStyle(place);
  return Plotly;
}

/**
 * Plotly puts its style into the document's head, from where it does not reach a panel.
 * @param {HTMLElement} plot
 */
function adoptStyle(plot) {
  const root = plot.getRootNode();
  const style = /** @type {HTMLStyleElement|null} */ (
    document.getElementById('plotly.js-style-global')
  );
  if (!(root instanceof ShadowRoot) || !style?.sheet || root.querySelector('style.plotly')) return;
  const text = [...style.sheet.cssRules].map((rule) => rule.cssText).join('\n');
  root.append(el('style', {className: 'plotly', textContent: text}));
}
