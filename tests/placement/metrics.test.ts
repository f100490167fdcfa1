import { describe, expect, test } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { parseNetworkText } from '../../src/machine/network/text.ts';
import { csvMapping, hostList, readMapping, scotchMapping } from '../../src/placement/mapping-file.ts';
import { dilationHistogram, measure } from '../../src/placement/metrics.ts';
import { overfullPlaces } from '../../src/placement/place.ts';
import { plot } from '../../src/placement/plot/page.ts';
import { generateTraffic } from '../../src/placement/traffic/generate.ts';
import { ArcList, trafficOfArcs } from '../../src/placement/traffic/graph.ts';

/** 0 sends 8 to 1 and 4 to 2; 2 sends 2 to 3. */
const traffic = (() => {
  const arcs = new ArcList();
  arcs.add(0, 1, 8);
  arcs.add(0, 2, 4);
  arcs.add(2, 3, 2);
  return trafficOfArcs(4, arcs, true);
})();

test('metrics worked out by hand', () => {
  const network = parseNetworkText('mesh:4');
  const metrics = measure(traffic, network, Int32Array.of(0, 3, 1, 2), 'dimension-order');
  expect(metrics).toMatchObject({ hopBytes: 8 * 3 + 4 + 2, averageDilation: 5 / 3, maximumDilation: 3 });
  expect(metrics.hopsPerByte).toBeCloseTo(30 / 14, 12);
  // Over 0 to 1 go 8 and 4; from 1 to 2 8 and 2; from 2 to 3 8.
  expect(metrics.congestion).toMatchObject({
    maximum: 12,
    link: '(0) +x',
    average: 10,
    usedLinks: 3,
    links: 6,
  });
  expect(metrics.balance).toEqual({ usedPlaces: 4, most: 1, maximumOverAverage: 1 });
  expect(dilationHistogram(traffic, network, Int32Array.of(0, 3, 1, 2))).toEqual([0, 2, 0, 1]);
});

test('in a fat tree, a link that stands for several carries its share', () => {
  const network = parseNetworkText('fat-tree:k=4');
  const { congestion } = measure(traffic, network, Int32Array.of(0, 4, 8, 12), 'dimension-order');
  expect(congestion).toMatchObject({ maximum: 12, link: 'host 0 up' });
});

test('in its plot, bars are as long as links are full for their width', () => {
  const network = parseNetworkText('xgft:2x2,parents=1x4');
  const arcs = new ArcList();
  arcs.add(0, 2, 8);
  arcs.add(1, 3, 8);
  const placement = Int32Array.of(0, 1, 2, 3);
  // All 16 take the four links above a switch, each of which carries 4; links of hosts carry 8.
  const shown = { traffic: trafficOfArcs(4, arcs, true), network, placement };
  expect(plot({ ...shown, routing: 'dimension-order', file: 'p.html' })).toContain('width="520"');
});

test('each of its heat maps tells its own fullest link', () => {
  const shown = { traffic, network: parseNetworkText('mesh:4'), placement: Int32Array.of(1, 0, 2, 3) };
  const before = Int32Array.of(0, 3, 1, 2);
  const page = plot({ ...shown, before, routing: 'dimension-order', file: 'p.html' });
  expect(page).toContain('before: the fullest carries 12.00 bytes, of 12.00 in both');
  expect(page).toContain('after: the fullest carries 8.000 bytes, of 12.00 in both');
});

test('places that are too full are found', () => {
  const network = parseNetworkText('flat:2/slots:2');
  expect(overfullPlaces(traffic, network, Int32Array.of(0, 0, 0, 1))).toEqual([
    { place: 0, ranks: 3, room: 2 },
  ]);
});

describe('placements as files', () => {
  const network = parseNetworkText('torus:2x2/numa:2');
  const placement = Int32Array.of(7, 0, 3, 4);

  test('what is written is read again', () => {
    const map = [...scotchMapping(placement)].join('');
    expect(map).toBe('4\n0\t7\n1\t0\n2\t3\n3\t4\n');
    expect(readMapping(map, 'f.map', traffic, network)).toEqual(placement);
    const csv = [...csvMapping(traffic, network, placement)].join('');
    expect(csv).toBe('rank,place\n0,"1,1/1"\n1,"0,0/0"\n2,"0,1/1"\n3,"1,0/0"\n');
    expect(readMapping(csv, 'f.csv', traffic, network)).toEqual(placement);
    expect([...hostList(network, placement)].join('')).toBe('1,1\n0,0\n0,1\n1,0\n');
  });

  test.each([
    ['4\n0 0\n1 1\n2 2\n', 'f:1:1'],
    ['4\n0 0\n1 1\n2 2\n2 3\n', 'f:5:1'],
    ['4\n0 0\n1 1\n2 2\n3 8\n', 'f:5:3'],
    ['4\n0 0\n1 1\n2 2\n4 1\n', 'f:5:1'],
    ['0,0\n1,1\n2,2\n', 'f'],
    ['0,0\n1,1\n2,nowhere\n', 'f:3:3'],
    ['x\n', 'f:1:1'],
    ['', 'f'],
  ])('%j is refused', (text, where) => {
    expect(() => readMapping(text, 'f', traffic, network)).toThrow(LodgeError);
    try {
      readMapping(text, 'f', traffic, network);
    } catch (thrown) {
      expect((thrown as LodgeError).where).toBe(where);
    }
  });
});

test.each(['torus:4x4x4', 'ring:8', 'fat-tree:k=8', 'torus:64x64'])(
  'a plot of %s stands alone and is whole',
  (form) => {
    const network = parseNetworkText(form);
    const some = {
      ...generateTraffic('groups:8/4', 1),
      names: Array.from({ length: 8 }, (_, i) => `<b>${i}`),
    };
    const shown = {
      traffic: some,
      network,
      placement: Int32Array.from({ length: 8 }, (_, i) => 7 - i),
      routing: 'dimension-order' as const,
    };
    const page = plot({ ...shown, file: 'p.html' });
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/NaN|undefined|Infinity|src=|<script/);
    expect(page.match(/<svg/g)).toHaveLength(3);
    const svg = plot({ ...shown, file: 'p.svg' });
    expect(svg.match(/<svg/g)).toHaveLength(4);
    expect(svg.match(/<\/svg>/g)).toHaveLength(4);
  },
);
