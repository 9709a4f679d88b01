// The parts of the browser plug-in that touch no page.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {kindOf, settingsOf} from '../../lit_tl/client/controls.js';
import {stemOf} from '../../lit_tl/client/figure_buttons.js';
import {dataOf, nextRole, toText} from '../../lit_tl/client/messages.js';
import {kept} from '../../lit_tl/client/grid/aside.js';
import {Camera} from '../../lit_tl/client/grid/camera.js';
import {share, span} from '../../lit_tl/client/grid/colours.js';
import {decode} from '../../lit_tl/client/grid/data.js';
import {sentenceOf} from '../../lit_tl/client/reach.js';
import {Latest} from '../../lit_tl/client/request.js';
import {spans} from '../../lit_tl/client/roles.js';
import * as target from '../../lit_tl/client/target.js';
import {number, strength, visible} from '../../lit_tl/client/tokens.js';

const SHOWN = {first: 'shown', template: 'shown'};
const colours = {kind: 'linear', low: null, high: null, table: '', unit: '', name: 'n'};
const part = (values, width, more = {}) => ({
  values: Float32Array.from(values),
  rows: {name: 'layer', labels: Array(values.length / width).fill('l')},
  columns: {name: 'token', labels: Array(width).fill('t'), tokens: true},
  colours,
  ...more,
});

test('a grid comes back from bytes', () => {
  const text = (array) => Buffer.from(array.buffer).toString('base64');
  const [decoded] = decode({
    strings: ['a', 'b'],
    parts: [
      {
        title: 'logit lens',
        values: text(new Float32Array([1.5, NaN])),
        rows: {name: 'layer', labels: ['0']},
        columns: {name: 'token', labels: ['x', 'y']},
        colours,
        top: {
          count: 2,
          ids: text(new Uint32Array([0, 1, 1, 0])),
          values: text(new Float32Array([0.75, 0.25, 0.5, 0.5])),
        },
      },
    ],
  });
  assert.deepEqual([...decoded.values], [1.5, NaN]);
  assert.equal(decoded.text(0, 1), 'b');
  assert.deepEqual(decoded.top(0, 0), [
    {token: 'a', value: 0.75},
    {token: 'b', value: 0.25},
  ]);
});

test('the first token can be left out of the colours', () => {
  const matrix = part([100, 1, 2, 200, 3, NaN], 3);
  assert.deepEqual(span([matrix], SHOWN), {low: 1, high: 200});
  assert.deepEqual(span([matrix], {first: 'not in the colours', template: 'shown'}), {
    low: 1,
    high: 3,
  });
  assert.deepEqual(span([part([NaN, NaN], 2)], SHOWN), {low: 0, high: 1});
});

test("a chat template's tokens can be left out of the colours, or away", () => {
  const roles = ['template', 'user', 'template'];
  const columns = {name: 'token', labels: ['<', 'Hi', '>'], tokens: true, roles};
  const matrix = part([100, 1, -5, 200, 3, NaN], 3, {columns});
  const away = {first: 'shown', template: 'hidden'};
  assert.deepEqual(span([matrix], {first: 'shown', template: 'not in the colours'}), {
    low: 1,
    high: 3,
  });
  assert.deepEqual(kept(columns, SHOWN), [0, 1, 2]);
  assert.deepEqual(kept(columns, away), [1]);
  assert.deepEqual(kept({...columns, roles: roles.map(() => 'template')}, away), [0, 1, 2]);
  assert.deepEqual(spans(roles), [
    {role: 'template', from: 0, to: 1},
    {role: 'user', from: 1, to: 2},
    {role: 'template', from: 2, to: 3},
  ]);
});

test('names of files are letters, digits and hyphens, as LaTeX takes them', () => {
  assert.equal(stemOf('Attention L1H3 (mean_of %layer) #2'), 'attention-l1h3-mean-of-layer-2');
  assert.equal(stemOf('Über & mehr'), 'ber-mehr');
});

test('a conversation is written as the server reads it', () => {
  const messages = [
    {role: 'system', content: 'a\n\nb', more: ''},
    {role: 'assistant', content: '', more: '{"tool_calls": []}'},
    {role: 'assistant', content: 'Hi', more: ''},
  ];
  assert.equal(
    toText({messages, continues: true, tools: ''}),
    'messages:\nsystem: a\n  \n  b\nassistant {"tool_calls": []}: \nassistant …: Hi',
  );
  assert.equal(
    toText({messages: messages.slice(0, 1), continues: false, tools: '[{}]'}),
    'messages, tools [{}]:\nsystem: a\n  \n  b',
  );
  assert.equal(nextRole(messages), 'user');
  const data = {text: '', answer: ' x', foil: ' y', turns: 1, roles: 'system', tokens: ['a']};
  const before = {messages: messages.slice(0, 1), continues: false, tools: ''};
  const after = {messages, continues: false, tools: ''};
  assert.deepEqual(dataOf(data, before, after), {
    text: '',
    answer: '',
    foil: '',
    turns: 3,
    roles: 'system, assistant',
    tokens: [],
  });
  assert.equal(dataOf(data, before, before).answer, ' x');
});

test('colours around zero are as far on both sides', () => {
  const diverging = part([-3, 1], 2, {colours: {...colours, kind: 'diverging'}});
  assert.deepEqual(span([diverging], SHOWN), {low: -3, high: 3});
  assert.equal(share(diverging.colours, {low: -3, high: 3}, 0), 0.5);
});

