// @ts-check
import {AnalysisPanel} from '../analysis_panel.js';

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Figures',
  info:
    'What an analysis draws of the selected prompt. ' +
    'Click a token in it to explain that token in Salience.',
  interpreter: '',
  tab: 'Figures',
  mount: (root, host) => new AnalysisPanel(root, 'Figures', host),
};
