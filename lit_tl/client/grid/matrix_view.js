// @ts-check
/** One matrix on screen: cells in a canvas, labels of both axes, and all of it small above. */
import {el} from '../dom.js';
import {Camera, MOST} from './camera.js';
import {cardOf, place} from './card.js';
import {drawLabels, widthOf} from './labels.js';
import {Painter} from './painter.js';

/**
 * @typedef {import('./data.js').Part} Part
 * @typedef {import('./card.js').Cell} Cell
 * @typedef {object} Surroundings
 * @property {HTMLElement} box  in which cards stay
 * @property {import('./link.js').Link} link
 * @property {string} label  what people who do not see the page are told
 * @property {(cell: Cell) => void} choose  when a cell is held
 * @property {() => Cell} [chosen]  the cell that is chosen for good; then no card is held
 */
const ACROSS = 64; // pixels for labels across
const KEYS =
  'Arrow keys move, Enter holds the card, Escape lets go, plus and minus zoom, 0 shows all.';
/** @type {Record<string, [number, number]>} how far a key goes to the right and down */
const STEPS = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
  PageUp: [0, -10],
  PageDown: [0, 10],
  Home: [-Infinity, 0],
  End: [Infinity, 0],
};

export class MatrixView {
  #canvas = el('canvas', {});
  #mark = el('div', {className: 'cursor', hidden: true});
  #chosen = el('div', {className: 'cursor held', hidden: true});
  #window = el('div', {className: 'window'});
  #small = el('canvas', {});
  #overview = el('div', {className: 'overview', 'aria-hidden': 'true'}, this.#small, this.#window);
  #down = el('div', {className: 'labels down', 'aria-hidden': 'true'});
  #across = el('div', {className: 'labels across', 'aria-hidden': 'true'});
  #spoken = el('div', {className: 'spoken', role: 'status'});
  #card = el('div', {className: 'card', hidden: true});
  #frame = 0;

  /** @param {Part} part @param {Surroundings} around */
  constructor(part, around) {
    this.part = part;
    this.around = around;
    const square = part.rows.tokens === true && part.columns.tokens === true;
    this.camera = new Camera(part.text !== null, square);
    this.painter = new Painter(part, {low: 0, high: 1}, {first: 'shown', template: 'shown'});
    this.view = el(
      'div',
      {
        className: 'view',
        tabIndex: 0,
        role: 'application',
        'aria-roledescription': 'grid',
        'aria-label': `${around.label} ${KEYS}`,
      },
      this.#canvas,
      this.#chosen,
      this.#mark,
    );
    const frame = el('div', {className: 'frame'}, this.#down, this.view, this.#across);
    frame.style.gridTemplateColumns = `${widthOf(part.rows)}px minmax(0, 1fr)`;
    // labels stand right below the cells, which have a greatest size
    const most = MOST.height * part.rows.labels.length;
    frame.style.gridTemplateRows = `minmax(0, ${most}px) ${ACROSS}px`;
    this.figure = el(
      'figure',
      {className: 'matrix'},
      part.title ? el('figcaption', {}, part.title) : null,
      this.#overview,
      frame,
      this.#spoken,
    );
    around.box.append(this.#card);
    this.#listen();
    this.sized = new ResizeObserver(() => {
      if (!this.view.clientWidth) return;
      this.camera.resize({width: this.view.clientWidth, height: this.view.clientHeight});
      const {cell, held} = around.link.pointed;
      const place = cell && held && this.painter.placeOf(cell);
      if (place) this.camera.show(place.column, place.row);
      this.#redraw();
    });
    this.sized.observe(this.view);
    this.leave = around.link.join((kind, by) => {
      const there = around.link.window;
      if (kind === 'window' && by !== this && there) {
        const {cellWidth, cellHeight, left, top} = there;
        Object.assign(this.camera, {cellWidth, cellHeight});
        this.camera.move(left * cellWidth, top * cellHeight);
      }
      this.#redraw();
    });
  }

  /**
   * Colours anew.
   * @param {{low: number, high: number}} span @param {import('./aside.js').Aside} aside
   */
  colour(span, aside) {
    this.painter = new Painter(this.part, span, aside);
    const {columns, rows} = this.painter;
    this.camera.resize({columns, rows});
    this.#redraw();
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.sized.disconnect();
    this.leave();
    this.#card.remove();
  }

  #redraw() {
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const {camera, painter} = this;
    painter.draw(this.#canvas, camera);
    const {cell} = this.around.link.pointed;
    const {rows, columns} = this.part;
    const place = cell && painter.placeOf(cell);
    drawLabels(this.#down, rows, painter.shown.rows, {
      from: camera.y,
      size: camera.cellHeight,
      room: camera.height,
      chosen: place && place.row,
      across: false,
    });
    drawLabels(this.#across, columns, painter.shown.columns, {
      from: camera.x,
      size: camera.cellWidth,
      room: camera.width,
      chosen: place && place.column,
      across: true,
    });
    this.#drawOverview();
    this.#drawCursor();
  }

  #drawOverview() {
    const {left, top, width, height} = this.camera.seen;
    this.#overview.hidden = width >= 1 && height >= 1;
    if (this.#overview.hidden) return;
    this.painter.drawSmall(this.#small, this.#overview.clientWidth, this.#overview.clientHeight);
    const share = (/** @type {number} */ part) => `${100 * part}%`;
    Object.assign(this.#window.style, {
      left: share(left),
      top: share(top),
      width: share(width),
      height: share(height),
    });
  }