test('ranks are coloured by their logarithm', () => {
  const log = {...colours, kind: 'log'};
  const ends = {low: 1, high: 10_000};
  assert.deepEqual(
    [1, 100, 10_000, 50_000].map((rank) => Number(share(log, ends, rank).toFixed(6))),
    [0, 0.5, 1, 1],
  );
});

test('a camera shows the end of a long text, all of it, and what is asked for', () => {
  const camera = new Camera(true, false);
  camera.resize({width: 560, height: 310, columns: 400, rows: 31});
  assert.equal(camera.cellWidth, 56);
  assert.equal(camera.x, 400 * 56 - 560, 'the end');
  camera.all();
  assert.equal(camera.cellWidth, 1.4);
  camera.zoom(10, 280, 0);
  assert.ok(Math.abs((camera.x + 280) / camera.cellWidth - 200) < 1, 'the same token stays there');
  camera.show(0, 30);
  assert.equal(camera.x, 0);
  assert.deepEqual(camera.cellAt(0, 0), {column: 0, row: Math.floor(camera.y / camera.cellHeight)});
  camera.move(1e9, 1e9);
  assert.ok(camera.x + camera.width <= camera.columns * camera.cellWidth + 1e-6);
});

test('tokens show their blanks', () => {
  assert.equal(visible(' a\n\r\tb'), '·a↵␍⇥b');
  assert.equal(visible(''), '∅');
});

test('numbers are short, and small ones are not zero', () => {
  assert.deepEqual(
    [number(0.12345), number(3), number(1.2e-7), number(0), number(null)],
    ['0.123', '3', '1.2e-7', '0', 'none'],
  );
});

test('a token is coloured by what was chosen', () => {
  const token = {loss: 5, rank: 100, probability: 0.25};
  assert.equal(strength('loss', token, 10_000), 0.5);
  assert.equal(strength('rank', token, 10_000), 0.5);
  assert.equal(strength('probability', token, 10_000), 0.25);
  assert.equal(strength('loss', {loss: null, rank: null, probability: null}, 10_000), 0);
});

test('controls follow the spec', () => {
  assert.deepEqual(
    [{vocab: ['a'], default: 'a'}, {default: false}, {min_val: 1, default: 2}, {default: ''}].map(
      kindOf,
    ),
    ['choice', 'switch', 'number', 'text'],
  );
});

test('a setting that would do nothing, or is not there, has its default', () => {
  const spec = {
    statistic: {vocab: ['entropy', 'KL'], default: 'entropy'},
    against: {vocab: ['nothing', 'pinned'], default: 'nothing'},
  };
  const onlyWith = {against: ['statistic', ['KL']]};
  assert.deepEqual(settingsOf(spec, onlyWith, {against: 'pinned'}, {}), {
    statistic: 'entropy',
    against: 'nothing',
  });
  const kept = {statistic: 'KL', against: 'pinned'};
  assert.deepEqual(settingsOf(spec, onlyWith, {statistic: 'KL'}, {}), kept, 'it needs one');
  assert.deepEqual(settingsOf(spec, onlyWith, kept, {}), kept);
  assert.equal(
    settingsOf(spec, onlyWith, kept, {against: {pinned: 'no prompt is pinned'}}).against,
    'nothing',
  );
});

test('a target is a mask in the prompt, or a text after it', () => {
  const place = {model: 'm', exampleId: 'x', tokens: 3, pos: 1, token: ' b'};
  assert.deepEqual(target.asFields(place), {target_mask: [0, 1, 0], target: ''});
  assert.deepEqual(target.asFields({...place, pos: null}), {target_mask: [], target: ' b'});
  assert.ok(target.isOf(place, {model: 'm', exampleId: 'x'}));
  assert.ok(
    !target.isOf(place, {model: 'other', exampleId: 'x'}),
    'another model may have other tokens',
  );
  const heard = [];
  const end = target.subscribe((now) => heard.push(now));
  target.set(place);
  end();
  target.set(null);
  assert.deepEqual(heard, [place]);
  assert.equal(target.get(), null);
});

test('a late reply does not hide the latest', async () => {
  const latest = new Latest();
  const seen = [];
  const on = (name) => ({
    loading: () => seen.push(`${name} loading`),
    done: (value) => seen.push(value),
    failed: (sentence) => seen.push(sentence),
  });
  let answerFirst;
  const first = latest.run(() => new Promise((resolve) => (answerFirst = resolve)), on('first'));
  await latest.run(async () => 'second', on('second'));
  answerFirst('first');
  await first;
  await latest.run(async () => {
    throw new Error('{"error": "no such head", "id": "1"}');
  }, on('third'));
  assert.deepEqual(seen, [
    'first loading',
    'second loading',
    'second',
    'third loading',
    'no such head',
  ]);
});

test('failures are said in words', () => {
  assert.equal(sentenceOf(new Error('{"error": "no", "id": "1"}')), 'no');
  assert.equal(sentenceOf(new Error('no\n\nDetails: {"error": "no"}')), 'no');
  assert.match(sentenceOf(new Error('<html>502</html>')), /is a proxy between/);
  assert.equal(sentenceOf(new Error('plain')), 'plain');
});
