// @ts-check
/** A walk through the page, which can be ended at any time. */
import {el} from './dom.js';

/** @typedef {{at: () => Element|null|undefined, says: string}} Stop */

const GAP = 12;
/** @type {(() => void)|null} */
let end = null;

/** @param {Stop[]} stops */
export function startTour(stops) {
  end?.();
  let now = 0;
  const before = /** @type {HTMLElement|null} */ (document.activeElement);
  const frame = el('div', {className: 'lit-tl-tour-frame'});
  const count = el('p', {className: 'count'});
  const text = el('p', {'aria-live': 'polite'});
  const go = (/** @type {number} */ to) => {
    if (to >= stops.length) return end?.();
    now = Math.max(0, to);
    show();
  };
  const back = el('button', {type: 'button', onclick: () => go(now - 1)}, 'Back');
  const next = el('button', {type: 'button', onclick: () => go(now + 1)}, 'Next');
  const close = el('button', {type: 'button', onclick: () => end?.()}, 'End tour');
  const box = el(
    'div',
    {
      className: 'lit-tl-tour',
      role: 'dialog',
      'aria-label': 'Tour',
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === 'Escape') end?.();
      },
    },
    count,
    text,
    el('div', {className: 'buttons'}, close, back, next),
  );
  const show = () => {
    const {at, says} = stops[now];
    count.textContent = `${now + 1} of ${stops.length}`;
    text.textContent = says;
    back.disabled = now === 0;
    next.textContent = now === stops.length - 1 ? 'Done' : 'Next';
    place(frame, box, at()?.getBoundingClientRect());
  };
  end = () => {
    end = null;
    frame.remove();
    box.remove();
    window.removeEventListener('resize', show);
    before?.focus();
  };
  document.body.append(frame, box);
  window.addEventListener('resize', show);
  show();
  next.focus();
}

/**
 * The frame around what is spoken of; the box where there is room beside it, or else in it.
 * @param {HTMLElement} frame @param {HTMLElement} box @param {DOMRect|undefined} around
 */
function place(frame, box, around) {
  frame.hidden = !around?.width;
  const {left, top, right, bottom, width, height} = around ?? new DOMRect(GAP, GAP);
  Object.assign(frame.style, {
    left: `${left}px`,
    top: `${top}px`,
    width: `${width}px`,
    height: `${height}px`,
  });
  const [wide, high] = [box.offsetWidth, box.offsetHeight];
  const below = bottom + GAP + high < innerHeight;
  const above = top - GAP - high > 0;
  const y = below ? bottom + GAP : above ? top - GAP - high : top + GAP;
  const beside = right + GAP + wide < innerWidth && !below && !above;
  const x = beside ? right + GAP : Math.min(left + GAP, innerWidth - wide - GAP);
  Object.assign(box.style, {left: `${Math.max(x, GAP)}px`, top: `${Math.max(y, GAP)}px`});
}
