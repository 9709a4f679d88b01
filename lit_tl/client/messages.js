// @ts-check
/**
 * Conversations as the page edits them, and the text that stands for one (see
 * lit_tl/engine/conversations.py, which reads it back).
 *
 * @typedef {{role: string, content: string, more: string}} Message  `more`: further keys, as JSON
 * @typedef {{messages: Message[], continues: boolean, tools: string}} Conversation  `continues`: the
 *   last message is the assistant's, and it goes on
 */
export const ROLES = ['system', 'user', 'assistant', 'tool'];

/** @param {Conversation} conversation @returns {string} */
export function toText({messages, continues, tools}) {
  const lines = [tools ? `messages, tools ${tools}:` : 'messages:'];
  messages.forEach(({role, content, more}, at) => {
    const mark = continues && at === messages.length - 1 ? ' …' : '';
    lines.push(`${role}${mark}${more ? ` ${more}` : ''}: ${content.replaceAll('\n', '\n  ')}`);
  });
  return lines.join('\n');
}

/** Whose turn comes next. @param {Message[]} messages */
export function nextRole(messages) {
  const last = messages[messages.length - 1]?.role;
  return last === 'user' || last === 'tool' ? 'assistant' : 'user';
}

/** @param {Conversation} conversation */
const rolesOf = ({messages}) => [...new Set(messages.map(({role}) => role))].join(', ');

/**
 * What an example says of its conversation, for another one: how many messages there are and whose,
 * and what comes next only where the end is the same.
 * @param {Record<string, any>} data  of the example
 * @param {Conversation|null} before @param {Conversation|null} after
 * @returns {Record<string, any>}
 */
export function dataOf(data, before, after) {
  const endOf = (/** @type {Conversation|null} */ each) =>
    JSON.stringify(each && [each.messages[each.messages.length - 1], each.continues]);
  const next = endOf(before) === endOf(after) ? [] : ['answer', 'foil', 'target'];
  const read = ['tokens', 'token_embeddings', 'target_mask'];
  const changed = {...data};
  for (const name of next) if (name in data) changed[name] = '';
  for (const name of read) if (name in data) changed[name] = [];
  // columns of these names may be the reader's own
  if (after && data.turns === before?.messages.length) changed.turns = after.messages.length;
  if (before && after && data.roles === rolesOf(before)) changed.roles = rolesOf(after);
  return changed;
}

/** Conversations that were changed and not used yet, by example. @type {Map<string, Conversation>} */
export const drafts = new Map();

/** @param {Record<string, Conversation>} known  by example */
export function setDrafts(known) {
  drafts.clear();
  for (const [id, {messages, continues, tools}] of Object.entries(known))
    if (Array.isArray(messages))
      drafts.set(id, {messages, continues: Boolean(continues), tools: String(tools ?? '')});
}

/** @param {Conversation} conversation @returns {Conversation} that can be changed */
export const copyOf = ({messages, continues, tools}) => ({
  messages: messages.map((message) => ({...message})),
  continues,
  tools,
});
