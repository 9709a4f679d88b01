// @ts-check
import {choice, el, remember, remembered, roving, states} from '../dom.js';
import {Latest} from '../request.js';
import * as target from '../target.js';
import {number, strength, tokenStrip, visible} from '../tokens.js';

/**
 * @typedef {[string, number]} Guess  a token and its probability
 * @typedef {object} Named  the answer or the foil: what the data says
 * @property {string[]} tokens  its own
 * @property {string} token @property {number} probability @property {number} rank
 * @typedef {object} Reply
 * @property {string[]} tokens
 * @property {(number|null)[]} loss  nats
 * @property {(number|null)[]} rank  1 is the likeliest
 * @property {Guess[][]} top  what the model expected at each position, and last what comes next
 * @property {Named|null} answer
 * @property {Named|null} foil
 * @property {number|null} logit_diff
 * @property {number} d_vocab
 * @property {boolean} truncated
 * @property {string} opening
 */

/** @param {HTMLElement} root @param {import('../bridge.js').Host} host */
function mount(root, host) {
  const latest = new Latest();
  const place = states(root);
  /** @type {'loss'|'rank'|'probability'} */
  let by = remembered('predictions.by', 'loss');
  if (!['loss', 'rank', 'probability'].includes(by)) by = 'loss';
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
            : 'Select a prompt to see what the model predicts.',
        );
        return;
      }
      latest.run(() => host.ask('Predictions', example, {}, view), {
        loading: () => place.loading('The model is reading the prompt.'),
        failed: place.failed,
        done: (/** @type {Reply} */ reply) => {
          const keep = (/** @type {any} */ chosen) => {
            by = chosen;
            remember('predictions.by', by);
          };
          const of = {model: view.model, exampleId: example.id};
          const drawing = draw(reply, of, by, keep, host.generateForAll);
          forget = drawing.forget;
          place.done(drawing.box);
        },
      });
    },
    close: () => forget(),
  };
}

/**
 * @param {Reply} reply
 * @param {{model: string, exampleId: string}} of
 * @param {'loss'|'rank'|'probability'} by
 * @param {(by: any) => void} keep
 * @param {() => Promise<void>|undefined} generateForAll
 */
function draw(reply, of, by, keep, generateForAll) {
  const {tokens} = reply;
  const values = tokens.map((_, pos) => {
    const loss = reply.loss[pos];
    return {loss, rank: reply.rank[pos], probability: loss === null ? null : Math.exp(-loss)};
  });
  const detail = el('div', {className: 'detail', 'aria-live': 'polite'});
  const said = el('span', {className: 'target', role: 'status'});
  const choosePos = (/** @type {number} */ pos) => {
    if (pos > 0) target.set({...of, tokens: tokens.length, pos, token: tokens[pos]});
  };
  const chooseNext = (/** @type {string} */ token) =>
    target.set({...of, tokens: tokens.length, pos: null, token});
  const strip = tokenStrip(tokens, {
    label: 'The prompt, token by token',
    focus: (pos) => detail.replaceChildren(...about(pos)),
    choose: choosePos,
  });

  /** @param {number} pos @returns {Node[]} */
  function about(pos) {
    const {loss, rank, probability} = values[pos];
    const heading = el('h4', {}, `${pos}: `, el('code', {}, visible(tokens[pos])));
    if (loss === null) return [heading, el('p', {}, 'Nothing predicts the first token.')];
    const line = `loss ${number(loss, 2)} nats, rank ${rank}, probability ${number(probability)}`;
    return [
      heading,
      el('p', {}, line),
      guesses(
        reply.top[pos - 1],
        [{token: tokens[pos], mark: 'here', probability: probability ?? 0, rank: rank ?? 0}],
        null,
      ),
    ];
  }

  function colour() {
    strip.buttons.forEach((button, pos) => {
      const {loss, rank, probability} = values[pos];
      const alpha = 0.75 * strength(by, values[pos], reply.d_vocab);
      const colour = by === 'probability' ? '0, 137, 123' : '230, 81, 0';
      button.style.backgroundColor = `rgba(${colour}, ${alpha.toFixed(3)})`;
      button.setAttribute(
        'aria-label',
        loss === null
          ? tokens[pos]
          : `${tokens[pos]}: loss ${number(loss, 2)}, rank ${rank}, ` +
              `probability ${number(probability)}`,
      );
    });
  }

  function markTarget() {
    const chosen = target.get();
    const mine = chosen && target.isOf(chosen, of) ? chosen : null;
    strip.buttons.forEach((button, pos) => button.classList.toggle('chosen', mine?.pos === pos));
    said.replaceChildren(
      ...(mine
        ? [
            'Target: ',
            el('code', {}, visible(mine.token)),
            mine.pos === null ? ' next ' : ` at ${mine.pos} `,
            el('button', {type: 'button', onclick: () => target.set(null)}, 'Clear'),
          ]
        : ['Click a token to explain it in Salience.']),
    );
  }

  const named = [
    reply.answer && {...reply.answer, parts: reply.answer.tokens, mark: 'answer'},
    reply.foil && {...reply.foil, parts: reply.foil.tokens, mark: 'foil'},
  ].filter((one) => one !== null);
  const next = el(
    'div',
    {className: 'next'},
    el('h4', {}, 'What comes next'),
    guesses(reply.top[tokens.length - 1], named, chooseNext),
    ...(reply.logit_diff === null
      ? []
      : [el('p', {}, `Logit difference of answer and foil: ${number(reply.logit_diff, 2)}`)]),
  );
  const losses = reply.loss.filter((loss) => loss !== null);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  const toolbar = el(
    'div',
    {className: 'toolbar'},
    choice('Colour by', ['loss', 'rank', 'probability'], by, (chosen) => {
      by = /** @type {any} */ (chosen);
      keep(by);
      colour();
    }),
    el(
      'span',
      {},
      losses.length
        ? `${tokens.length} tokens, mean loss ${number(mean, 2)} nats, ` +
            `perplexity ${number(Math.exp(mean), 1)}`
        : '',
    ),
    el('span', {className: 'opening'}, reply.opening),
    reply.truncated
      ? el('span', {className: 'failed'}, 'The text was cut to what the model reads.')
      : null,
    said,
    el(
      'button',
      {
        type: 'button',
        title: 'The model goes on from every prompt; the table shows what it says.',
        onclick: () => void generateForAll()?.catch(() => {}), // LIT's status bar says why
      },
      'Generate text for all prompts',
    ),
  );
  colour();
  markTarget();
  const forget = target.subscribe(markTarget);
  detail.replaceChildren(...about(tokens.length - 1));
  return {
    box: el(
      'div',
      {className: 'predictions'},
      toolbar,
      strip.box,
      el(
        'div',
        {className: 'columns'},
        next,
        detail,
        tokenTable(tokens, values, (pos) => detail.replaceChildren(...about(pos)), choosePos),
      ),
    ),
    forget,
  };
}

