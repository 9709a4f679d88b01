// @ts-check
import * as address from '../address.js';
import {AnalysisPanel} from '../analysis_panel.js';
import {choice, el, states} from '../dom.js';
import {OVER, Prediction, QUANTITIES} from '../prediction.js';
import {Latest} from '../request.js';

/**
 * @typedef {import('../bridge.js').View} View
 * @typedef {import('../bridge.js').Host} Host
 * @typedef {import('../prediction.js').Quantity} Quantity
 */
const SHOWN = ['predictions', 'difference'];

class PredictionsPanel {
  /** @type {View|null} */
  #view = null;
  #latest = new Latest();
  /** @type {Prediction|null} */
  #drawn = null;
  /** @type {AnalysisPanel|null} */
  #difference = null;
  #focus = false;

  /** @param {HTMLElement} root @param {Host} host */
  constructor(root, host) {
    this.root = root;
    this.host = host;
    this.place = states(root);
  }

  /** @param {View} view */
  show(view) {
    this.#view = view;
    if (this.#kept.show === 'difference') this.#compare(view);
    else this.#read(view);
  }

  othersChanged() {
    this.#difference?.othersChanged();
  }

  close() {
    this.#latest.drop();
    this.#drawn?.forget();
    this.#drawn = null;
    this.#difference?.close();
    this.#difference = null;
  }

  /** Under which the address keeps this panel's settings. */
  get #key() {
    const {model, pinned} = /** @type {View} */ (this.#view);
    return `Predictions:${model}${pinned ? ':pinned' : ''}`;
  }

  get #kept() {
    return address.settingsOf(this.#key);
  }

  /** @returns {Quantity} */
  get #by() {
    const by = /** @type {Quantity} */ (this.#kept.by);
    return QUANTITIES.includes(by) ? by : 'loss';
  }

  /** The choice between predictions and a difference of them. */
  #choice() {
    return choice('Show', SHOWN, this.#difference ? SHOWN[1] : SHOWN[0], (show) => {
      address.keep(this.#key, {show});
      this.close();
      this.root.replaceChildren();
      this.#focus = true;
      this.show(/** @type {View} */ (this.#view));
      this.#focusChoice();
    });
  }

  /** The choice keeps the focus when what it stands above has changed. */
  #focusChoice() {
    const select = /** @type {HTMLElement|null} */ (this.root.querySelector('[aria-label=Show]'));
    if (!this.#focus || !select) return;
    this.#focus = false;
    select.focus();
  }

  /** @param {View} view */
  #compare(view) {
    if (!this.#difference) {
      this.close();
      this.root.replaceChildren();
      const interpreters = () => {
        const {Predictions, ...analyses} = this.host.interpreters();
        return analyses;
      };
      const controls = () => [this.#choice()];
      const host = {...this.host, interpreters};
      this.#difference = new AnalysisPanel(this.root, 'Predictions', host, {controls});
    }
    this.#difference.show(view);
  }

  /** @param {View} view */
  #read(view) {
    const {example} = view;
    if (this.#difference) this.close();
    if (!example) {
      this.close();
      this.place.empty(
        view.pinned
          ? 'Pin a prompt to compare it here.'
          : 'Select a prompt to see what the model predicts.',
      );
      return;
    }
    this.#latest.run(() => this.host.ask('Predictions', example, {}, view), {
      loading: () => this.place.loading('The model is reading the prompt.'),
      failed: this.place.failed,
      done: (/** @type {import('../prediction.js').Reply} */ reply) => {
        this.#drawn?.forget();
        this.#drawn = new Prediction(reply, {
          of: {model: view.model, exampleId: example.id},
          by: this.#by,
          over: OVER.find((over) => over === this.#kept.over),
          keep: (by, over) => address.keep(this.#key, {by, over}),
          controls: [this.#choice(), this.#generate()],
        });
        this.place.done(this.#drawn.box);
        this.#focusChoice();
      },
    });
  }

  #generate() {
    return el(
      'button',
      {
        type: 'button',
        title: 'The model goes on from every prompt; the table shows what it says.',
        onclick: () => void this.host.generateForAll()?.catch(() => {}), // LIT's status bar says why
      },
      'Generate text for all prompts',
    );
  }
}

/** @type {import('../bridge.js').Panel} */
export const panel = {
  title: 'Predictions',
  info:
    'The prompt coloured by how well the model predicts it, and what it expects at each place. ' +
    'Click a token to explain it.',
  interpreter: 'Predictions',
  tab: 'Predictions',
  mount: (root, host) => new PredictionsPanel(root, host),
};
