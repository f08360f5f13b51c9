import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { LiveFact } from '../../governance/call.ts';
import { addFacts, mintFacts, missingFact, relevantFacts, type Proves } from '../../governance/facts.ts';
import type { Json } from '../../governance/json.ts';
import { MAX_FACTS_PER_RUN } from '../../governance/limits.ts';

const options = { max: 3, onTooMany: 'deny' } as const;

function live(kind: string, value: string, expiresAtMs = 100, provedAtMs = 0): LiveFact {
  return { kind, value, provedAtMs, expiresAtMs, call: 'c1' };
}

describe('FA1 minting', () => {
  const proves = { id: 'order', ok: 'flag' };
  test.each<[string, Json, [string, string][]]>([
    ['one object', { id: '7', other: 'x' }, [['order', '7']]],
    ['each item of a list', [{ id: 1 }, { id: 2 }], [['order', '1'], ['order', '2']]], // prettier-ignore
    ['a boolean and a number', { id: 1.5, ok: false }, [['order', '1.5'], ['flag', 'false']]], // prettier-ignore
    ['null, missing, empty and nested values mint nothing', { id: null, ok: '' }, []],
    ['nested values', { id: { id: 1 }, ok: [true] }, []],
    ['items that are no objects', [null, 'id', 3, [{ id: 1 }], { id: 9 }], [['order', '9']]],
    ['no object at all', 'id', []],
    ['equal facts count once', [{ id: 1 }, { id: '1' }, { id: 1 }, { id: 1 }], [['order', '1']]],
  ])('%s', (_name, output, facts) => {
    expect(mintFacts(proves, output, options)).toEqual({
      kind: 'minted',
      facts: facts.map(([kind, value]) => ({ kind, value })),
    });
  });

  test('inherited fields mint nothing', () => {
    expect(mintFacts({ constructor: 'x', __proto__x: 'y' }, {}, options)).toEqual({ kind: 'minted', facts: [] });
  });

  test('more than max: too many and none, or the first max', () => {
    const output = [1, 2, 3, 4].map((id) => ({ id }));
    expect(mintFacts(proves, output.slice(0, 3), options)).toMatchObject({ kind: 'minted' });
    expect(mintFacts(proves, output, options)).toEqual({ kind: 'too-many', count: 4, max: 3 });
    const cut = mintFacts(proves, output, { ...options, onTooMany: 'truncate' });
    expect(cut).toMatchObject({ kind: 'minted', facts: [{ value: '1' }, { value: '2' }, { value: '3' }] });
  });

  test('a function mints what it returns, nonsense mints nothing', () => {
    const of = (facts: unknown): Proves => () => facts as never; // prettier-ignore
    const good = of([{ kind: 'a', value: 'b' }, null, { kind: '', value: 'c' }, { kind: 'a' }, { value: 'd' }, 7]);
    expect(mintFacts(good, null, options)).toEqual({ kind: 'minted', facts: [{ kind: 'a', value: 'b' }] });
    expect(mintFacts(of(Promise.resolve([])), null, options)).toEqual({ kind: 'minted', facts: [] });
    expect(mintFacts(null, { id: 1 }, options)).toEqual({ kind: 'minted', facts: [] });
  });
});

