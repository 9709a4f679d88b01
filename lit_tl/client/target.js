// @ts-check
/**
 * What the user has chosen to explain, for all panels: a token of the prompt, or a token that may
 * come after it.
 * @typedef {{model: string, exampleId: string, tokens: number, pos: number|null, token: string}}
 *   Target
 *   `pos` is the token's place in the prompt, null for one that comes next; `tokens` is the
 * prompt's length.
 */

/** @type {Target|null} */
let current = null;
const listeners = new Set(/** @type {((target: Target|null) => void)[]} */ ([]));

/** @returns {Target|null} */
export const get = () => current;

/** @param {Target|null} target */
export function set(target) {
  current = target;
  for (const listener of listeners) listener(target);
}

/** @param {(target: Target|null) => void} listener @returns {() => void} what ends it */
export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Whether a target was chosen in this model's reading of this example: another model may cut the
 * text into other tokens.
 * @param {Target} target @param {{model: string, exampleId: string}} of
 */
export const isOf = (target, of) => target.model === of.model && target.exampleId === of.exampleId;

/**
 * The fields of an example that make a salience method explain a target.
 * @param {Target} target
 * @returns {{target_mask: number[], target: string}}
 */
export function asFields({pos, tokens, token}) {
  if (pos === null) return {target_mask: [], target: token};
  return {target_mask: Array.from({length: tokens}, (_, i) => Number(i === pos)), target: ''};
}

/**
 * The example with a target, as LIT sends an example that the data set has not.
 * @param {import('./bridge.js').Example} example
 * @param {Target} chosen
 * @returns {import('./bridge.js').Example}
 */
export function withTarget(example, chosen) {
  return {
    id: '',
    data: {...example.data, ...asFields(chosen), _id: ''},
    meta: {...example.meta, added: true, parentId: example.id},
  };
}