/**
 * @typedef {object} Marked  a token that is pointed out
 * @property {string} token @property {string} mark
 * @property {number} probability @property {number} rank
 * @property {string[]} [parts]  its tokens, where it has several
 */

/**
 * The likeliest tokens with bars on a common axis; marked ones that are not among them follow with
 * their rank.
 * @param {Guess[]} top
 * @param {Marked[]} marked
 * @param {((token: string) => void)|null} choose
 */
function guesses(top, marked, choose) {
  const rows = top.map(([token, probability], i) => ({token, probability, rank: i + 1}));
  for (const {token, probability, rank} of marked)
    if (!rows.some((row) => row.token === token)) rows.push({token, probability, rank});
  const most = Math.max(...rows.map(({probability}) => probability)) || 1;
  const end = most > 0.5 ? 1 : most;
  const axis = el(
    'div',
    {className: 'axis', 'aria-hidden': 'true'},
    el('span', {}, '0'),
    el('span', {}, number(end, 2)),
  );
  const list = el(
    'ol',
    {className: 'guesses'},
    ...rows.map(({token, probability, rank}) => {
      const own = marked.filter((one) => one.token === token);
      const parts = own.find((one) => (one.parts?.length ?? 0) > 1)?.parts;
      const shown = (parts ?? [token]).map(visible).join('|');
      const name = choose
        ? el(
            'button',
            {
              type: 'button',
              className: 'name',
              title: parts ? `${parts.length} tokens: ${shown}` : 'Make it the target',
              onclick: () => choose(token),
            },
            shown,
          )
        : el('code', {className: 'name'}, shown);
      const bar = el('span', {className: 'bar'}, el('span', {}));
      /** @type {HTMLElement} */ (bar.firstElementChild).style.width =
        `${((100 * probability) / end).toFixed(2)}%`;
      return el(
        'li',
        {className: own.map(({mark}) => mark).join(' '), value: rank},
        el('span', {className: 'rank'}, String(rank)),
        name,
        bar,
        el('span', {className: 'value'}, number(probability)),
        el('span', {className: 'mark'}, own.map(({mark}) => mark).join(', ')),
      );
    }),
  );
  return el('div', {}, axis, list);
}

/**
 * All tokens of the prompt, one below the other.
 * @param {string[]} tokens
 * @param {{loss: number|null, rank: number|null, probability: number|null}[]} values
 * @param {(pos: number) => void} focus @param {(pos: number) => void} choose
 */
function tokenTable(tokens, values, focus, choose) {
  const rows = tokens.map((token, pos) => {
    const {loss, rank, probability} = values[pos];
    const button = el(
      'button',
      {
        type: 'button',
        className: 'name',
        tabIndex: pos ? -1 : 0,
        onfocus: () => focus(pos),
        onclick: () => choose(pos),
      },
      visible(token),
    );
    return el(
      'tr',
      {onmouseenter: () => focus(pos)},
      el('td', {}, String(pos)),
      el('td', {}, button),
      ...[
        rank === null ? '' : String(rank),
        probability === null ? '' : number(probability),
        loss === null ? '' : number(loss, 2),
      ].map((text) => el('td', {className: 'value'}, text)),
    );
  });
  const heads = ['', 'token', 'rank', 'probability', 'loss'].map((text) =>
    el('th', {scope: 'col'}, text),
  );
  const table = el(
    'table',
    {className: 'of-tokens'},
    el('thead', {}, el('tr', {}, ...heads)),
    el('tbody', {}, ...rows),
  );
  roving(table, '.name');
  return table;
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Predictions',
  info:
    'The prompt coloured by how well the model predicts it, and what it expects at each place. ' +
    'Click a token to explain it.',
  interpreter: 'Predictions',
  mount,
};