describe('FA2 guarded arguments', () => {
  const requires = { orderId: 'order' };
  const facts = [live('order', '1'), live('order', '2'), live('user', '3')];
  test.each<[string, Json]>([
    ['the value', '1'],
    ['the same as a number (D10: as text)', 1],
    ['every element of a list', ['1', 2]],
  ])('%s is a fact', (_name, orderId) => {
    expect(missingFact(requires, { orderId }, facts, 50, [])).toBeNull();
  });

  test.each<[string, Json | undefined, string | null]>([
    ['a value nobody proved', '9999', '9999'],
    ['a fact of another kind', '3', '3'],
    ['one element of a list', ['1', '9'], '9'],
    ['an empty list', [], null],
    ['null', null, null],
    ['a list with null', ['1', null], null],
    ['a nested list', [['1']], null],
    ['an object', { id: '1' }, null],
    ['empty text', '', ''],
    ['absent', undefined, null],
    ['text with a space', '1 ', '1 '],
  ])('%s is refused', (_name, orderId, value) => {
    const args = orderId === undefined ? {} : { orderId };
    expect(missingFact(requires, args, facts, 50, [])).toEqual({ argument: 'orderId', kind: 'order', value });
  });

  test('an optional argument may be absent, but not null, empty or unproved', () => {
    expect(missingFact(requires, {}, facts, 50, ['orderId'])).toBeNull();
    for (const orderId of [null, '', [], '9']) {
      expect(missingFact(requires, { orderId }, facts, 50, ['orderId'])).not.toBeNull();
    }
  });

  test('FA1 at the exact end a fact is gone', () => {
    expect(missingFact(requires, { orderId: '1' }, facts, 99, [])).toBeNull();
    expect(missingFact(requires, { orderId: '1' }, facts, 100, [])).not.toBeNull();
    expect(missingFact(requires, { orderId: '1' }, facts, NaN, [])).not.toBeNull();
  });

  test('an inherited property is absent', () => {
    expect(missingFact({ toString: 'order' }, {}, facts, 50, [])).toEqual({
      argument: 'toString',
      kind: 'order',
      value: null,
    });
  });
});

describe('FA4 kind and value are never joined', () => {
  const word = fc.constantFrom('a', 'a:', ':a', ':', 'a:a', '\0', 'a\0', '["a"', '__proto__');
  test('a fact counts for its own kind and value only', () => {
    fc.assert(
      fc.property(word, word, word, word, (kind, value, needKind, needValue) => {
        const missing = missingFact({ x: needKind }, { x: needValue }, [live(kind, value)], 0, []);
        expect(missing === null).toBe(kind === needKind && value === needValue);
        expect(addFacts([live(kind, value)], [live(needKind, needValue)], 0)).toHaveLength(
          kind === needKind && value === needValue ? 1 : 2,
        );
        const output = mintFacts(() => [{ kind, value }, { kind: needKind, value: needValue }], null, options); // prettier-ignore
        expect(output).toHaveProperty('facts.length', kind === needKind && value === needValue ? 1 : 2);
      }),
    );
  });
});

describe('FA1 the facts of a run', () => {
  test('proving again renews and never shortens a life', () => {
    expect(addFacts([live('order', '1', 100)], [live('order', '1', 200, 50)], 50)).toEqual([
      live('order', '1', 200, 50),
    ]);
    expect(addFacts([live('order', '1', 200)], [live('order', '1', 100, 50)], 50)).toEqual([live('order', '1', 200)]);
  });

  test('expired facts go, at the exact end', () => {
    expect(addFacts([live('order', '1', 100)], [live('order', '2', 101)], 100)).toEqual([live('order', '2', 101)]);
  });

  test('past the cap those that expire first go', () => {
    const many = Array.from({ length: MAX_FACTS_PER_RUN }, (_, i) => live('order', `o${i}`, 1_000 + i));
    const facts = addFacts(many, [live('order', 'new', 5_000)], 0);
    expect(facts).toHaveLength(MAX_FACTS_PER_RUN);
    expect(facts.some((fact) => fact.value === 'o0')).toBe(false);
    expect(facts.some((fact) => fact.value === 'new')).toBe(true);
    expect(addFacts(many, [], 0)).toHaveLength(MAX_FACTS_PER_RUN);
  });

  test('only facts that could matter travel, and they decide the same', () => {
    const facts = [live('order', '1'), live('order', '2'), live('user', '1'), live('order', '3')];
    const requires = { orderId: 'order' };
    expect(relevantFacts(requires, { orderId: ['1', 3] }, facts)).toEqual([facts[0], facts[3]]);
    expect(relevantFacts(requires, {}, facts)).toEqual([]);
    expect(relevantFacts({}, { orderId: '1' }, facts)).toEqual([]);
    const id = fc.constantFrom<Json>('1', 2, '3', '9', null, '', ['1', '2'], ['9'], []);
    fc.assert(
      fc.property(id, (orderId) => {
        const args = { orderId };
        expect(missingFact(requires, args, relevantFacts(requires, args, facts), 0, [])).toEqual(
          missingFact(requires, args, facts, 0, []),
        );
      }),
    );
  });
});
