import { describe, expect, it } from 'vitest';
import { table } from '../../src/cli/table.ts';
import { dropReasons } from '../../src/fabric/drops.ts';
import {
  dropLines,
  formatBitRate,
  formatBytes,
  formatCount,
  formatDrops,
  linkRows,
  matrixRecord,
  matrixRows,
} from '../../src/fabric/matrix-text.ts';
import { prometheusText } from '../../src/fabric/prometheus.ts';
import { direction, links, matrix } from './sample-counters.ts';

describe('the matrix', () => {
  it('has rows in the order of bytes, with shares and rates', () => {
    expect(matrixRows(matrix)).toEqual([
      ['FROM', 'TO', 'FRAMES', 'BYTES', 'SHARE', 'RATE'],
      ['lan/trunk-n2 02:4c:00:00:00:09', 'lan/v01', '1099511627776', '80kB', '80.0%', '0bit/s'],
      ['lan/v01', 'lan/v02', '10', '15kB', '15.0%', '8kbit/s'],
      ['lan/v02', 'all', '1', '5kB', '5.0%', '4bit/s'],
    ]);
  });

  it('is a value that survives JSON', () => {
    const record = matrixRecord(matrix);
    expect(JSON.parse(JSON.stringify(record))).toEqual(record);
    expect(record).toMatchObject({ windowSeconds: 10, halfLifeMs: 5000 });
    expect(record.pairs[1]).toEqual({
      network: 'lan',
      from: 'lan/v01',
      to: 'lan/v02',
      frames: 10,
      bytes: 15_000,
      bytesPerSecond: 1000,
    });
  });

  it('is a head alone when nothing was sent', () => {
    const none = { source: new Uint32Array(), destination: new Uint32Array() };
    const empty = { ...matrix, ...none, frames: new Float64Array(), bytes: new Float64Array() };
    expect(matrixRows({ ...empty, bytesPerSecond: new Float64Array() })).toHaveLength(1);
  });
});

it('links have a row for each direction', () => {
  expect(linkRows(links).slice(1)).toEqual([
    [
      'lan/v01',
      'out',
      'up, captured',
      '12',
      '1.5kB',
      '9',
      '3 loss…',
      '3 (1.5MB)',
      '1.5Mbit, queue 62.5K, 20ms ±2ms, loss 0.1%, reorder 50%',
    ],
    ['lan/v01', 'in', 'cut, captured', '0', '0B', '0', '0', '-', '-'],
    ['lan/s1-s2', 'out', 'up', '0', '0B', '0', '0', '-', '-'],
    ['lan/s1-s2', 'in', 'up', '0', '0B', '0', '0', '-', '-'],
  ]);
});

