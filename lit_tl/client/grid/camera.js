// @ts-check
/**
 * What of a matrix is on screen: the size of its cells and where the window on it begins, in
 * pixels. Rows and columns are counted as they are seen, from the top left.
 */
/** The greatest cell, in pixels. */
export const MOST = {width: 160, height: 36};
const READABLE = {least: 36, width: 56, height: 12, most: 2};

export class Camera {
  /** The window's size in pixels, and the number of cells. */
  width = 1;
  height = 1;
  columns = 1;
  rows = 1;
  /** A cell's size, and the place of the window. */
  cellWidth = 1;
  cellHeight = 1;
  x = 0;
  y = 0;
  /** Whether somebody has zoomed or moved, so that a new size of the window keeps what is seen. */
  moved = false;

  /**
   * @param {boolean} written  whether cells have a text, which wants room
   * @param {boolean} square  whether cells are as wide as high
   */
  constructor(written, square) {
    this.written = written;
    this.square = square;
  }

  /** @param {{width?: number, height?: number, rows?: number, columns?: number}} sizes */
  resize(sizes) {
    Object.assign(this, sizes);
    if (!this.moved) this.start();
    else this.zoom(1, 0, 0);
  }

  /** The whole matrix. */
  get least() {
    return {width: this.width / this.columns, height: this.height / this.rows};
  }

  /** Everything, or where cells have a text that would not be read, the end of it at a size that is. */
  start() {
    const {least} = this;
    this.moved = false;
    this.cellHeight = Math.min(MOST.height, least.height);
    this.cellWidth = Math.min(MOST.width, least.width);
    if (this.written) {
      // a scroll away is near, ten are not
      const {height, most} = READABLE;
      if (this.cellHeight < height && this.rows * height <= most * this.height)
        this.cellHeight = height;
      if (this.cellHeight >= height && this.cellWidth < READABLE.least)
        this.cellWidth = READABLE.width;
    }
    if (this.square) this.cellWidth = this.cellHeight = Math.min(this.cellWidth, this.cellHeight);
    this.x = Infinity;
    this.y = 0; // the last layer, or the first token
    this.#clamp();
  }

  /** Everything. */
  all() {
    const {least} = this;
    this.moved = true;
    this.cellWidth = Math.min(MOST.width, least.width);
    this.cellHeight = Math.min(MOST.height, least.height);
    if (this.square) this.cellWidth = this.cellHeight = Math.min(this.cellWidth, this.cellHeight);
    this.#clamp();
  }

  /**
   * Make cells larger, and keep what is at a point there.
   * @param {number} by @param {number} x @param {number} y  in the window
   */
  zoom(by, x, y) {
    const {least} = this;
    const [column, row] = [(this.x + x) / this.cellWidth, (this.y + y) / this.cellHeight];
    const fit = {
      width: Math.min(MOST.width, least.width),
      height: Math.min(MOST.height, least.height),
    };
    if (this.square) fit.width = fit.height = Math.min(fit.width, fit.height);
    this.cellWidth = Math.min(MOST.width, Math.max(fit.width, this.cellWidth * by));
    this.cellHeight = Math.min(MOST.height, Math.max(fit.height, this.cellHeight * by));
    if (this.square) this.cellWidth = this.cellHeight = Math.min(this.cellWidth, this.cellHeight);
    this.x = column * this.cellWidth - x;
    this.y = row * this.cellHeight - y;
    if (by !== 1) this.moved = true;
    this.#clamp();
  }

  /** @param {number} x @param {number} y  where the window begins */
  move(x, y) {
    this.moved = true;
    [this.x, this.y] = [x, y];
    this.#clamp();
  }

  /** Move as little as shows a cell. @param {number} column @param {number} row */
  show(column, row) {
    const {cellWidth, cellHeight} = this;
    this.x = Math.max(Math.min(this.x, column * cellWidth), (column + 1) * cellWidth - this.width);
    this.y = Math.max(Math.min(this.y, row * cellHeight), (row + 1) * cellHeight - this.height);
    this.#clamp();
  }

  /** The part of the matrix that is on screen, as shares. */
  get seen() {
    const [width, height] = [this.columns * this.cellWidth, this.rows * this.cellHeight];
    return {
      left: this.x / width,
      top: this.y / height,
      width: Math.min(1, this.width / width),
      height: Math.min(1, this.height / height),
    };
  }

  /** The cell at a point of the window. @param {number} x @param {number} y */
  cellAt(x, y) {
    const column = Math.floor((this.x + x) / this.cellWidth);
    const row = Math.floor((this.y + y) / this.cellHeight);
    return column >= 0 && row >= 0 && column < this.columns && row < this.rows
      ? {column, row}
      : null;
  }

  #clamp() {
    const far = (/** @type {number} */ whole, /** @type {number} */ part) =>
      Math.max(0, whole - part);
    this.x = Math.max(0, Math.min(far(this.columns * this.cellWidth, this.width), this.x));
    this.y = Math.max(0, Math.min(far(this.rows * this.cellHeight, this.height), this.y));
  }
}
