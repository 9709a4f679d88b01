// @ts-check
/**
 * What grids that stand beside each other share: the cell that is pointed at or held, and the
 * window.
 * @typedef {{cell: import('./card.js').Cell|null, held: boolean, by: object|null}} Pointed
 */
export class Link {
  /** @type {Pointed} */
  pointed = {cell: null, held: false, by: null};
  #listeners = new Set(/** @type {((kind: 'cell'|'window', by: object) => void)[]} */ ([]));
  /** @type {{left: number, top: number, cellWidth: number, cellHeight: number}|null} */
  window = null;

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
