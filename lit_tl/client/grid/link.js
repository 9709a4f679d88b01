// @ts-check
/**
 * What grids that stand beside each other share: the cell that is pointed at or held, the window,
 * and the scale of their colours.
 * @typedef {{parts: import('./data.js').Part[], colour: () => void}} Coloured
 * @typedef {{cell: import('./card.js').Cell|null, held: boolean, by: object|null}} Pointed
 */
export class Link {
  /** @type {Pointed} */
  pointed = {cell: null, held: false, by: null};
  #listeners = new Set(/** @type {((kind: 'cell'|'window', by: object) => void)[]} */ ([]));
  /** @type {{left: number, top: number, cellWidth: number, cellHeight: number}|null} */
  window = null;

  /** @type {Set<Coloured>} */
  grids = new Set();

  /** A grid comes: nothing is pointed at any more. @param {Coloured} grid */
  enter(grid) {
    this.pointed = {cell: null, held: false, by: null};
    this.grids.add(grid);
    for (const each of this.grids) each.colour();
    return () => {
      this.grids.delete(grid);
      this.pointed = {cell: null, held: false, by: null};
      for (const each of this.grids) each.colour();
    };
  }

  /** @param {(kind: 'cell'|'window', by: object) => void} listener */
  join(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {import('./card.js').Cell|null} cell @param {boolean} held @param {object} by */
  point(cell, held, by) {
    this.pointed = {cell, held, by};
    for (const listener of this.#listeners) listener('cell', by);
  }

  /** @param {import('./camera.js').Camera} camera @param {object} by */
  look(camera, by) {
    const {x, y, cellWidth, cellHeight} = camera;
    this.window = {left: x / cellWidth, top: y / cellHeight, cellWidth, cellHeight};
    for (const listener of this.#listeners) listener('window', by);
  }
}

/** @type {Map<string, Link>} */
const links = new Map();

/**
 * The link of grids in panels beside each other.
 * @param {string} name  of what they show
 */
export function linkOf(name) {
  const link = links.get(name) ?? new Link();
  links.set(name, link);
  return link;
}
