import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expandHostList, foldHostList, isHostList, mostNames } from '../src/host-list.ts';
import { faultOf } from './cluster/sample.ts';

describe('a list of names', () => {
  it.each([
    ['router', ['router']],
    ['v[01-04,07]', ['v01', 'v02', 'v03', 'v04', 'v07']],
    ['v[8-11]', ['v8', 'v9', 'v10', 'v11']],
    ['v[098-101]', ['v098', 'v099', 'v100', 'v101']],
    ['r[1-2]n[01-02]x', ['r1n01x', 'r1n02x', 'r2n01x', 'r2n02x']],
    ['v[1,1]', ['v1', 'v1']],
    ['a, b[1-2] ,c', ['a', 'b1', 'b2', 'c']],
    ['lab.v[01-02]', ['lab.v01', 'lab.v02']],
  ])('%s', (text, names) => {
    expect(expandHostList(text)).toEqual(names);
  });
  it.each(['v[', 'v]', 'v[1-]', 'v[]', 'v[a-b]', 'v[3-1]', 'v[[1]]', 'a,,b', '', 'v[1-1000000000]'])(
    'refuses %j',
    (text) => {
      const fault = faultOf(() => expandHostList(text, 'lab.yaml:3:1'));
      expect([fault.code, fault.where]).toEqual(['spec-value', 'lab.yaml:3:1']);
    },
  );
  it('refuses products that are too large, at once', () => {
    expect(faultOf(() => expandHostList('a[1-9999]b[1-9999]c[1-9999]')).message).toContain(`${mostNames}`);
    expect(faultOf(() => expandHostList('a[1-60000],b[1-60000]')).message).toContain(`${mostNames}`);
    expect(faultOf(() => expandHostList('v[1-1000000]')).fix).toBe('ask for fewer');
  });
  it('is told from a plain name', () => {
    expect(['v01', 'lab.v01', 'v[01-02]', 'a,b'].map(isHostList)).toEqual([false, false, true, true]);
  });
});

describe('folding', () => {
  it.each([
    [['v01', 'v02', 'v03', 'v07', 'router'], 'v[01-03,07],router'],
    [['v9', 'v10', 'v011'], 'v[9-10,011]'],
    [['v01'], 'v01'],
    [['a', 'b'], 'a,b'],
    [['r1n1', 'r1n2', 'r2n1'], 'r1n[1-2],r2n1'],
    [[], ''],
  ])('%j', (names, text) => {
    expect(foldHostList(names)).toBe(text);
  });
  it('is undone by expansion', () => {
    const name = fc.tuple(
      fc.constantFrom('v', 'n-', 'r1x'),
      fc.nat(120),
      fc.nat(3),
      fc.constantFrom('', 'a'),
    );
    fc.assert(
      fc.property(fc.uniqueArray(name, { selector: String }), (parts) => {
        const names = [...new Set(parts.map(([a, n, zeros, b]) => a + '0'.repeat(zeros) + n + b))];
        expect(expandHostList(foldHostList(names) || 'none').sort()).toEqual(
          names.length === 0 ? ['none'] : names.toSorted(),
        );
      }),
    );
  });
});
