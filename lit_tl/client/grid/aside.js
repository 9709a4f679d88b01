// @ts-check
/**
 * Tokens that stay out of the colours of a grid, or away: the first, where attention rests, and
 * those that a chat template writes.
 * @typedef {'shown'|'not in the colours'|'hidden'} How
 * @typedef {{first: How, template: How}} Aside
 */

/** @type {How[]} */
export const HOW = ['shown', 'not in the colours', 'hidden'];

/** @param {unknown} value @returns {How} */
export const howOf = (value) =>
  HOW.includes(/** @type {any} */ (value)) ? /** @type {How} */ (value) : 'shown';

/**
 * Which places of an axis are in the colours.
 * @param {import('./data.js').Axis} axis @param {Aside} aside
 * @returns {(at: number) => boolean}
 */
export function inColours({tokens, roles}, {first, template}) {
  const without = {
    first: Boolean(tokens) && first !== 'shown',
    template: template !== 'shown' && roles,
  };
  return (at) =>
    !(without.first && at === 0) && !(without.template && without.template[at] === 'template');
}

/**
 * The places of an axis that are shown, in their order; all of them where none would be left.
 * @param {import('./data.js').Axis} axis @param {Aside} aside
 */
export function kept(axis, {first, template}) {
  const all = [...axis.labels.keys()];
  const {tokens, roles} = axis;
  const left = all.filter(
    (at) =>
      !(tokens && first === 'hidden' && at === 0) &&
      !(roles && template === 'hidden' && roles[at] === 'template'),
  );
  return left.length ? left : all;
}
