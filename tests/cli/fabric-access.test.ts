import { expect, test } from 'vitest';
import { joinMatrices } from '../../src/cli/fabric-access.ts';
import { type Matrix, toAll } from '../../src/fabric/control.ts';

function matrix(endpoints: Matrix['endpoints'], rows: [number, number, number][]): Matrix {
  return {
    ...{ timeNs: 2e9, sinceNs: 0, halfLifeMs: 1000, endpoints },
    source: Uint32Array.from(rows, ([source]) => source),
    destination: Uint32Array.from(rows, ([, destination]) => destination),
    frames: Float64Array.from(rows, ([, , frames]) => frames),
    bytes: Float64Array.from(rows, ([, , frames]) => frames * 100),
    bytesPerSecond: Float64Array.from(rows, () => 1),
  };
}

test('each pair is counted on the host of its sender alone', () => {
  const v01 = { network: 'lan', link: 'lan/v01', guest: 'lab.v01' };
  const v02 = { network: 'lan', link: 'lan/v02', guest: 'lab.v02' };
  // What came by the trunk is counted on both sides.
  const onN01 = matrix(
    [v01, { ...v02, mac: '02:00:00:00:00:02' }],
    [
      [0, 1, 5],
      [1, 0, 7],
      [0, toAll, 3],
    ],
  );
  const onN02 = matrix(
    [{ ...v01, mac: '02:00:00:00:00:01' }, v02],
    [
      [0, 1, 5],
      [1, 0, 7],
      [0, toAll, 3],
    ],
  );
  const parts = [
    { host: 'n01', matrix: onN01 },
    { host: 'n02', matrix: onN02 },
  ];
  const hosts = new Map([
    ['lan/v01', 'n01'],
    ['lan/v02', 'n02'],
  ]);
  const joined = joinMatrices(parts, hosts);
  const name = (index: number): string => (index === toAll ? 'all' : joined.endpoints[index]!.link);
  const rows = [...joined.source].map((source, i) => [
    name(source),
    name(joined.destination[i]!),
    joined.frames[i],
  ]);
  expect(rows).toEqual([
    ['lan/v01', 'lan/v02', 5],
    ['lan/v01', 'all', 3],
    ['lan/v02', 'lan/v01', 7],
  ]);
  expect(joined.endpoints).toHaveLength(2);
});
