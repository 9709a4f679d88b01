// @ts-check
/** A report's figures: pictures become what can be pointed at and zoomed. */
import {Grid} from './grid/grid.js';

/** @param {Element} place @returns {any} what is drawn in it */
const read = (place) => JSON.parse(place.querySelector('script')?.textContent ?? '{}');

/** @param {Element} place @param {string} className @returns {HTMLElement} in place of its picture */
function boxIn(place, className) {
  const box = Object.assign(document.createElement('div'), {className});
  place.querySelector('img')?.remove();
  place.append(box);
  return box;
}

/** Plotly's script, out of the page itself. @returns {Promise<string>} its address */
async function unpacked() {
  const text = document.getElementById('plotly')?.textContent ?? '';
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  const script = await new Response(stream).blob();
  return URL.createObjectURL(new Blob([script], {type: 'text/javascript'}));
}

/** @param {Element[]} places */
async function drawPlots(places) {
  const script = document.createElement('script');
  script.src = await unpacked();
  await new Promise((resolve) => {
    script.onload = resolve;
    document.head.append(script);
  });
  for (const place of places) {
    const {data, layout} = read(place);
    const how = {responsive: true, displaylogo: false};
    const box = boxIn(place, 'plot');
    await /** @type {any} */ (window).Plotly.newPlot(box, data, {...layout, autosize: true}, how);
  }
}

for (const place of document.querySelectorAll('[data-draw=grid]')) {
  const content = read(place);
  boxIn(place, 'panel').append(new Grid(content).box);
}
const plots = [...document.querySelectorAll('[data-draw=plot]')];
if (plots.length) void drawPlots(plots);
