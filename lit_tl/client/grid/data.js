// @ts-check
/**
 * A grid as it travels, and as numbers.
 *
 * @typedef {{name: string, labels: string[], tokens?: boolean, upwards?: boolean,
 *   roles?: string[]}} Axis  `tokens`: its labels are a prompt's tokens; `upwards`: the first is at
 *   the bottom; `roles`: of each token of a conversation
 * @typedef {{kind: 'linear'|'log'|'root'|'diverging', low: number|null, high: number|null,
 *   table: string, unit: string, name: string}} Colours  `table`: 256 colours of 3 bytes; `low` and
 *   `high`: null where the numbers decide
 * @typedef {{title: string, values: string, rows?: Axis, columns?: Axis, colours?: Colours,
 *   top?: {count: number, ids: string, values: string}, beside?: Record<string, string>,
 *   marked?: string, said?: string,
 *   reaches?: string[]}} PartText
 * @typedef {{title: string, rows: Axis, columns: Axis, parts: PartText[], strings: string[],
 *   colours: Colours, detail: string}} GridText
 *
 * @typedef {object} Part  one matrix
 * @property {string} title
 * @property {Axis} rows @property {Axis} columns
 * @property {Float32Array} values  row after row; NaN where there is none
 * @property {Colours} colours
 * @property {((row: number, column: number) => string)|null} text  what stands in a cell
 * @property {(row: number, column: number) => {token: string, value: number}[]} top
 * @property {Record<string, Float32Array>} beside  further numbers, by name
 * @property {Uint8Array|null} marked  1 for a cell that is to be looked at
 * @property {string} said  of all cells
 * @property {string[]} reaches  where a change of a cell can be seen, by row, or once for all
 */

/** @param {string} text base64 @returns {ArrayBuffer} */
export function buffer(text) {
  const native = /** @type {any} */ (Uint8Array).fromBase64; // of browsers since 2025
  if (native) return /** @type {ArrayBuffer} */ (native.call(Uint8Array, text).buffer);
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return /** @type {ArrayBuffer} */ (bytes.buffer);
}

/**
 * Something that is made when it is first asked for: a large grid has millions of tokens, few of
 * which are looked at.
 * @template T
 * @param {() => T} make @returns {() => T}
 */
function once(make) {
  /** @type {{value: T}|null} */
  let made = null;
  return () => (made ??= {value: make()}).value;
}

/** @param {GridText} grid @returns {Part[]} */
export function decode(grid) {
  return grid.parts.map((part) => {
    const rows = part.rows ?? grid.rows;
    const columns = part.columns ?? grid.columns;
    const {top} = part;
    const ids = once(() => new Uint32Array(buffer(top?.ids ?? '')));
    const shares = once(() => new Float32Array(buffer(top?.values ?? '')));
    const at = (/** @type {number} */ row, /** @type {number} */ column) =>
      (row * columns.labels.length + column) * (top?.count ?? 0);
    return {
      title: part.title,
      rows,
      columns,
      values: new Float32Array(buffer(part.values)),
      colours: part.colours ?? grid.colours,
      beside: Object.fromEntries(
        Object.entries(part.beside ?? {}).map(([name, text]) => [
          name,
          new Float32Array(buffer(text)),
        ]),
      ),
      marked: part.marked ? new Uint8Array(buffer(part.marked)) : null,
      said: part.said ?? '',
      reaches: part.reaches ?? [],
      text: top ? (row, column) => grid.strings[ids()[at(row, column)]] : null,
      top: (row, column) =>
        Array.from({length: top?.count ?? 0}, (_, i) => ({
          token: grid.strings[ids()[at(row, column) + i]],
          value: shares()[at(row, column) + i],
        })),
    };
  });
}
