import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { generateTraffic, patterns } from '../../src/placement/traffic/generate.ts';
import type { Traffic } from '../../src/placement/traffic/graph.ts';
import { readMatrixMarket, readMetisGraph, readScotchGraph } from '../../src/placement/traffic/readers.ts';
import { readEdgeList, readFabricMatrix } from '../../src/placement/traffic/records.ts';
import { edgeList, scotchGraph } from '../../src/placement/traffic/write.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);

function pairs({ ranks, offsets, neighbours, weights }: Traffic): string[] {
  const all: string[] = [];
  for (let rank = 0; rank < ranks; rank++) {
    for (let at = offsets[rank]!; at < offsets[rank + 1]!; at++) {
      if (neighbours[at]! > rank) all.push(`${rank}-${neighbours[at]}:${weights[at]}`);
    }
  }
  return all;
}

function whereOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof LodgeError) return thrown.where;
    throw thrown;
  }
  throw new Error('nothing was wrong');
}

describe('Scotch graphs', () => {
  test('plain, with weights, loads and labels', () => {
    expect(pairs(readScotchGraph(bytes('0\n3 4\n0 000\n1 1\n2 0 2\n1 1\n'), 'f'))).toEqual([
      '0-1:1',
      '1-2:1',
    ]);
    expect(pairs(readScotchGraph(bytes('0\n3 4\n1 010\n1 7 2\n2 7 1 9 3\n1 9 2\n'), 'f'))).toEqual([
      '0-1:7',
      '1-2:9',
    ]);
    const all = readScotchGraph(bytes('0\n2 2\n0 111\n50 3 1 8 60\n60 4 1 8 50\n'), 'f');
    expect(pairs(all)).toEqual(['0-1:8']);
    expect(Array.from(all.demand!.cpus!)).toEqual([3, 4]);
  });

  test('vertices need not have a line each', () => {
    expect(pairs(readScotchGraph(bytes('0 2 2 0 000 1 1 1 0'), 'f'))).toEqual(['0-1:1']);
  });

  test.each([
    ['1\n', 'f:1:1'],
    ['0\n3 4\n0 000\n1 1\n2 0 2\n1 5\n', 'f:6:3'],
    ['0\n3 4\n0 000\n1 1\n2 0 2\n', 'f:6:1'],
    ['0\n2 2\n0 010\n1 nan 1\n1 1 0\n', 'f:4:3'],
    ['0\n2 2\n0 010\n1 -4 1\n1 -4 0\n', 'f:4:3'],
    ['0\n2 2\n0 010\n1 1e30 1\n1 1e30 0\n', 'f:4:3'],
    ['0\n2 1\n0 000\n1 1\n0\n', 'f:4:3'],
    ['0\n3 3\n0 000\n1 1\n1 0\n1  0\n', 'f:6:4'],
    ['0\n2 2\n0 111\n50 3 1 8 61\n60 4 1 8 50\n', 'f:4:10'],
    ['0\n2 2\n0 010\n1 3 1\n1 4 0\n', 'f:5:5'],
    ['0\n2 2\n0 000\n1 0\n1 0\n', 'f:4:3'],
    ['0\n9 900000000\n0 000\n', 'f:3:1'],
    ['0\n2 2\n0 000\n1 1\n1 0\nx\n', 'f:6:1'],
    ['0\n2 2\n0 020\n1 1\n1 0\n', 'f:3:3'],
    ['', 'f:1:1'],
  ])('%j is refused at %s', (text, where) => {
    expect(whereOf(() => readScotchGraph(bytes(text), 'f'))).toBe(where);
  });
});

describe('METIS graphs', () => {
  test('plain, with weights, with empty lines and comments', () => {
    expect(pairs(readMetisGraph(bytes('% c\n3 2\n2\n1 3\n2\n'), 'f'))).toEqual(['0-1:1', '1-2:1']);
    expect(pairs(readMetisGraph(bytes('3 1 001\n2 5\n1 5\n\n'), 'f'))).toEqual(['0-1:5']);
    const loads = readMetisGraph(bytes('2 1 011 2\n9 1 2 5\n8 1 1 5\n'), 'f');
    expect(Array.from(loads.demand!.cpus!)).toEqual([9, 8]);
  });

  test.each([
    ['2 1\n3\n1\n', 'f:2:1'],
    ['2 1\n1\n1\n', 'f:2:1'],
    ['2 1\n2\n\n', 'f:4:1'],
    ['2 1\n2\n1\n1\n', 'f:4:1'],
    ['2 1 002\n2\n1\n', 'f:1:5'],
    ['3 2\n2\n1 3\n', 'f:4:1'],
    ['2 1 001\n2 inf\n1 inf\n', 'f:2:3'],
    ['3 2 001\n2 1 3 1\n1 1\n1 2\n', 'f:4:1'],
    ['% c\n3 1\n2 3\n\n\n', 'f:3:1'],
  ])('%j is refused at %s', (text, where) => {
    expect(whereOf(() => readMetisGraph(bytes(text), 'f'))).toBe(where);
  });
});

