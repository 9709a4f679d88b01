// @ts-check
import {AnalysisPanel} from '../analysis_panel.js';

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Lens',
  info:
    'What the model would say at each layer: the embeddings below, the output on top. ' +
    'A click holds the card and draws the tokens of that place over the layers.',
  interpreter: '',
  tab: 'Lens',
  mount: (root, host) => new AnalysisPanel(root, 'Lens', host),
};
