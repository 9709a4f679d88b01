// @ts-check
/** Tokens of a conversation as the spans of its roles. */
import {el} from './dom.js';

export const TEMPLATE = 'template';

/**
 * Runs of one role.
 * @param {string[]} roles
 * @returns {{role: string, from: number, to: number}[]}  `to` is behind the last
 */
export function spans(roles) {
  /** @type {{role: string, from: number, to: number}[]} */
  const found = [];
  roles.forEach((role, at) => {
    const last = found[found.length - 1];
    if (last?.role === role) last.to = at + 1;
    else found.push({role, from: at, to: at + 1});
  });
  return found;
}

/**
 * Buttons of tokens inside the spans of their roles, which say whose they are.
 * @param {HTMLElement[]} nodes  one for each token
 * @param {string[]} roles
 */
export function inSpans(nodes, roles) {
  return spans(roles).map(({role, from, to}) =>
    el(
      'span',
      {className: `span role-${role}`, role: 'group', 'aria-label': role},
      role === TEMPLATE ? null : el('span', {className: 'whose', 'aria-hidden': 'true'}, role),
      ...nodes.slice(from, to),
    ),
  );
}
