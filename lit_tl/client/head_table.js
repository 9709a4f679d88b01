// @ts-check
/** Heads and their scores as a table that sorts. */
import {el} from './dom.js';
import {decode} from './grid/data.js';
import {number, visible} from './tokens.js';

const MOST = 100; // rows

/** @param {import('./grid/data.js').GridText} grid  a part for each score, layers by heads */
export function headTable(grid) {
  const parts = decode(grid);
  const [{rows, columns}] = parts;
  const heads = [...parts[0].values.keys()];
  const body = el('tbody', {});
  const buttons = parts.map(({title}, place) =>
    el('button', {type: 'button', onclick: () => sort(place)}, title),
  );
  const headings = buttons.map((button) => el('th', {scope: 'col'}, button));

  /** @param {number} by  a score's place */
  function sort(by) {
    const {values} = parts[by];
    const key = (/** @type {number} */ at) => (Number.isNaN(values[at]) ? -Infinity : values[at]);
    const order = [...heads].sort((a, b) => key(b) - key(a)).slice(0, MOST);
    headings.forEach((heading, place) =>
      heading.setAttribute('aria-sort', place === by ? 'descending' : 'none'),
    );
    body.replaceChildren(
      ...order.map((at) => {
        const row = Math.floor(at / columns.labels.length);
        const column = at % columns.labels.length;
        const top = parts[by].top(row, column).filter(({token}) => token);
        return el(
          'tr',
          {},
          el('th', {scope: 'row'}, `L${rows.labels[row]}H${columns.labels[column]}`),
          ...parts.map((part) => el('td', {className: 'value'}, number(part.values[at]))),
          el(
            'td',
            {
              className: 'texts',
              title: top.map(({token, value}) => `${number(value)} ${token}`).join('\n'),
            },
            ...(top.length
              ? [`${number(top[0].value)} `, el('code', {}, visible(top[0].token))]
              : []),
          ),
        );
      }),
    );
  }
  sort(0);
  return el(
    'table',
    {className: 'heads'},
    el(
      'thead',
      {},
      el(
        'tr',
        {},
        el('th', {scope: 'col'}, 'head'),
        ...headings,
        el('th', {scope: 'col'}, 'the prompt with the largest score of the sorted column'),
      ),
    ),
    body,
  );
}
