// @ts-check
/**
 * What the page loads in place of LIT's main.js. The panels come first; then main.js is added, and
 * in its load event, before LIT starts, their elements are defined. A panel that can't be loaded
 * leaves a sentence, and the rest of LIT.
 */
const here = new URL('.', import.meta.url);

/** @type {{name: string, tag: string}[]} the manifest, which the page carries */
const PANELS = /** @type {any} */ (window).litTlPanels;

/** @param {string} sentence */
const complain = (sentence) => /** @type {any} */ (window).litTlWithout(sentence, '');

/** @param {string} src @returns {Promise<void>} */
function addMain(src) {
  const late = document.readyState === 'complete'; // then LIT would wait for an event that has been
  return new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = src;
    script.addEventListener('load', () => {
      resolve();
      if (late) queueMicrotask(() => window.dispatchEvent(new Event('load')));
    });
    script.addEventListener('error', () =>
      reject(new Error(`LIT's client (${src}) can't be loaded`)),
    );
    document.body.append(script);
  });
}

async function start() {
  const own = /** @type {HTMLScriptElement|null} */ (document.querySelector('script[data-main]'));
  const loaded = await Promise.allSettled([
    import(new URL('bridge.js', here).href),
    import(new URL('jobs.js', here).href),
    import(new URL('address.js', here).href),
    import(new URL('linked_variants.js', here).href),
    import(new URL('session.js', here).href),
    ...PANELS.map(({name}) => import(new URL(`panels/${name}.js`, here).href)),
  ]);
  const [bridge, jobs, address, linked, session, ...panels] = loaded.map((result) =>
    result.status === 'fulfilled' ? result.value : null,
  );
  const missing = [
    'bridge',
    'jobs',
    'address',
    'linked_variants',
    'session',
    ...PANELS.map(({name}) => name),
  ].filter((_, i) => loaded[i].status === 'rejected');
  const sentences = missing.length
    ? [`lit_tl could not load ${missing.join(', ')}: reload the page; the rest of LIT works.`]
    : [];
  jobs?.install();
  address?.install();
  await linked?.claimPage();
  if (session) sentences.push(...(await session.start()));
  if (linked) sentences.push(...(await linked.make()));
  await addMain(own?.dataset.main ?? 'main.js');
  const arrived = panels.flatMap((panel, i) =>
    panel ? [{...panel.panel, tag: PANELS[i].tag}] : [],
  );
  if (bridge) bridge.install(arrived, (/** @type {string} */ sentence) => sentences.push(sentence));
  if (sentences.length) complain(sentences.join(' '));
}

start().catch((error) => complain(`${error.message}. Reload the page, or start the server again.`));
