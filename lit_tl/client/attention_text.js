// @ts-check
import {el} from './dom.js';
import {number, tokenStrip, visible} from './tokens.js';

const LINES = 10;
const SVG = 'http://www.w3.org/2000/svg';

/**
 * The prompt as text: from the token that is pointed at, lines go to those that it looks at.
 * @param {import('./grid/data.js').Part} part  query by key
 * @param {import('./grid/link.js').Link} link  to the matrix
 */
export function attentionText({values, rows, columns}, link) {
  const tokens = columns.labels;
  const size = rows.labels.length;
  const lines = document.createElementNS(SVG, 'svg');
  lines.setAttribute('aria-hidden', 'true');
  const readout = el('p', {className: 'readout', 'aria-live': 'polite'});
  const me = {};
  const strip = tokenStrip(tokens, {
    label: 'The prompt: a token shows where it looks, and who looks at it',
    roles: columns.roles,
    focus: (pos) => link.point({row: pos, column: pos}, false, me),
    choose: (pos) => link.point({row: pos, column: pos}, true, me),
  });
  const box = el('div', {className: 'text-view'}, readout, strip.box);
  strip.box.append(lines);

  /** @param {number} query */
  function lookAt(query) {
    const row = tokens.map((_, key) => values[query * size + key] || 0);
    const column = tokens.map((_, other) => values[other * size + query] || 0);
    const [most, mostSeen] = [Math.max(...row), Math.max(...column)];
    strip.buttons.forEach((button, i) => {
      button.style.backgroundColor = `rgba(0, 137, 123, ${((0.7 * row[i]) / (most || 1)).toFixed(3)})`;
      const seen = column[i] / (mostSeen || 1);
      button.style.borderBottomColor = `rgba(230, 81, 0, ${seen.toFixed(3)})`;
      button.classList.toggle('chosen', i === query);
    });
    const strongest = strongestOf(row);
    const listed = strongest
      .slice(0, 5)
      .map((pos) => `${pos} ${visible(tokens[pos])} ${number(row[pos])}`)
      .join(',  ');
    readout.replaceChildren(
      el('b', {}, `${query} ${visible(tokens[query])}`),
      ` looks at: ${listed || 'nothing'}`,
    );
    drawLines(query, strongest, row, most);
  }

  /**
   * @param {number} query @param {number[]} keys @param {number[]} row @param {number} most
   */
  function drawLines(query, keys, row, most) {
    const around = strip.box.getBoundingClientRect();
    lines.setAttribute('width', `${strip.box.scrollWidth}`);
    lines.setAttribute('height', `${strip.box.scrollHeight}`);
    const middle = (/** @type {number} */ pos) => {
      const {left, right, top} = strip.buttons[pos].getBoundingClientRect();
      return [
        (left + right) / 2 - around.left + strip.box.scrollLeft,
        top - around.top + strip.box.scrollTop + 2,
      ];
    };
    const [x, y] = middle(query);
    const paths = keys
      .filter((key) => key !== query)
      .map((key) => {
        const [toX, toY] = middle(key);
        const path = document.createElementNS(SVG, 'path');
        const rise = Math.min(y, toY) - Math.min(24, 6 + Math.abs(x - toX) / 8);
        path.setAttribute('d', `M${x},${y} C${x},${rise} ${toX},${rise} ${toX},${toY}`);
        path.setAttribute('stroke-width', `${(0.5 + (3.5 * row[key]) / most).toFixed(2)}`);
        return path;
      });
    lines.replaceChildren(...paths);
  }

  let frame = 0;
  const leave = link.join((kind) => {
    if (kind !== 'cell' || !link.pointed.cell) return;
    const {row} = link.pointed.cell;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => lookAt(Math.min(row, size - 1)));
  });
  frame = requestAnimationFrame(() => lookAt(size - 1));
  return {
    box,
    close: () => {
      leave();
      cancelAnimationFrame(frame);
    },
  };
}

/** Places of the greatest values, greatest first. @param {number[]} values */
function strongestOf(values) {
  return values
    .map((value, pos) => ({value, pos}))
    .filter(({value}) => value > 0)
    .sort((a, b) => b.value - a.value)
    .slice(0, LINES)
    .map(({pos}) => pos);
}
