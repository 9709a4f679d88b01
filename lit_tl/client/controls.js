// @ts-check
/** The settings of an analysis as controls. */
import {choice, el, toggle} from './dom.js';

/**
 * @typedef {Record<string, any>} Spec  LIT types by setting
 * @typedef {Record<string, [string, string[]]>} OnlyWith  another setting, and those of its values
 *   beside which this one does something
 * @typedef {Record<string, Record<string, string>>} Unavailable  the reason, by setting and value
 */

/**
 * What a control of an interpreter's `config_spec` is.
 * @param {any} field  a LIT type
 * @returns {'choice'|'switch'|'number'|'text'}
 */
export function kindOf(field) {
  if (Array.isArray(field.vocab)) return 'choice';
  if (typeof field.default === 'boolean') return 'switch';
  return 'min_val' in field ? 'number' : 'text';
}

/**
 * Settings with a value each that is allowed.
 * @param {Spec} spec @param {OnlyWith} onlyWith @param {Record<string, unknown>} kept
 * @param {Unavailable} unavailable
 */
export function settingsOf(spec, onlyWith, kept, unavailable) {
  const now = Object.fromEntries(
    Object.entries(spec).map(([key, field]) => {
      const value = kept[key] ?? field.default;
      if (kindOf(field) !== 'choice') return [key, value];
      const works = (/** @type {string} */ one) =>
        field.vocab.includes(one) && !unavailable[key]?.[one];
      const first = [value, field.default, ...field.vocab].find(works);
      return [key, first ?? field.default];
    }),
  );
  for (const key of Object.keys(onlyWith)) {
    const {default: nothing, vocab = []} = spec[key];
    if (idle(onlyWith, now, key)) now[key] = nothing;
    else if (now[key] === nothing)
      // what it goes with needs it
      now[key] =
        vocab.find(
          (/** @type {string} */ value) => value !== nothing && !unavailable[key]?.[value],
        ) ?? nothing;
  }
  return now;
}

/**
 * Why no figure can be drawn with these settings: the reason why a value can't work; or ''.
 * @param {Record<string, unknown>} now @param {Unavailable} unavailable
 */
export function hindrance(now, unavailable) {
  const reasons = Object.entries(now).map(([key, value]) => unavailable[key]?.[String(value)]);
  return reasons.find(Boolean) ?? '';
}

/**
 * Why a setting does nothing, or ''.
 * @param {OnlyWith} onlyWith @param {Record<string, unknown>} now @param {string} key
 */
function idle(onlyWith, now, key) {
  const [other, values] = onlyWith[key] ?? ['', []];
  if (!other || values.includes(String(now[other]))) return '';
  return `It goes with ${other.replace(/_/g, ' ')} ${values.join(', ')}.`;
}

/**
 * @param {Spec} spec @param {OnlyWith} onlyWith @param {Record<string, unknown>} now
 * @param {Unavailable} unavailable
 * @param {(key: string, value: unknown) => void} change
 * @param {Record<string, string>} names  of values that say more
 * @param {string[]} sliders  numbers that are drawn, and not typed in
 * @returns {HTMLElement[]}
 */
export function controls(spec, onlyWith, now, unavailable, change, names = {}, sliders = []) {
  return Object.entries(spec).map(([key, field]) => {
    const control = sliders.includes(key)
      ? slider(key, field, now[key], change)
      : one(key, field, now[key], change);
    const why = idle(onlyWith, now, key);
    const input = /** @type {HTMLInputElement|HTMLSelectElement} */ (
      control.querySelector('select, input')
    );
    input.disabled = Boolean(why);
    if (why) control.title = why;
    for (const option of control.querySelectorAll('option')) {
      const reason = unavailable[key]?.[option.value];
      if (!reason) {
        option.textContent = names[option.value] ?? option.value;
        continue;
      }
      option.disabled = true;
      option.title = reason;
      option.textContent = `${option.value} (${reason})`;
    }
    return control;
  });
}

/**
 * A number between two bounds, which stands beside the slider.
 * @param {string} key @param {any} field @param {unknown} value
 * @param {(key: string, value: unknown) => void} change
 * @returns {HTMLElement}
 */
function slider(key, field, value, change) {
  const label = key.replace(/_/g, ' ');
  const shown = el('output', {}, String(value));
  const input = el('input', {
    type: 'range',
    'aria-label': label,
    min: field.min_val,
    max: field.max_val,
    step: 1,
    value: String(value),
    oninput: () => (shown.textContent = input.value),
    onchange: () => change(key, Number(input.value)),
  });
  return el('label', {className: 'control'}, label, input, shown);
}

/**
 * @param {string} key @param {any} field @param {unknown} value
 * @param {(key: string, value: unknown) => void} change
 * @returns {HTMLElement}
 */
function one(key, field, value, change) {
  const label = key.replace(/_/g, ' ');
  const kind = kindOf(field);
  if (kind === 'choice')
    return choice(label, field.vocab, String(value), (next) => change(key, next));
  if (kind === 'switch') return toggle(label, Boolean(value), (on) => change(key, on));
  const numeric = kind === 'number';
  const input = el('input', {
    type: numeric ? 'number' : 'text',
    'aria-label': label,
    value: String(value ?? ''),
    onchange: () => {
      if (numeric && !input.value)
        input.value = String(value); // no number: as it was
      else change(key, numeric ? Number(input.value) : input.value);
    },
  });
  if (numeric) Object.assign(input, {min: field.min_val, max: field.max_val});
  return el('label', {className: 'control'}, label, input);
}
