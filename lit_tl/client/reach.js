// @ts-check
/**
 * Whether the server answers. Where it does not, the page says so, asks again until it does, and
 * goes on: with a server that was started anew, from the address; else where it was.
 */
import {el} from './dom.js';

const AGAIN = 2000; // milliseconds
const AWAY = 'the server does not answer: is it still running?';
const DETAILS = '\n\nDetails: '; // LIT's client shows what stands before it

/** @type {HTMLElement|null} */
let notice = null;

/** @type {Set<() => void>} what waits for the server */
const waiting = new Set();
let watching = false;
/** @type {Promise<string>|null} which server this page came from */
let own = null;

/** @returns {Promise<string>} which server answers */
async function who() {
  const response = await fetch('healthz', {cache: 'no-store'});
  if (!response.ok) throw new Error(AWAY);
  return String((await response.json()).started);
}

export function install() {
  notice = el(
    'div',
    {className: 'lit-tl-away', role: 'alert', hidden: true},
    'The server does not answer. Start it again, or check the connection: ' +
      'this page goes on when it is back.',
  );
  document.body.append(notice);
  own = who();
  own.catch(() => {});
}

/** Once, when the server is back. @param {() => void} listener @returns {() => void} what ends it */
export function whenBack(listener) {
  waiting.add(listener);
  return () => waiting.delete(listener);
}

async function watch() {
  if (watching) return;
  watching = true;
  if (notice) notice.hidden = false;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
    try {
      const [before, now] = [await own?.catch(() => ''), await who()];
      if (before && before !== now) return location.reload();
      break;
    } catch {
      // not yet
    }
  }
  watching = false;
  if (notice) notice.hidden = true;
  const listeners = [...waiting];
  waiting.clear();
  for (const listener of listeners) listener();
}

/**
 * An answer that has come as a whole, in which LIT's client finds the sentence of an error.
 * @param {Response} response
 * @returns {Promise<Response>}
 */
export async function readable(response) {
  const {status, headers} = response;
  if (response.ok) return new Response(await response.arrayBuffer(), {status, headers});
  const text = await response.text();
  return new Response(`${sentenceIn(text)}${DETAILS}${text}`, {status, headers});
}

/** An error that says that the server is away. @param {unknown} error */
export function away(error) {
  void watch();
  return new Error(`${AWAY}${DETAILS}${error instanceof Error ? error.message : error}`);
}

/** Whether the server was away. @param {unknown} error */
export const isAway = (error) => error instanceof Error && error.message.startsWith(AWAY);

/**
 * The sentence of a failed request.
 * @param {unknown} error
 * @returns {string}
 */
export function sentenceOf(error) {
  return sentenceIn(error instanceof Error ? error.message : String(error));
}

/** @param {string} text  of an answer, or of an error */
function sentenceIn(text) {
  const [first] = text.split(DETAILS);
  try {
    return JSON.parse(first).error ?? first;
  } catch {
    return first.trimStart().startsWith('<')
      ? 'the answer does not come from this server: is a proxy between?'
      : first;
  }
}
