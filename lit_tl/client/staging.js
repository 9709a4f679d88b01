// @ts-check
/** Buttons that stage changes, where other panels show what could be changed. */
import {ownChanges, stage} from './changes.js';
import {el} from './dom.js';

/**
 * @param {import('./bridge.js').Host} host @param {string} model @param {string[]} changes
 * @returns {HTMLElement|null}  null where the model can't be changed
 */
export function offer(host, model, changes) {
  const about = host.variant(model);
  if (!about || !changes.length) return null;
  const said = el('span', {className: 'more', role: 'status'});
  return el(
    'div',
    {className: 'toolbar staging', role: 'group', 'aria-label': 'Stage an intervention'},
    'Stage',
    ...changes.map((change) =>
      el(
        'button',
        {
          type: 'button',
          title: 'It is added to the Interventions tab.',
          onclick: () => (said.textContent = stage(model, ownChanges(about), change)),
        },
        change,
      ),
    ),
    said,
  );
}
