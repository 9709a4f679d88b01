// @ts-check
import {choice, el, remember, remembered, roving, states, toggle} from '../dom.js';
import {bytes, paint, sortedHeads, strongest, weights} from '../matrix.js';
import {Latest, sentenceOf} from '../request.js';
import * as target from '../target.js';
import {number, tokenStrip, visible} from '../tokens.js';

/**
 * @typedef {object} Overview
 * @property {string[]} tokens @property {number} n_layers @property {number} n_heads
 * @property {number[]} layers  those with attention
 * @property {Record<string, (number|null)[][]>} scores  layer x head, by name
 * @typedef {{size: number, data: string}} Maps  8-bit, head after head
 * @typedef {{size: number, scale: number, data: string}} Head  16-bit
 * @typedef {{layer: number|null, head: number|null, weighted: boolean, sort: string}} Choice  null:
 *   the mean over them
 */
const IN_ORDER = 'layer';
const MANY = 24; // maps to a request

/** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
function mount(root, host) {
  const latest = new Latest();
  const place = states(root);
  /** @type {Choice} */
  const choose = {layer: 0, head: 0, weighted: false, sort: remembered('attention.sort', IN_ORDER)};
  let forget = () => {};
  return {
    show(/** @type {import('../bridge.js').View} */ view) {
      const {example} = view;
      forget();
      if (!example) {
        latest.drop();
        place.empty(
          view.pinned
            ? 'Pin a prompt to compare it here.'
            : 'Select a prompt to see where its tokens look.',
        );
        return;
      }
      const ask = (/** @type {Record<string, unknown>} */ config) =>
        host.ask('Attention', example, config, view);
      latest.run(() => ask({want: 'scores'}), {
        loading: () => place.loading('The model is reading the prompt.'),
        failed: place.failed,
        done: (/** @type {Overview} */ overview) => {
          const drawing = draw(overview, choose, ask, {model: view.model, exampleId: example.id});
          forget = drawing.forget;
          place.done(drawing.toolbar, drawing.box);
        },
      });
    },
    close: () => forget(),
  };
}

/**
 * @param {Overview} overview
 * @param {Choice} choose
 * @param {(config: Record<string, unknown>) => Promise<any>} ask
 * @param {{model: string, exampleId: string}} of
 */
