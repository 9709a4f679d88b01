// The parts of the browser plug-in that touch no page.
import assert from 'node:assert/strict';
import {test} from 'node:test';
import {
  bytes,
  colour,
  pixels,
  sortedHeads,
  strongest,
  weights,
} from '../../lit_tl/client/matrix.js';
import {csv, kindOf} from '../../lit_tl/client/panels/figure.js';
import {Latest, sentenceOf} from '../../lit_tl/client/request.js';
import * as target from '../../lit_tl/client/target.js';
import {number, strength, visible} from '../../lit_tl/client/tokens.js';

test('weights come back from 16 bits', () => {
  const sent = Buffer.from(new Uint16Array([0, 1, 32768, 65535]).buffer).toString('base64');
  assert.deepEqual(
    [...weights(sent, 2 / 65535)].map((w) => Number(w.toFixed(4))),
    [0, 0, 1, 2],
  );
  assert.deepEqual([...bytes(Buffer.from([7, 255]).toString('base64'))], [7, 255]);
});

test('stronger attention is darker, and nothing is white', () => {
  assert.deepEqual(colour(0), [255, 255, 255]);
  const sums = [0, 0.01, 0.2, 1, 3].map((s) => colour(s).reduce((a, b) => a + b));
  assert.ok(sums[0] > sums[1] && sums[1] > sums[2] && sums[2] > sums[3]);
  assert.equal(sums[3], sums[4]);
  assert.deepEqual([...pixels([0, 0, 0, 0], 2, 0)], Array(4).fill([255, 255, 255, 255]).flat());
});

test('heads are sorted by score, unknown ones last, equal ones in order', () => {
  assert.deepEqual(
    sortedHeads([
      [0.1, null],
      [0.5, 0.1],
    ]),
    [
      [1, 0],
      [0, 0],
      [1, 1],
      [0, 1],
    ],
  );
  assert.deepEqual(sortedHeads([[null, null]]), [
    [0, 0],
    [0, 1],
  ]);
});

test('the strongest entries leave out zeros', () => {
  assert.deepEqual(strongest([0.2, 0, 0.7], 5), [
    {weight: 0.7, pos: 2},
    {weight: 0.2, pos: 0},
  ]);
});

test('tokens show their blanks', () => {
  assert.equal(visible(' a\n\tb'), '·a↵⇥b');
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

test('CSV quotes what needs it', () => {
  assert.equal(
    csv(
      ['a', 'b'],
      [
        [1, 'x,"y"\n'],
        [null, ' z'],
      ],
    ),
    'a,b\n1,"x,""y""\n"\n, z\n',
  );
});

test('controls follow the spec', () => {
  assert.deepEqual(
    [{vocab: ['a'], default: 'a'}, {default: false}, {min_val: 1, default: 2}, {default: ''}].map(
      kindOf,
    ),
    ['choice', 'switch', 'number', 'text'],
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
  assert.equal(
    sentenceOf(new Error('Failed to fetch')),
    'the server does not answer: is it still running?',
  );
  assert.equal(sentenceOf(new Error('plain')), 'plain');
});
