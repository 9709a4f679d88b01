// @ts-check
/** LIT's table shows what the model makes of a prompt right beside its text. */
const FIRST = ['text', 'answer', 'foil'];
/** The numbers by which readers sort. */
export const ASKED_FIRST = ['loss', 'answer_rank', 'answer_prob'];

export function mendTable() {
  const module = customElements.get('data-table-module')?.prototype;
  const keys = module && Object.getOwnPropertyDescriptor(module, 'keys');
  if (!keys?.get) return;
  Object.defineProperty(module, 'keys', {
    ...keys,
    get() {
      return ordered(/** @type {any} */ (keys.get).call(this));
    },
  });
}

/**
 * First what identifies a prompt, then the model's numbers, by which readers sort, then the rest.
 * @param {{name: string}[]} columns
 */
function ordered(columns) {
  const place = (/** @type {string} */ name) => {
    const own = FIRST.indexOf(name);
    if (own >= 0) return own;
    const [, field] = name.split(':');
    const asked = ASKED_FIRST.indexOf(field);
    if (asked >= 0) return 10 + asked;
    return field ? 20 : 30;
  };
  return columns
    .map((column, i) => ({column, i}))
    .sort((a, b) => place(a.column.name) - place(b.column.name) || a.i - b.i)
    .map(({column}) => column);
}
