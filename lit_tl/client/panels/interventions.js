// @ts-check
import {AnalysisPanel} from '../analysis_panel.js';
import {ChangeEditor} from '../change_editor.js';
import {onChange} from '../changes.js';

/** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
function mount(root, host) {
  const editor = new ChangeEditor(host);
  root.append(editor.box);
  const panel = new AnalysisPanel(root, 'Interventions', host, {
    hidden: ['changes'],
    settings: (settings) =>
      'changes' in settings ? {...settings, changes: editor.text} : settings,
    stages: ({row, column}, {rows, columns}) =>
      columns.name === 'head'
        ? [`L${rows.labels[row]}H${columns.labels[column]} = zero`]
        : [`${column ? 'mlp_out' : 'attn_out'}[${rows.labels[row]}] = zero`],
    view: (view, settings) => ('changes' in settings ? {...view, model: editor.base} : view),
  });
  let model = '';
  const stop = onChange((changed) => {
    if (changed !== model) return;
    editor.draw();
    panel.again();
  });
  return {
    show: (/** @type {import('../bridge.js').View} */ view) => {
      model = view.model;
      editor.show(model);
      panel.show(view);
    },
    othersChanged: () => panel.othersChanged(),
    close() {
      stop();
      panel.close();
    },
  };
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Interventions',
  info:
    'What if a part were different: stage changes, see at once what they do to the answer, and ' +
    'make a variant of the model, which every other panel then shows beside its original.',
  interpreter: '',
  tab: 'Interventions',
  mount,
};