describe('MatrixMarket', () => {
  test('general is directed, symmetric is not', () => {
    const directed = readMatrixMarket(
      bytes('%%MatrixMarket matrix coordinate real general\n%\n2 2 2\n1 2 5\n2 1 1\n'),
      'f',
    );
    expect(pairs(directed)).toEqual(['0-1:6']);
    expect(Array.from(directed.outgoing!)).toEqual([5, 1]);
    const both = readMatrixMarket(
      bytes('%%MatrixMarket matrix coordinate pattern symmetric\n2 2 2\n1 1\n2 1\n'),
      'f',
    );
    expect(pairs(both)).toEqual(['0-1:1']);
    expect(both.outgoing).toBeUndefined();
    expect(both.notes).toHaveLength(1);
    expect(
      pairs(readMatrixMarket(bytes('%%MatrixMarket matrix array integer general\n2 2\n0\n3\n4\n0\n'), 'f')),
    ).toEqual(['0-1:7']);
  });

  test.each([
    ['hello\n', 'f:1:1'],
    ['%%MatrixMarket matrix coordinate complex general\n1 1 0\n', 'f:1:1'],
    ['%%MatrixMarket matrix coordinate real general\n2 3 0\n', 'f:2:3'],
    ['%%MatrixMarket matrix coordinate real general\n2 2 1\n1 3 1\n', 'f:3:3'],
    ['%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 nan\n', 'f:3:5'],
    ['%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n1 2 1\n', 'f:3:3'],
    ['%%MatrixMarket matrix coordinate real general\n2 2 2\n1 2 1\n', 'f:4:1'],
    ['%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 1\n2 1 1\n', 'f:4:1'],
  ])('%j is refused at %s', (text, where) => {
    expect(whereOf(() => readMatrixMarket(bytes(text), 'f'))).toBe(where);
  });
});

describe('lists of connections', () => {
  test('numbers, with a head and comments', () => {
    const traffic = readEdgeList(bytes('from,to,bytes\n# all\n0,2,10\n2,0,5\n'), 'f');
    expect(traffic.ranks).toBe(3);
    expect(pairs(traffic)).toEqual(['0-2:15']);
    expect(readEdgeList(bytes('0,1\r\n'), 'f', 8).ranks).toBe(8);
  });

  test('names', () => {
    const traffic = readEdgeList(bytes('web, db, 1e3\ndb, log, 2\n'), 'f');
    expect(traffic.names).toEqual(['web', 'db', 'log']);
  });

  test.each([
    ['0,1,nan\n', 'f:1:5'],
    ['0,1,5\n1,2,-3\n', 'f:2:5'],
    ['0,1,5\n1,2,x\n', 'f:2:5'],
    ['0,1,5\n1,,3\n', 'f:2:3'],
    ['0\n', 'f:1:1'],
    ['0,1,2,3\n', 'f:1:1'],
    ['0,-1,2\n', 'f:1:3'],
  ])('%j is refused at %s', (text, where) => {
    expect(whereOf(() => readEdgeList(bytes(text), 'f'))).toBe(where);
  });

  test('a rank beyond those there are', () => {
    expect(whereOf(() => readEdgeList(bytes('0,9,1\n'), 'f', 4))).toBe('f:1:1');
  });
});

