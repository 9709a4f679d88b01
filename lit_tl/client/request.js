// @ts-check
import {listening} from './jobs.js';
import {isAway, sentenceOf, whenBack} from './reach.js';

/**
 * The last of several requests: what was asked for later hides what comes earlier or late, and the
 * server stops working on what is hidden.
 * @template T
 */
export class Latest {
  #serial = 0;
  #waiting = new AbortController();
  #again = () => {};

  /**
   * @param {() => Promise<T>} ask  that asks the server before it waits for anything
   * @param {{loading: () => void, done: (value: T) => void, failed: (sentence: string) => void,
   *   partial?: (result: any) => void}} on
   */
  async run(ask, on) {
    this.drop();
    const serial = this.#serial;
    const {signal} = (this.#waiting = new AbortController());
    on.loading();
    const partial = (/** @type {any[]} */ results) => {
      if (serial === this.#serial) on.partial?.(results[0]);
    };
    try {
      const value = await listening({partial, signal}, ask);
      if (serial === this.#serial) on.done(value);
    } catch (error) {
      if (serial !== this.#serial) return;
      on.failed(sentenceOf(error));
      if (isAway(error)) this.#again = whenBack(() => void this.run(ask, on));
    }
  }

  /** What is under way will not be shown. */
  drop() {
    this.#serial++;
    this.#waiting.abort();
    this.#again();
  }
}
