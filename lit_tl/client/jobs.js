// @ts-check
/**
 * Requests that take long. The page asks for a ticket where an answer takes over a second, follows
 * the job with it, shows how far it is, and lets go of it when nobody waits any more. LIT's client
 * sees none of that: its requests take longer, that is all.
 *
 * @typedef {object} Job  as the server describes it
 * @property {string} id
 * @property {string} ticket  for it, of which several may be out
 * @property {string} title
 * @property {number} share  of the work that is finished, 0 to 1
 * @property {number|null} seconds_left
 * @property {boolean} queued
 * @property {number} partials  how many partial results there were
 * @property {any} partial  the last one, if it is new
 * @typedef {{partial?: (result: any) => void, signal?: AbortSignal}} Listening
 */
import {el, remember, remembered} from './dom.js';
import * as reach from './reach.js';

const LONG = [
  'get_preds',
  'get_interpretations',
  'get_metrics',
  'get_generated',
  'get_analysis',
  'create_model',
  'create_dataset',
  'describe_stores',
  'compare_columns',
  'place_rows',
];
const TRIES = 5;

/** @type {Listening} what the next request is asked with; see `listening` */
let next = {};

/** @type {typeof fetch} the browser's own */
let ask = (input, init) => fetch(input, init);

let name = '';

/** @returns {string} a name for this browser, by which the server finds its jobs again */
function client() {
  name ||= remembered('client', '');
  name ||= crypto.randomUUID?.() ?? Array.from({length: 4}, random).join('');
  remember('client', name);
  return name;
}

/** `crypto.randomUUID` is missing on pages that come without TLS from another machine. */
function random() {
  return crypto.getRandomValues(new Uint32Array(1))[0].toString(36);
}

/** @param {string} path @param {AbortSignal} [signal] */
function post(path, signal) {
  return ask(path, {
    method: 'POST',
    body: '{}',
    headers: {'X-Lit-Tl-Client': client()},
    signal,
  });
}

/** @param {Job} job */
const letGo = (job) => void post(`cancel_job?ticket=${job.ticket}`).catch(() => {});

/** @param {number} milliseconds */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * Ask the server with something that listens for partial results, or a signal that says when nobody
 * waits any more.
 * @template T
 * @param {Listening} how
 * @param {() => T} request  that calls `fetch` before it waits for anything
 * @returns {T}
 */
export function listening(how, request) {
  next = how;
  try {
    return request();
  } finally {
    next = {};
  }
}

/** @type {AbortController|null} of the request that was made last, while its caller goes on */
let latest = null;

/**
 * What stops the request that was just made: to be asked for before anything is waited for.
 * @returns {AbortController|null}
 */
export function stopperOfLatest() {
  return latest;
}

/** From here on `fetch` follows jobs. */
export function install() {
  const strip = new Strip();
  reach.install();
  ask = window.fetch.bind(window);
  window.fetch = async (input, init) => {
    const stopper = new AbortController();
    const how = next.signal ? next : {...next, signal: stopper.signal};
    const path = new URL(input instanceof Request ? input.url : input, location.href).pathname;
    const long = LONG.some((name) => path.endsWith(`/${name}`));
    if (init?.method !== 'POST') return ask(input, init);
    latest = stopper;
    queueMicrotask(() => (latest = null));
    const headers = new Headers(init.headers);
    if (long) headers.set('Prefer', 'respond-async');
    headers.set('X-Lit-Tl-Client', client());
    try {
      const first = await ask(input, {...init, headers, signal: how.signal});
      return await reach.readable(
        first.status === 202 ? await follow((await first.json()).job, how, strip) : first,
      );
    } catch (error) {
      if (how.signal?.aborted) return new Response('[]'); // to LIT's client it would be a failure
      throw reach.away(error);
    }
  };
  post('get_jobs')
    .then((response) => (response.ok ? response.json() : {jobs: []}))
    .then(({jobs}) =>
      jobs.forEach((/** @type {Job} */ job) => follow(job, {}, strip).catch(() => {})),
    )
    .catch(() => {});
}

/**
 * @param {Job} job
 * @param {Listening} how
 * @param {Strip} strip
 * @returns {Promise<Response>} its answer
 */
async function follow(job, how, strip) {
  const {ticket} = job;
  const cancelled = new AbortController();
  const cancel = () => {
    cancelled.abort();
    letGo(job);
  };
  how.signal?.addEventListener('abort', cancel);
  strip.show(job, cancel);
  let seen = 0;
  let failures = 0;
  try {
    for (;;) {
      if (how.signal?.aborted) throw new DOMException('nobody waits any more', 'AbortError');
      if (cancelled.signal.aborted) return new Response('{"error": "cancelled"}', {status: 499});
      const asked = performance.now();
      let response;
      try {
        response = await post(`get_job?ticket=${ticket}&wait=1&seen=${seen}`, cancelled.signal);
        failures = 0;
      } catch (error) {
        if (cancelled.signal.aborted) continue;
        if (++failures > TRIES) throw error;
        await pause(500 * failures);
        continue;
      }
      if (response.status !== 202) return response;
      ({job} = await response.json());
      if (job.partial && how.partial) how.partial(job.partial);
      seen = job.partials;
      if (performance.now() - asked < 500) await pause(500); // the server is too busy to wait
      strip.show(job, cancel);
    }
  } finally {
    how.signal?.removeEventListener('abort', cancel);
    strip.drop(job.id, cancel);
  }
}

/** @param {number} seconds */
function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

/**
 * @typedef {object} Row  of a job in the strip
 * @property {HTMLElement} box
 * @property {HTMLProgressElement} bar
 * @property {HTMLElement} text
 * @property {Set<() => void>} followers  how each of those that wait for it lets go
 */

/** The jobs that this page follows, each with its progress and a way to cancel it. */
class Strip {
  #box = el('div', {
    className: 'lit-tl-jobs',
    role: 'region',
    'aria-label': 'Work in progress',
    hidden: true,
  });
  /** @type {Map<string, Row>} */
  #rows = new Map();

  constructor() {
    const href = new URL('jobs.css', import.meta.url).href;
    document.head.append(el('link', {rel: 'stylesheet', href}));
    document.body.append(this.#box);
  }

  /** @param {Job} job @param {() => void} cancel */
  show(job, cancel) {
    const row = this.#rows.get(job.id) ?? this.#add(job);
    row.followers.add(cancel);
    if (job.share > 0) row.bar.value = job.share;
    else row.bar.removeAttribute('value');
    row.text.textContent = job.queued
      ? 'waits'
      : job.seconds_left === null
        ? 'runs'
        : `${duration(job.seconds_left)} left`;
  }

  /** @param {Job} job */
  #add({id, title}) {
    const bar = el('progress', {'aria-label': title});
    const text = el('span', {className: 'left'});
    /** @type {Set<() => void>} */
    const followers = new Set();
    const onclick = () => [...followers].forEach((cancel) => cancel());
    const button = el('button', {type: 'button', onclick, 'aria-label': `Cancel ${title}`});
    button.textContent = 'Cancel';
    const box = el('div', {className: 'job'}, el('span', {className: 'title', title}, title));
    box.append(bar, text, button);
    const row = {box, bar, text, followers};
    this.#rows.set(id, row);
    this.#box.append(box);
    this.#box.hidden = false;
    return row;
  }

  /** @param {string} id @param {() => void} cancel */
  drop(id, cancel) {
    const row = this.#rows.get(id);
    row?.followers.delete(cancel);
    if (row?.followers.size) return;
    row?.box.remove();
    this.#rows.delete(id);
    this.#box.hidden = this.#rows.size === 0;
  }
}
