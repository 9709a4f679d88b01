// @ts-check
/**
 * The page's address: LIT writes its own state there, and here panels add theirs, so that a link
 * opens what its sender saw.
 */
const OURS = 'panels';
const SESSION = 'session';
const LONGEST = 6000; // characters; a server reads no address that is much longer

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

/** The session that holds what the address does not; '' for none. */
let session = '';

/**
 * @param {string} query
 * @returns {string} with our part, and without what LIT could not write, or what is too long
 */
function withOurs(query) {
  const parameters = new URLSearchParams(query);
  for (const [name, value] of [...parameters])
    if (value.includes('[object Object]')) parameters.delete(name);
  const text = JSON.stringify(state);
  if (text === '{}') parameters.delete(OURS);
  else parameters.set(OURS, text);
  if (session) parameters.set(SESSION, session);
  else parameters.delete(SESSION);
  if (session || `${parameters}`.length > LONGEST)
    for (const name of [...parameters.keys()]) if (/^data\d*_/.test(name)) parameters.delete(name);
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

/** All settings, by panel. */
export const all = () => state;

/** LIT's part of the address, without the fields of examples. @returns {Record<string, string>} */
export function ofLit() {
  const parameters = [...new URLSearchParams(location.search)];
  return Object.fromEntries(
    parameters.filter(([name]) => name !== OURS && name !== SESSION && !/^data\d*_/.test(name)),
  );
}

/** @param {string} name  of the session that holds what the address does not; '' for none */
export function setSession(name) {
  if (name === session && (name || !new URLSearchParams(location.search).has(SESSION))) return;
  session = name;
  history.replaceState(history.state, '', location.href);
}

/**
 * Another address: LIT's part, and the settings of panels.
 * @param {Record<string, string>} query @param {Record<string, Record<string, unknown>>} panels
 */
export function replace(query, panels) {
  for (const name of Object.keys(state)) delete state[name];
  Object.assign(state, panels);
  history.replaceState(history.state, '', `${location.pathname}?${new URLSearchParams(query)}`);
}

/** @param {string} panel @returns {Record<string, unknown>} its settings */
export const settingsOf = (panel) => state[panel] ?? {};

/** @param {string} panel @param {Record<string, unknown>} changes */
export function keep(panel, changes) {
  state[panel] = {...settingsOf(panel), ...changes};
  if (location.protocol === 'about:') return; // a frame without an address, as in notebooks
  history.replaceState(history.state, '', location.href);
}
