// @ts-check
/**
 * The page's address: LIT writes its own state there, and here panels add theirs, so that a link
 * opens what its sender saw.
 */
const OURS = 'panels';

/** @returns {Record<string, Record<string, unknown>>} settings by panel */
function read() {
  try {
    return Object(JSON.parse(new URLSearchParams(location.search).get(OURS) ?? '{}'));
  } catch {
    return {};
  }
}

/** @type {Record<string, Record<string, unknown>>} */
const state = read();

/** @param {string} query @returns {string} with our part, and without what LIT could not write */
function withOurs(query) {
  const parameters = new URLSearchParams(query);
  for (const [name, value] of [...parameters])
    if (value.includes('[object Object]')) parameters.delete(name);
  const text = JSON.stringify(state);
  if (text === '{}') parameters.delete(OURS);
  else parameters.set(OURS, text);
  return `?${parameters}`;
}

/** LIT's own writing of the address gets our part. */
export function install() {
  const {replaceState} = history;
  history.replaceState = function (data, unused, url) {
    const [path, query = ''] = String(url ?? location.href).split('?');
    replaceState.call(this, data, unused, `${path}${withOurs(query)}`);
  };
}

/** @param {string} panel @returns {Record<string, unknown>} its settings */
export const settingsOf = (panel) => state[panel] ?? {};

/** @param {string} panel @param {Record<string, unknown>} changes */
export function keep(panel, changes) {
  state[panel] = {...settingsOf(panel), ...changes};
  if (location.protocol === 'about:') return; // a frame without an address, as in notebooks
  history.replaceState(history.state, '', location.href);
}