  #drawCursor() {
    const {cell, held, by} = this.around.link.pointed;
    const {painter} = this;
    const here = cell && painter.placeOf(cell);
    const chosen = this.around.chosen?.();
    const there = chosen && painter.placeOf(chosen);
    this.#chosen.hidden = !there;
    if (there) this.#outline(this.#chosen, there);
    this.#mark.hidden = !here;
    this.#card.hidden = !here || by !== this;
    if (!cell || !here) return;
    const {left, top, right, bottom} = this.#outline(this.#mark, here);
    this.#mark.classList.toggle('held', held);
    if (this.#card.hidden) return;
    this.#card.classList.toggle('held', held);
    const card = cardOf(this.part, cell, held ? () => this.#release() : null);
    this.#card.replaceChildren(...card.filter((node) => node !== null));
    const corner = this.view.getBoundingClientRect();
    place(this.#card, this.around.box, {
      left: corner.left + left,
      top: corner.top + top,
      right: corner.left + right,
      bottom: corner.top + bottom,
    });
  }

  /** @param {HTMLElement} mark @param {Cell} place  from the top left */
  #outline(mark, place) {
    const {cellWidth, cellHeight, x, y} = this.camera;
    const left = place.column * cellWidth - x;
    const top = place.row * cellHeight - y;
    Object.assign(mark.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${cellWidth}px`,
      height: `${cellHeight}px`,
    });
    return {left, top, right: left + cellWidth, bottom: top + cellHeight};
  }

  #release() {
    this.around.link.point(null, false, this);
    this.view.focus();
  }

  /** @param {MouseEvent} event @returns {Cell|null} */
  #cellOf({clientX, clientY}) {
    const {left, top} = this.view.getBoundingClientRect();
    const seen = this.camera.cellAt(clientX - left, clientY - top);
    return seen && this.painter.cellAt(seen);
  }

  /** @param {Cell} cell */
  #hold(cell) {
    this.around.choose(cell);
    this.around.link.point(cell, !this.around.chosen, this);
  }

  #moved() {
    this.around.link.look(this.camera, this);
    this.#redraw();
  }

  #listen() {
    const {view, around} = this;
    const {link} = around;
    view.addEventListener('mousemove', (event) => {
      if (link.pointed.held) return;
      const cell = this.#cellOf(event);
      const {cell: before} = link.pointed;
      if (cell?.row !== before?.row || cell?.column !== before?.column)
        link.point(cell, false, this);
    });
    view.addEventListener('mouseleave', () => {
      if (!link.pointed.held) link.point(null, false, this);
    });
    view.addEventListener('click', (event) => {
      const cell = this.#cellOf(event);
      if (cell) this.#hold(cell);
    });
    view.addEventListener('wheel', (event) => this.#wheel(event), {passive: false});
    view.addEventListener('keydown', (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (this.#key(event.key)) event.preventDefault();
    });
    const overview = this.#overview;
    overview.addEventListener('pointerdown', (event) => {
      overview.setPointerCapture(event.pointerId);
      this.#dragTo(event);
    });
    overview.addEventListener('pointermove', (event) => {
      if (overview.hasPointerCapture(event.pointerId)) this.#dragTo(event);
    });
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const {camera} = this;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      camera.move(camera.x + (event.deltaX || event.deltaY), camera.y);
    } else {
      const {left, top} = this.view.getBoundingClientRect();
      camera.zoom(Math.exp(-event.deltaY / 400), event.clientX - left, event.clientY - top);
    }
    this.#moved();
  }

  /** The window's middle comes to the pointer. @param {PointerEvent} event */
  #dragTo({clientX, clientY}) {
    const {camera} = this;
    const {left, top, width, height} = this.#overview.getBoundingClientRect();
    camera.move(
      ((clientX - left) / width) * camera.columns * camera.cellWidth - camera.width / 2,
      ((clientY - top) / height) * camera.rows * camera.cellHeight - camera.height / 2,
    );
    this.#moved();
  }

  /** @param {string} name @returns {boolean} whether the key is one of ours */
  #key(name) {
    const {camera, around} = this;
    const {cell} = around.link.pointed;
    if (name in STEPS) this.#step(...STEPS[name]);
    else if (name === '+' || name === '=' || name === '-') {
      camera.zoom(name === '-' ? 1 / 1.5 : 1.5, camera.width / 2, camera.height / 2);
      this.#moved();
    } else if (name === '0') {
      camera.all();
      this.#moved();
    } else if (name === 'Escape') around.link.point(null, false, this);
    else if (cell && (name === 'Enter' || name === ' ')) this.#hold(cell);
    else return false;
    return true;
  }

  /** @param {number} right @param {number} down */
  #step(right, down) {
    const {camera, painter, around} = this;
    const {cell} = around.link.pointed;
    const last = {column: painter.columns - 1, row: painter.rows - 1};
    const place = cell && painter.placeOf(cell);
    const from = place ?? {...last, row: this.part.rows.upwards ? 0 : last.row};
    const within = (/** @type {number} */ at, /** @type {number} */ most) =>
      Math.max(0, Math.min(most, at));
    const column = within(from.column + (place ? right : 0), last.column);
    const row = within(from.row + (place ? down : 0), last.row);
    camera.show(column, row);
    around.link.point(painter.cellAt({row, column}), false, this);
    this.#moved();
    this.#draw();
    this.#spoken.textContent = this.#card.textContent;
  }
}
