// @ts-check
import {AnalysisPanel} from '../analysis_panel.js';

/**
 * Steering towards the token that the lens reads in a cell.
 * @param {import('../grid/card.js').Cell} cell @param {import('../grid/data.js').Part} part
 * @param {Record<string, unknown>} settings
 */
function towards({row, column}, part, {residual_component: component}) {
  const layer = /^\d+/.exec(part.rows.labels[row]);
  const [first] = part.top(row, column);
  if (!layer || !first || (component !== 'resid_pre' && component !== 'resid_post')) return [];
  return [`${component}[${layer}] += 0.3 * dir(lens(${JSON.stringify(first.token)}))`];
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Lens',
  info:
    'What the model would say at each layer: the embeddings below, the output on top. ' +
    'A click holds the card and draws the tokens of that place over the layers.',
  interpreter: '',
  tab: 'Lens',
  mount: (root, host) => new AnalysisPanel(root, 'Lens', host, {stages: towards}),
};
