// @ts-check
/** Some rows of a store become the prompts of LIT's page. */
import {ask} from './session.js';

/** @param {Record<string, unknown>} question  which rows: numbers, or a filter and an order */
export async function openWindow(question) {
  const {dataset} = await ask('open_rows', question);
  const {appState, settingsService} = /** @type {any} */ (
    document.createElement('lit-app-toolbar')
  );
  const {apiService, selectionService} = /** @type {any} */ (
    document.createElement('salience-map-module')
  );
  appState.metadata = await apiService.getInfo();
  await settingsService.updateSettings({dataset});
  const [first] = appState.currentInputData ?? [];
  if (first) selectionService.selectIds([first.id]);
}
