// @ts-check
import {ask, go, link, state} from '../bridge/session.js';
import {el, menu} from '../dom.js';
import {save} from '../files.js';
import {Grid} from '../grid/grid.js';
import {paint} from '../plot.js';
import {sentenceOf} from '../reach.js';
import * as session from '../session.js';

/** @typedef {import('../session.js').Kept} Kept */

class SessionPanel {
  #said = el('p', {className: 'said', role: 'status'});
  #list = el('ol', {className: 'kept', 'aria-label': 'Kept figures'});
  #note = el('textarea', {
    'aria-label': 'Note on the selected prompt',
    rows: 2,
    onchange: () => session.note(this.#noted, this.#note.value),
  });
  /** The example that the note is on. */
  #noted = '';
  /** @type {Grid[]} */
  #grids = [];
  /** @type {import('../bridge.js').Example|null} */
  #example = null;
  /** @type {Kept[]|null} the figures that the list shows */
  #drawn = null;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#title = el('input', {
      type: 'text',
      'aria-label': 'Title',
      placeholder: 'Title',
      value: session.get().title,
      onchange: () => session.set({title: this.#title.value}),
    });
    root.append(
      this.#toolbar(),
      this.#said,
      el('div', {className: 'on-example'}, this.#note),
      this.#list,
    );
    this.end = session.subscribe(() => this.#draw());
    this.#draw();
  }

  /** @type {HTMLInputElement} */
  #title;

  #toolbar() {
    const button = (/** @type {string} */ text, /** @type {() => unknown} */ onclick, title = '') =>
      el('button', {type: 'button', title, onclick: () => void this.#doing(onclick)}, text);
    const file = el('input', {
      type: 'file',
      accept: '.json,application/json',
      hidden: true,
      'aria-label': 'Session file',
      onchange: () => void this.#doing(() => this.#openFile(file)),
    });
    return el(
      'div',
      {className: 'toolbar'},
      this.#title,
      button('Save', () => this.#save(), 'The whole page as a file.'),
      button('Open', () => file.click(), 'A file that was saved.'),
      file,
      button('Recent', () => this.#recent(), 'What this server has kept by itself.'),
      menu('Export', [
        button('Report (HTML)', () => this.#export('make_report', 'html')),
        button('Notebook', () => this.#export('make_notebook', 'ipynb')),
      ]),
      button('Copy link', async () => {
        await navigator.clipboard.writeText(await link());
        this.#said.textContent = 'The link is copied: it shows others on this server this page.';
      }),
    );
  }

  /** @param {() => unknown} work */
  async #doing(work) {
    this.#said.textContent = '';
    try {
      await work();
    } catch (error) {
      this.#said.textContent = sentenceOf(error);
    }
  }

  get #stem() {
    return (
      session
        .get()
        .title.replace(/[^A-Za-z0-9]+/g, '-')
        .replace(/^-|-$/g, '') || 'session'
    );
  }

  async #save() {
    const content = await ask('describe_session', {state: state()});
    const text = JSON.stringify(content, null, 2);
    const bytes = new TextEncoder().encode(text);
    const data = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
    save(`${this.#stem}.json`, {type: 'application/json', data});
  }

  /** @param {HTMLInputElement} input */
  async #openFile(input) {
    const [file] = input.files ?? [];
    input.value = '';
    if (!file) return;
    const text = await file.text();
    let content;
    try {
      content = JSON.parse(text);
    } catch {
      throw new Error(`${file.name} is no session: it is cut off, or no JSON`);
    }
    const {name} = await ask('bring_session', {session: content});
    go(name);
  }

  async #recent() {
    /** @type {{name: string, title: string, time: string, models: string[]}[]} */
    const found = await ask('list_sessions');
    if (!found.length) {
      this.#said.textContent = 'Nothing is kept yet.';
      return;
    }
    this.#said.replaceChildren(
      'Kept by itself: ',
      ...found.map(({name, title, time, models}) =>
        el(
          'button',
          {type: 'button', onclick: () => go(name)},
          `${title || models.join(', ') || 'page'}, ${new Date(time).toLocaleString()}`,
        ),
      ),
    );
  }

  /** @param {string} path @param {string} ending */
  async #export(path, ending) {
    if (!session.get().figures.length)
      throw new Error('no figure is kept yet: choose Keep beside a figure');
    this.#said.textContent = 'It is being written.';
    const file = await ask(path, {state: state()});
    save(`${this.#stem}.${ending}`, file);
    this.#said.textContent = '';
  }

  /** @param {import('../bridge.js').View} view */
  show({example}) {
    this.#example = example;
    this.#drawNote();
  }

  #drawNote() {
    const id = this.#example?.id ?? '';
    this.#note.disabled = !id;
    this.#note.placeholder = id
      ? 'A note on the selected prompt'
      : 'Select a prompt to note something on it.';
    if (
      this.#noted === id &&
      /** @type {any} */ (this.#note.getRootNode()).activeElement === this.#note
    )
      return;
    this.#noted = id;
    this.#note.value = session.get().notes[id] ?? '';
  }

  #draw() {
    const {figures, title} = session.get();
    this.#title.value = title;
    this.#drawNote();
    const drawn = this.#drawn;
    if (drawn?.length === figures.length && drawn.every((each, at) => each === figures[at])) return;
    this.#drawn = figures;
    for (const grid of this.#grids) grid.close();
    this.#grids = [];
    this.#list.replaceChildren(
      ...figures.map((figure, at) => this.#card(figure, at)),
      ...(figures.length
        ? []
        : [el('li', {className: 'empty'}, 'Figures that you keep come here, and into reports.')]),
    );
  }

  /** @param {Kept} figure @param {number} at */
  #card(figure, at) {
    const {figures} = session.get();
    const put = (/** @type {number|null} */ to) => {
      const others = figures.filter((each) => each !== figure);
      if (to !== null) others.splice(to, 0, figure);
      session.set({figures: others});
    };
    const button = (
      /** @type {string} */ sign,
      /** @type {string} */ name,
      /** @type {boolean} */ disabled,
      /** @type {() => void} */ onclick,
    ) =>
      el(
        'button',
        {type: 'button', title: name, 'aria-label': `${name} ${at + 1}`, disabled, onclick},
        sign,
      );
    const text = el('textarea', {
      'aria-label': `Note on figure ${at + 1}`,
      placeholder: 'A note',
      rows: 2,
      value: figure.text ?? '',
      onchange: () => {
        figure.text = text.value;
        session.set({});
      },
    });
    const place = el('div', {className: 'kept-figure'});
    this.#fill(place, figure);
    const prompt = figure.facts?.prompt ?? '';
    return el(
      'li',
      {className: 'kept-card'},
      el(
        'div',
        {className: 'toolbar'},
        el('h4', {}, `${at + 1}. ${figure.analysis}, ${figure.model}`),
        button('↑', 'Move up figure', at === 0, () => put(at - 1)),
        button('↓', 'Move down figure', at === figures.length - 1, () => put(at + 1)),
        button('×', 'Remove figure', false, () => put(null)),
      ),
      el('p', {className: 'said', title: prompt}, prompt.slice(0, 160)),
      place,
      text,
    );
  }

  /** @param {HTMLElement} place @param {Kept} figure */
  #fill(place, {grid, figure}) {
    try {
      this.#fillWith(place, grid, figure);
    } catch (error) {
      place.append(el('p', {className: 'failed'}, `It can't be drawn: ${sentenceOf(error)}`));
    }
  }

  /** @param {HTMLElement} place @param {any} grid @param {any} figure */
  #fillWith(place, grid, figure) {
    if (grid) {
      const drawn = new Grid(grid);
      this.#grids.push(drawn);
      place.append(drawn.box);
    } else if (figure) {
      const plot = el('div', {className: 'plot'});
      place.append(plot);
      requestAnimationFrame(
        () => void paint(plot, structuredClone(figure)) /* Plotly writes into it */,
      );
    }
  }

  close() {
    this.end();
    for (const grid of this.#grids) grid.close();
  }
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Session',
  info:
    'Figures that were kept, with notes; the whole page as a file, a link, a report or a notebook. ' +
    'What changes is kept by itself.',
  interpreter: '',
  tab: 'Session',
  single: true,
  mount: (root) => new SessionPanel(root),
};
