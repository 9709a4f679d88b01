// @ts-check
/** Cells of a matrix as pixels, and what is written in them. */
import {visible} from '../tokens.js';
import {kept} from './aside.js';
import {ink, picture} from './colours.js';

/** @typedef {import('./data.js').Part} Part */
const TEXT = {height: 11, width: 26}; // cells that are smaller stay without

export class Painter {
  #image;
  #drawn = '';
  #seen;

  /**
   * @param {Part} part
   * @param {{low: number, high: number}} span  of the colours
   * @param {import('./aside.js').Aside} aside
   */
  constructor(part, span, aside) {
    this.part = part;
    this.span = span;
    const rows = kept(part.rows, aside);
    this.shown = {
      columns: kept(part.columns, aside),
      rows: part.rows.upwards ? rows.reverse() : rows,
    };
    this.#seen = {columns: turned(this.shown.columns), rows: turned(this.shown.rows)};
    this.#image = picture(part, span, this.shown);
  }

  get columns() {
    return this.shown.columns.length;
  }

  get rows() {
    return this.shown.rows.length;
  }

  /** The cell of the matrix at a place from the top left. @param {import('./card.js').Cell} seen */
  cellAt({row, column}) {
    return {row: this.shown.rows[row], column: this.shown.columns[column]};
  }

  /**
   * Where a cell of the matrix is, from the top left; null where it is not shown.
   * @param {import('./card.js').Cell} cell
   */
  placeOf({row, column}) {
    const [down, across] = [this.#seen.rows.get(row), this.#seen.columns.get(column)];
    return down === undefined || across === undefined ? null : {row: down, column: across};
  }

  /**
   * @param {HTMLCanvasElement} canvas @param {import('./camera.js').Camera} camera
   */
  draw(canvas, camera) {
    const {width, height, cellWidth, cellHeight, x, y} = camera;
    const ratio = devicePixelRatio || 1;
    const size = {width: Math.round(width * ratio), height: Math.round(height * ratio)};
    if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.imageSmoothingEnabled = cellWidth < 1 || cellHeight < 1;
    this.#put(pen, -x, -y, this.columns * cellWidth, this.rows * cellHeight);
    if (this.part.marked) this.#mark(pen, camera);
    if (this.part.text && cellHeight >= TEXT.height && cellWidth >= TEXT.width)
      this.#write(pen, camera);
  }

  /** The whole matrix. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
  drawSmall(canvas, width, height) {
    if (this.#drawn === `${width} ${height}`) return;
    this.#drawn = `${width} ${height}`;
    Object.assign(canvas, {width, height});
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    pen.imageSmoothingEnabled = width < this.columns || height < this.rows;
    this.#put(pen, 0, 0, width, height);
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {number} left @param {number} top @param {number} width @param {number} height
   */
  #put(pen, left, top, width, height) {
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(this.#image, 0, 0, this.columns, this.rows, left, top, width, height);
  }

  /**
   * A corner of the cells that are to be looked at.
   * @param {CanvasRenderingContext2D} pen @param {import('./camera.js').Camera} camera
   */
  #mark(pen, {width, height, cellWidth, cellHeight, x, y}) {
    const size = Math.min(7, cellWidth / 2, cellHeight / 2);
    const {columns} = this.part;
    pen.fillStyle = '#202124';
    for (const [at, on] of (this.part.marked ?? []).entries()) {
      if (!on) continue;
      const across = columns.labels.length;
      const place = this.placeOf({row: Math.floor(at / across), column: at % across});
      if (!place) continue;
      const [left, top] = [place.column * cellWidth - x, place.row * cellHeight - y];
      if (left < -cellWidth || top < -cellHeight || left > width || top > height) continue;
      pen.beginPath();
      pen.moveTo(left + cellWidth - size, top);
      pen.lineTo(left + cellWidth, top);
      pen.lineTo(left + cellWidth, top + size);
      pen.fill();
    }
  }

  /** @param {CanvasRenderingContext2D} pen @param {import('./camera.js').Camera} camera */
  #write(pen, {width, height, cellWidth, cellHeight, x, y}) {
    const {part} = this;
    const text = /** @type {(row: number, column: number) => string} */ (part.text);
    pen.font = '11px Roboto, sans-serif';
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    const lastRow = Math.min(this.rows - 1, Math.floor((y + height) / cellHeight));
    const lastColumn = Math.min(this.columns - 1, Math.floor((x + width) / cellWidth));
    for (let seen = Math.floor(y / cellHeight); seen <= lastRow; seen++) {
      for (let at = Math.floor(x / cellWidth); at <= lastColumn; at++) {
        const {row, column} = this.cellAt({row: seen, column: at});
        pen.fillStyle = ink(
          part,
          this.span,
          part.values[row * part.columns.labels.length + column],
        );
        pen.fillText(
          fitting(pen, visible(text(row, column)), cellWidth - 4),
          (at + 0.5) * cellWidth - x,
          (seen + 0.5) * cellHeight - y,
        );
      }
    }
  }
}

/** Where each of some places is among them. @param {number[]} places */
const turned = (places) => new Map(places.map((place, seen) => [place, seen]));

/** @type {Map<string, string>} */
const cut = new Map();

/**
 * A text, or so much of it as fits.
 * @param {CanvasRenderingContext2D} pen @param {string} text @param {number} room  in pixels
 */
function fitting(pen, text, room) {
  const known = `${Math.round(room)}\0${text}`;
  let fits = cut.get(known);
  if (fits === undefined) {
    fits = text;
    for (let end = text.length - 1; end > 0 && pen.measureText(fits).width > room; end--)
      fits = `${text.slice(0, end)}…`;
    if (cut.size > 20000) cut.clear();
    cut.set(known, fits);
  }
  return fits;
}