function draw(overview, choose, ask, of) {
  const large = drawLarge(overview, of);
  const latest = new Latest();
  const heads = el('div', {className: 'heads', role: 'group', 'aria-label': 'Attention heads'});
  const problem = el('span', {className: 'failed', role: 'alert'});
  /** @type {() => void} */
  let forgetGrid = () => {};
  if (!(choose.sort in overview.scores)) choose.sort = IN_ORDER;
  if (choose.layer !== null && !overview.layers.includes(choose.layer)) {
    choose.layer = overview.layers[0];
  }
  if (choose.head !== null && choose.head >= overview.n_heads) choose.head = 0;

  function showHead() {
    const {layer, head, weighted} = choose;
    for (const button of heads.querySelectorAll('.head')) {
      button.setAttribute(
        'aria-pressed',
        String(button.getAttribute('data-head') === `${layer}.${head}`),
      );
    }
    latest.run(() => ask({want: 'head', layer, head, value_weighted: weighted}), {
      loading: () => large.box.setAttribute('aria-busy', 'true'),
      failed: (sentence) => large.fail(sentence),
      done: (/** @type {Head} */ reply) =>
        large.show(weights(reply.data, reply.scale), titleOf(choose)),
    });
  }

  function showGrid() {
    forgetGrid();
    const scores = overview.scores[choose.sort];
    const rows =
      scores ?? Array.from({length: overview.n_layers}, () => Array(overview.n_heads).fill(0));
    const order = sortedHeads(rows).filter(([layer]) => overview.layers.includes(layer));
    heads.style.gridTemplateColumns = `repeat(${scores ? 'auto-fill' : overview.n_heads}, 64px)`;
    heads.replaceChildren(
      ...order.map(([layer, head]) => {
        const name = `${layer}.${head}`;
        const all = Object.entries(overview.scores)
          .map(([key, rows]) => `${key} ${number(rows[layer][head], 2)}`)
          .join(', ');
        const caption = scores ? `${name}: ${number(scores[layer][head], 2)}` : name;
        return el(
          'button',
          {
            className: 'head',
            type: 'button',
            'data-head': name,
            title: all,
            'aria-label': `head ${name}, ${all}`,
            onclick: () => {
              Object.assign(choose, {layer, head});
              showHead();
            },
          },
          el('canvas', {}),
          caption,
        );
      }),
    );
    roving(heads, '.head');
    problem.replaceChildren();
    forgetGrid = fetchMapsOnScreen(heads, ask, (sentence) =>
      problem.replaceChildren(
        `Small maps could not be loaded: ${sentence} `,
        el('button', {type: 'button', onclick: showGrid}, 'Try again'),
      ),
    );
  }

  const toolbar = el(
    'div',
    {className: 'toolbar'},
    choice('Sort heads by', [IN_ORDER, ...Object.keys(overview.scores)], choose.sort, (value) => {
      choose.sort = value;
      remember('attention.sort', value);
      showGrid();
      showHead();
    }),
    el(
      'button',
      {
        type: 'button',
        onclick: () => (Object.assign(choose, {head: null, layer: choose.layer ?? 0}), showHead()),
      },
      'Mean of layer',
    ),
    el(
      'button',
      {
        type: 'button',
        onclick: () => (Object.assign(choose, {head: null, layer: null}), showHead()),
      },
      'Mean of all',
    ),
    toggle('Value-weighted', choose.weighted, (on) => {
      choose.weighted = on;
      showHead();
    }),
    problem,
  );
  showGrid();
  showHead();
  return {
    toolbar,
    box: el('div', {className: 'attention'}, heads, large.box),
    forget: () => {
      forgetGrid();
      latest.drop();
      large.forget();
    },
  };
}

/** @param {Choice} choose */
function titleOf({layer, head, weighted}) {
  const name =
    layer === null
      ? 'Mean over all heads'
      : head === null
        ? `Mean over the heads of layer ${layer}`
        : `Head ${layer}.${head}`;
  return weighted ? `${name}, times the norm of the value` : name;
}

/**
 * Fetch the small maps of heads that are on screen, some at a time, and no other.
 * @param {HTMLElement} heads
 * @param {(config: Record<string, unknown>) => Promise<Maps>} ask
 * @param {(sentence: string) => void} fail
 * @returns {() => void} what ends it
 */
function fetchMapsOnScreen(heads, ask, fail) {
  /** @type {Set<Element>} */
  const waiting = new Set();
  let busy = false;
  let over = false;
  async function fetchSome() {
    while (waiting.size && !over) {
      const some = [...waiting].slice(0, MANY);
      for (const button of some) waiting.delete(button);
      const names = some.map((button) =>
        /** @type {string} */ (button.getAttribute('data-head')).split('.').map(Number),
      );
      try {
        const {size, data} = await ask({want: 'maps', heads: names});
        const all = bytes(data);
        some.forEach((button, i) => {
          paint(
            /** @type {HTMLCanvasElement} */ (button.querySelector('canvas')),
            all.subarray(i * size * size, (i + 1) * size * size),
            size,
          );
          button.setAttribute('data-drawn', '');
        });
      } catch (error) {
        if (!over) fail(sentenceOf(error));
      }
    }
    busy = false;
  }
  const observer = new IntersectionObserver(
    (entries) => {
      for (const {isIntersecting, target: button} of entries) {
        if (isIntersecting && !button.hasAttribute('data-drawn')) waiting.add(button);
        else waiting.delete(button);
      }
      if (waiting.size && !busy) {
        busy = true;
        void fetchSome();
      }
    },
    {rootMargin: '80px'},
  );
  for (const button of heads.children) observer.observe(button);
  return () => {
    over = true;
    observer.disconnect();
  };
}