it('a busy link fits on a line of a terminal, whatever it dropped', () => {
  const dropped = Object.fromEntries(dropReasons.map((reason, i) => [reason, 1e9 + i]));
  const busy = direction({ frames: 4e12, bytes: 5e15, deliveredFrames: 3.9e12, dropped });
  const rows = table(linkRows([{ name: 'lan/v001', network: 'lan', out: busy, in: busy }]));
  expect(rows.split('\n')[1]).toBe(
    'lan/v001  out  up     4T      5PB    3.9T       15.0G denied…  -        -',
  );
  for (const line of rows.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
});

it('drops are told with the cause of most of them', () => {
  const told = (dropped: Record<string, number>) => formatDrops(direction({ dropped }));
  expect([told({}), told({ cut: 0 }), told({ loss: 7 }), told({ loss: 7, queue: 9 })]).toEqual([
    ...['0', '0', '7 loss', '16 queue…'],
  ]);
  const link = { name: 'lan/v1', network: 'lan', in: direction() };
  const many = (count: number) =>
    dropLines(
      Array.from({ length: count }, () => ({
        ...link,
        out: direction({ dropped: { loss: 7, queue: 9e6 } }),
      })),
    );
  expect(dropLines([{ ...link, out: direction({ dropped: { loss: 7 } }) }])).toEqual([]);
  expect(many(1)).toEqual(['dropped for several causes:', '  lan/v1 out: queue 9M, loss 7']);
  expect(many(25).at(-1)).toBe('  and 5 more, which --json tells');
  expect([999_999, 1e6, 1_250_000].map(formatCount)).toEqual(['999999', '1M', '1.3M']);
});

it.each([
  [0, '0B', '0bit/s'],
  [999, '999B', '999bit/s'],
  [999.7, '1000B', '1000bit/s'],
  [1000, '1kB', '1kbit/s'],
  [999_949, '999.9kB', '999.9kbit/s'],
  [999_951, '1.0MB', '1.0Mbit/s'],
  [1.25e9, '1.3GB', '1.3Gbit/s'],
  [1e19, '10000PB', '10000000Tbit/s'],
])('%s is shown as %s', (value, bytes, rate) => {
  expect(formatBytes(value)).toBe(bytes);
  expect(formatBitRate(value)).toBe(rate);
});

describe('the text for Prometheus', () => {
  /** Reads the format by its own rules; any line that breaks them fails the test. */
  function read(text: string): Map<string, number> {
    const samples = new Map<string, number>();
    let declared = '';
    expect(text.endsWith('\n')).toBe(true);
    for (const line of text.slice(0, -1).split('\n')) {
      const head = /^# (HELP|TYPE) ([a-z_]+) (.+)$/.exec(line);
      if (head !== null) {
        if (head[1] === 'TYPE') {
          expect(head[2]).toBe(declared);
          expect(head[3]).toBe(declared.endsWith('_total') ? 'counter' : 'gauge');
        }
        declared = head[2]!;
        continue;
      }
      const match = /^([a-z_]+)\{((?:[a-z_]+="(?:[^"\\]|\\["\\n])*",?)*)\} (\S+)$/.exec(line);
      expect(match, line).not.toBeNull();
      expect(match![1]).toBe(declared);
      const key = `${match![1]}{${match![2]}}`;
      expect(samples.has(key), key).toBe(false);
      samples.set(key, Number(match![3]));
    }
    return samples;
  }

  it('has the counters of links, pairs and the fabric', () => {
    const samples = read(
      prometheusText({
        cluster: 'lab',
        links,
        matrix,
        status: {
          timeNs: 1,
          isFrozen: true,
          links: 2,
          connectedPorts: 1,
          ports: 2,
          switches: 1,
          memoryBytes: 100,
          memoryLimitBytes: 1000,
          heldFrames: 0,
          trunks: [],
        },
      }),
    );
    const of = (name: string, labels: string) => samples.get(`${name}{${labels}}`);
    const out = 'cluster="lab",network="lan",link="lan/v01",direction="out"';
    expect(of('lodge_link_frames_total', out)).toBe(12);
    expect(of('lodge_link_dropped_frames_total', `${out},reason="queue"`)).toBe(1);
    expect(of('lodge_link_cut', out.replace('out', 'in'))).toBe(1);
    expect(of('lodge_port_connected', 'cluster="lab",network="lan",link="lan/v01"')).toBe(1);
    expect(
      of('lodge_pair_bytes_total', 'cluster="lab",network="lan",source="lan/v02",destination="all"'),
    ).toBe(5000);
    expect(
      of(
        'lodge_pair_frames_total',
        'cluster="lab",network="lan",source="lan/trunk-n2",source_mac="02:4c:00:00:00:09",destination="lan/v01"',
      ),
    ).toBe(2 ** 40);
    expect(of('lodge_fabric_frozen', 'cluster="lab"')).toBe(1);
    expect(of('lodge_fabric_memory_bytes', 'cluster="lab"')).toBe(100);
  });

  it('escapes whatever stands in a name', () => {
    const name = 'a"b\\c\nd';
    const text = prometheusText({
      cluster: name,
      links: [{ name, network: name, out: direction(), in: direction() }],
    });
    read(text);
    expect(text).toContain('cluster="a\\"b\\\\c\\nd"');
  });
});