test('the matrix of a fabric: guests over all networks, broadcasts left out', () => {
  const pair = (from: string, to: string, sent: number) => ({
    network: 'n',
    from,
    to,
    frames: 1,
    bytes: sent,
    bytesPerSecond: 0,
  });
  const record = {
    windowSeconds: 12.5,
    halfLifeMs: 1,
    pairs: [pair('lan/v02', 'lan/v01', 10), pair('san/v01', 'san/v02', 5), pair('lan/v03', 'all', 99)],
  };
  const traffic = readFabricMatrix(bytes(JSON.stringify(record)), 'm.json');
  expect(traffic.names).toEqual(['v01', 'v02', 'v03']);
  expect(pairs(traffic)).toEqual(['0-1:15']);
  expect(traffic.windowSeconds).toBe(12.5);
  expect(traffic.notes).toEqual(['1 entries to all (broadcast, multicast, unknown) were left out']);
  const marked = bytes(`\u{feff}${JSON.stringify(record)}`);
  expect(readFabricMatrix(marked, 'm.json').ranks).toBe(traffic.ranks);
  expect(whereOf(() => readFabricMatrix(bytes('{"pairs": [\n{x}]}'), 'm.json'))).toMatch(/^m\.json/);
  expect(
    whereOf(() => readFabricMatrix(bytes('{"pairs": [{"from": "a", "to": "b", "bytes": -1}]}'), 'm.json')),
  ).toBe('m.json: pairs[0]');
  expect(whereOf(() => readFabricMatrix(bytes('null'), 'm.json'))).toBe('m.json');
});

test('what is written is read again', () => {
  for (const pattern of [
    'halo5:4x5',
    'halo27:3x3x3',
    'power-law:50',
    'mg:4x4x4',
    'groups:20/4',
    'ft:16',
    'cg:16',
    'geometric:60',
    'butterfly:16',
    'halo7:3x3x3+wrap',
  ]) {
    const traffic = generateTraffic(pattern, 5);
    expect(pairs(readScotchGraph(bytes([...scotchGraph(traffic)].join('')), 'f')), pattern).toEqual(
      pairs(traffic),
    );
    const list = readEdgeList(bytes([...edgeList(traffic)].join('')), 'f', traffic.ranks);
    expect(pairs(list), pattern).toEqual(pairs(traffic));
  }
});

test('patterns have the neighbours that they say', () => {
  const degrees = (text: string): number[] => {
    const { offsets, ranks } = generateTraffic(text, 1);
    return Array.from({ length: ranks }, (_, rank) => offsets[rank + 1]! - offsets[rank]!);
  };
  expect(new Set(degrees('halo7:5x5x5+wrap'))).toEqual(new Set([6]));
  expect(new Set(degrees('halo27:4x4x4+wrap'))).toEqual(new Set([26]));
  expect(new Set(degrees('butterfly:64'))).toEqual(new Set([6]));
  expect(new Set(degrees('ft:64'))).toEqual(new Set([14]));
  expect(Math.max(...degrees('power-law:500'))).toBeGreaterThan(30);
  expect(generateTraffic('geometric:300', 3)).toEqual(generateTraffic('geometric:300', 3));
  expect(() => generateTraffic('halo7:9999x9999x9999', 1)).toThrow('has 999700029999 ranks');
  for (const name of Object.keys(patterns)) expect(() => generateTraffic(`${name}:x`, 1)).toThrow(LodgeError);
});

test('whatever a file has, it is read or refused, and never worse', () => {
  const digit = fc.constantFrom(
    '0',
    '1',
    '2',
    '3',
    ' ',
    '\n',
    '\t',
    '-',
    '.',
    'e',
    ',',
    '%',
    '#',
    '9',
    '"',
    '{',
    '}',
    'x',
  );
  const text = fc.array(digit, { maxLength: 60 }).map((parts) => parts.join(''));
  const heads = fc.constantFrom(
    '',
    '0\n2 2\n0 000\n',
    '2 1\n',
    '%%MatrixMarket matrix coordinate real general\n',
    '{"pairs":[',
  );
  fc.assert(
    fc.property(heads, text, (head, rest) => {
      for (const read of [
        readScotchGraph,
        readMetisGraph,
        readMatrixMarket,
        readEdgeList,
        readFabricMatrix,
      ]) {
        try {
          const { ranks, offsets, neighbours, weights } = read(bytes(head + rest), 'f');
          expect(offsets[ranks]).toBe(neighbours.length);
          expect(weights.every((weight) => weight >= 0 && Number.isFinite(weight))).toBe(true);
          expect(neighbours.every((rank) => rank >= 0 && rank < ranks)).toBe(true);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(LodgeError);
        }
      }
    }),
    { numRuns: 400 },
  );
});