/**
 * One head large: its matrix, and the text in which a token shows where it looks and who looks at
 * it.
 * @param {Overview} overview
 * @param {{model: string, exampleId: string}} of
 */
function drawLarge({tokens}, of) {
  const size = tokens.length;
  /** @type {Float32Array} */
  let values = new Float32Array(size * size);
  let at = size - 1;
  let failed = false;
  const heading = el('h4', {});
  const readout = el('div', {className: 'readout', 'aria-live': 'polite'});
  const canvas = el('canvas', {
    role: 'img',
    'aria-label': 'Attention: queries downwards, keys to the right. The text below says the same.',
  });
  const strip = tokenStrip(tokens, {
    label: 'The prompt: a token shows where it looks, and who looks at it',
    focus: (pos) => lookAt(pos),
    choose: (pos) => pos > 0 && target.set({...of, tokens: size, pos, token: tokens[pos]}),
  });
  const weight = (/** @type {number} */ query, /** @type {number} */ key) =>
    values[query * size + key];
  const listed = (/** @type {number[]} */ row) =>
    strongest(row, 5)
      .map(({pos, weight}) => `${pos} ${visible(tokens[pos])} ${number(weight)}`)
      .join(',  ') || 'nothing';

  function lookAt(/** @type {number} */ pos) {
    at = pos;
    if (failed) return;
    const looks = tokens.map((_, key) => weight(pos, key));
    const seen = tokens.map((_, query) => weight(query, pos));
    const [most, mostSeen] = [Math.max(...looks), Math.max(...seen)];
    strip.buttons.forEach((button, i) => {
      const share = most ? (0.75 * looks[i]) / most : 0;
      button.style.backgroundColor = `rgba(0, 137, 123, ${share.toFixed(3)})`;
      const shareSeen = mostSeen ? seen[i] / mostSeen : 0;
      button.style.borderBottomColor = `rgba(230, 81, 0, ${shareSeen.toFixed(3)})`;
      button.classList.toggle('chosen', i === pos);
    });
    readout.replaceChildren(
      el('p', {}, el('b', {}, `${pos} ${visible(tokens[pos])}`), ` looks at: ${listed(looks)}`),
      el('p', {}, `is looked at by: ${listed(seen)}`),
    );
  }
  canvas.addEventListener('mousemove', (event) => {
    const {width, height} = canvas.getBoundingClientRect();
    const [key, query] = [
      Math.floor((event.offsetX / width) * size),
      Math.floor((event.offsetY / height) * size),
    ];
    if (key < 0 || query < 0 || key >= size || query >= size) return;
    lookAt(query);
    readout.prepend(
      el(
        'p',
        {className: 'cell'},
        `${query} ${visible(tokens[query])} → ${key} ${visible(tokens[key])}: ` +
          number(weight(query, key), 4),
      ),
    );
  });
  const box = el('div', {className: 'large'}, heading, strip.box, readout, canvas);
  return {
    box,
    forget: () => {},
    fail(/** @type {string} */ sentence) {
      failed = true;
      box.removeAttribute('aria-busy');
      heading.textContent = '';
      canvas.hidden = true;
      readout.replaceChildren(el('p', {className: 'failed', role: 'alert'}, sentence));
    },
    show(/** @type {Float32Array} */ next, /** @type {string} */ title) {
      values = next;
      failed = canvas.hidden = false;
      heading.textContent = title;
      box.removeAttribute('aria-busy');
      paint(canvas, values, size);
      const shown = Math.max(size, Math.min(420, 14 * size));
      canvas.style.width = canvas.style.height = `${shown}px`;
      lookAt(at);
    },
  };
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Attention',
  info:
    'Every head small, one head large. Point at a token: green is where it looks, ' +
    'orange underneath is who looks at it.',
  interpreter: 'Attention',
  mount,
};
