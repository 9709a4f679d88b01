// @ts-check
/** The variants that the page's address carries. */
import * as address from './address.js';
import {sentenceOf} from './reach.js';

/** What tells this page from others, as long as its tab is open. @returns {string} */
export function pageId() {
  const key = 'lit_tl.page';
  try {
    const known = sessionStorage.getItem(key) ?? `${Math.random()}`.slice(2);
    sessionStorage.setItem(key, known);
    return known;
  } catch {
    return ''; // a window that keeps nothing
  }
}

/** This page is another one from now on, as when it opens what another page has kept. */
export function renewPage() {
  try {
    sessionStorage.removeItem('lit_tl.page');
  } catch {
    // a window that keeps nothing
  }
}

/** A tab that was duplicated has its original's name: it takes another one. */
export async function claimPage() {
  const {locks} = navigator; // there on this machine, and behind TLS
  if (!locks) return;
  const isFree = await new Promise((tell) => {
    locks
      .request(`lit_tl.page-${pageId()}`, {ifAvailable: true}, (lock) => {
        tell(Boolean(lock));
        return lock ? new Promise(() => {}) : undefined; // as long as the page lives
      })
      .catch(() => tell(true)); // another site's frame, such as a notebook's, has no locks
  });
  if (!isFree) renewPage();
}

/**
 * They are made before LIT looks for them.
 * @returns {Promise<string[]>} sentences on those that can't be made
 */
export async function make() {
  const sentences = [];
  for (const [name, about] of Object.entries(address.settingsOf('Variants'))) {
    const {original, changes} = Object(about);
    try {
      const reply = await fetch('make_variant', {
        method: 'POST',
        body: JSON.stringify({inputs: [], config: {original, changes, name, page: pageId()}}),
      });
      if (!reply.ok) throw new Error(await reply.text());
      rename(name, (await reply.json()).name);
    } catch (error) {
      sentences.push(`The link's variant ${name} can't be made: ${sentenceOf(error)}.`);
      rename(name, '');
    }
  }
  return sentences;
}

/**
 * A model of the address is called otherwise here, or is not here.
 * @param {string} name @param {string} here
 */
function rename(name, here) {
  if (name === here) return;
  const query = new URLSearchParams(location.search);
  const models = (query.get('models') ?? '').split(',');
  const there = models.map((each) => (each === name ? here : each)).filter(Boolean);
  if (there.length) query.set('models', there.join(','));
  else query.delete('models');
  history.replaceState(history.state, '', `${location.pathname}?${query}`);
  const about = address.settingsOf('Variants')[name];
  address.keep('Variants', {[name]: undefined, ...(here ? {[here]: about} : {})});
}
