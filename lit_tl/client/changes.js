// @ts-check
/**
 * Changes that are staged for a model, until a variant is made of them: panels add to them, and the
 * address keeps them, so that a link shows them.
 */
import * as address from './address.js';

/** @type {Set<(model: string) => void>} */
const listeners = new Set();

/** @param {string} model */
const key = (model) => `Changes:${model}`;

/**
 * @param {string} model @param {string[]} own  those that the model itself carries
 * @returns {string[]}
 */
export function staged(model, own) {
  const kept = address.settingsOf(key(model)).staged;
  return Array.isArray(kept) ? kept.map(String) : own;
}

/**
 * The changes that a model's panel begins with: those of a variant, which can be changed there. One
 * whose original is not on the server counts as a model of its own.
 * @param {import('./bridge.js').Variant} about
 */
export const ownChanges = ({changes, original}) => (original ? changes : []);

/** @param {string} model @param {string[]|null} changes  null for those that it carries */
export function set(model, changes) {
  address.keep(key(model), {staged: changes ?? undefined});
  for (const hear of listeners) hear(model);
}

/**
 * One more, where it is not there yet.
 * @param {string} model @param {string[]} own @param {string} change
 * @returns {string}  what to tell whoever asked
 */
export function stage(model, own, change) {
  const now = staged(model, own);
  if (now.includes(change)) return `${change} is staged already, on the Interventions tab.`;
  set(model, [...now, change]);
  return `${change} is staged, on the Interventions tab.`;
}

/** @param {(model: string) => void} hear @returns {() => void} stops hearing */
export function onChange(hear) {
  listeners.add(hear);
  return () => listeners.delete(hear);
}

const STRENGTH =
  /^(?<before>\s*[^\s"'=]+?\s*[+-]=\s*)(?<strength>[+-]?[\d.]+(?:e[+-]?\d+)?)(?<after>\s*\*\s*dir\(.*)$/s;

/** The strength of a change that has one. @param {string} change @returns {number|null} */
export function strengthOf(change) {
  const found = STRENGTH.exec(change)?.groups;
  return found ? Number(found.strength) : null;
}

/** @param {string} change @param {number} strength @returns {string} */
export function withStrength(change, strength) {
  return change.replace(STRENGTH, `$<before>${strength}$<after>`);
}

/**
 * What may stand in a change, for completion.
 * @param {import('./bridge.js').Variant} about @param {string[]} dataSets
 * @param {string} typed
 * @returns {string[]} whole changes that begin with what is typed
 */
export function completions(about, dataSets, typed) {
  const text = typed.trimStart();
  const [, where = '', rest = ''] = /^(\S*)(.*)$/s.exec(text) ?? [];
  const sites = sitesOf(about);
  if (!rest) {
    const known = sites.filter((site) => site.toLowerCase().startsWith(where.toLowerCase()));
    const exact = sites.includes(where);
    return exact ? endings(where, dataSets) : known.slice(0, 40).flatMap((s) => [s, `${s} = zero`]);
  }
  return endings(where, dataSets).filter((whole) => whole.startsWith(text));
}

/** @param {import('./bridge.js').Variant} about @returns {string[]} */
function sitesOf({layers, heads, sites}) {
  const all = Array.from({length: layers}, (_, layer) => [
    `L${layer}`,
    ...Array.from({length: heads}, (_, head) => `L${layer}H${head}`),
  ]).flat();
  const more = sites.flatMap((name) =>
    ['embed', 'unembed_in'].includes(name)
      ? [name]
      : Array.from({length: layers}, (_, layer) => `${name}[${layer}]`),
  );
  return [...all, ...more];
}

/** @param {string} where @param {string[]} dataSets @returns {string[]} */
function endings(where, dataSets) {
  const plain = [
    '= zero',
    ...dataSets.flatMap((name) => [`= mean(${name})`, `= resample(${name})`]),
    '= run("another prompt")',
  ];
  const directions = [
    '+= 0.5 * dir("love" - "hate")',
    ...dataSets.map((name) => `+= 0.5 * dir(mean(${name}))`),
    '+= 0.5 * dir(unembed(" Paris"))',
    '+= 0.5 * dir(lens(" Paris"))',
    '+= 0.5 * dir(file("vector.npy"))',
    'without dir("love" - "hate")',
  ];
  const whole = /^L\d+(@\S+)?$/.test(where);
  return [...plain, ...(whole ? [] : directions)].map((ending) => `${where} ${ending}`);
}
