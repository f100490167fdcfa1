import { describe, expect, it } from 'vitest';
import { networkOfLevels } from '../../../src/machine/network/levels.ts';
import { parseNetworkText } from '../../../src/machine/network/text.ts';

describe('a place', () => {
  it.each([
    'torus:4x3x2',
    'mesh:5/numa:2',
    'torus:3x2/numa:2/slots:4',
    'fat-tree:k=4',
    'hypercube:3/flat:3',
    'dragonfly:a=2,p=2,h=1',
  ])('is found by its name: %s', (form) => {
    const network = parseNetworkText(form);
    const names = Array.from({ length: network.places }, (_, place) => network.name(place));
    expect(new Set(names).size).toBe(network.places);
    expect(names.map(network.placeNamed)).toEqual([...names.keys()]);
    for (const other of [
      '',
      ' ',
      '00',
      '01',
      '-1',
      '1e0',
      '99,0,0',
      '0,0,0,0',
      `${names[0]}/`,
      'x',
      '/0',
      '999999999',
    ])
      expect(network.placeNamed(other)).toBeUndefined();
  });

  it('is found by the name of its host, where hosts have names', () => {
    const distances = Float64Array.of(0, 1, 1, 0);
    const network = networkOfLevels(
      [
        { kind: 'matrix', hosts: 2, distances, names: ['n01', 'rack/2'], weight: 1 },
        { kind: 'numa', size: 2, weight: 0.1 },
      ],
      1,
      'named',
    );
    expect(['n01/0', 'n01/1', 'rack/2/0', 'rack/2/1'].map(network.placeNamed)).toEqual([0, 1, 2, 3]);
    expect(['n01', 'rack/2', 'n02/0', 'n01/2'].map(network.placeNamed)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });
});
