// @ts-check
/**
 * The last of several requests: what was asked for later hides what comes earlier or late.
 * @template T
 */
export class Latest {
  #serial = 0;

  /**
   * @param {() => Promise<T>} ask
   * @param {{loading: () => void, done: (value: T) => void, failed: (sentence: string) => void}} on
   */
  async run(ask, on) {
    const serial = ++this.#serial;
    on.loading();
    try {
      const value = await ask();
      if (serial === this.#serial) on.done(value);
    } catch (error) {
      if (serial === this.#serial) on.failed(sentenceOf(error));
    }
  }

  /** What is under way will not be shown. */
  drop() {
    this.#serial++;
  }
}

/**
 * The server's sentence out of a failed request.
 * @param {unknown} error
 * @returns {string}
 */
export function sentenceOf(error) {
  const text = error instanceof Error ? error.message : String(error);
  try {
    return JSON.parse(text).error ?? text;
  } catch {
    return text === 'Failed to fetch' ? 'the server does not answer: is it still running?' : text;
  }
}
