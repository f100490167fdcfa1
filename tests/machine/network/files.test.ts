import { describe, expect, test } from 'vitest';
import { LodgeError } from '../../../src/errors.ts';
import { parseDistanceMatrix } from '../../../src/machine/network/distance-file.ts';
import { type Level, networkOfLevels } from '../../../src/machine/network/levels.ts';
import { parseScotchTarget } from '../../../src/machine/network/scotch-target.ts';
import { parseSlurmTopology, parseSlurmYaml } from '../../../src/machine/network/slurm.ts';
import { parseNetworkText } from '../../../src/machine/network/text.ts';

function faultOf(work: () => unknown): { where: string | undefined; message: string; code: string } {
  try {
    work();
  } catch (thrown) {
    if (thrown instanceof LodgeError)
      return { where: thrown.where, message: thrown.message, code: thrown.code };
    throw thrown;
  }
  throw new Error('nothing was wrong');
}

const network = (level: Level) => networkOfLevels([level], 1, 'file');

describe('Slurm', () => {
  const conf = `# two leaves
SwitchName=s1 Nodes=n[01-02]
SwitchName=s2 LinkSpeed=100 Nodes=n[03-05]
SwitchName=top Switches=s[1-2]
`;

  test('topology.conf', () => {
    const { metric, places, name, links } = network(parseSlurmTopology(conf, 'topology.conf'));
    expect(places).toBe(5);
    expect([0, 1, 2, 3, 4].map(name)).toEqual(['n01', 'n02', 'n03', 'n04', 'n05']);
    expect([0, 1, 2, 4].map((to) => metric.distance(0, to))).toEqual([0, 2, 4, 4]);
    const over: string[] = [];
    links!.route(0, 4, 1, 'dimension-order', (link) => over.push(links!.name(link)));
    expect(over).toEqual(['n01 up', 'n05 down', 's1 up', 's2 down']);
  });

  test('what scontrol show topology prints is the same', () => {
    const printed = `SwitchName=s1 Level=0 LinkSpeed=1 Nodes=n[01-02]
SwitchName=s2 Level=0 LinkSpeed=1 Nodes=n[03-05]
SwitchName=top Level=1 LinkSpeed=1 Nodes=n[01-05] Switches=s[1-2]
`;
    const { metric, places } = network(parseSlurmTopology(printed, 'stdin'));
    expect(places).toBe(5);
    expect(metric.distance(0, 2)).toBe(4);
  });

  test('blocks as scontrol prints them, those of several blocks too', () => {
    const printed = `BlockName=b1 BlockIndex=0 Nodes=n[1-2] BlockSize=2
BlockName=b2 BlockIndex=1 Nodes=n[3-4] BlockSize=2
AggregatedBlock=b[1-2] BlockIndex=2 Nodes=n[1-4] BlockSize=4
`;
    const { metric, places } = network(parseSlurmTopology(printed, 'stdin'));
    expect([places, metric.distance(0, 1), metric.distance(0, 2)]).toEqual([4, 2, 4]);
  });

  test('comments of a file whose lines end as on Windows', () => {
    const text = '# two\r\nSwitchName=s1 Nodes=n[1-2] # near\r\n';
    expect(network(parseSlurmTopology(text, 'f')).places).toBe(2);
    expect(network(parseDistanceMatrix('# two\r\n0 1 # near\r\n1 0\r\n', 'f')).places).toBe(2);
  });

  test('lines that go on in the next, each fault at its own place', () => {
    const text = 'SwitchName=s1 \\\n  Nodes=n[1-2],\\\r\nn3\n# end\\\n of it\nSwitchName=s2 \\\n Nodes=n[\n';
    const good = text.slice(0, text.indexOf('SwitchName=s2'));
    expect(network(parseSlurmTopology(good, 'f')).places).toBe(3);
    expect(() => parseSlurmTopology(text, 'f')).toThrow(expect.objectContaining({ where: 'f:7:8' }));
  });

  test('hosts at different depths, and several roots', () => {
    const uneven = 'SwitchName=a Nodes=x1\nSwitchName=b Switches=c\nSwitchName=c Nodes=y[1-2]\n';
    const { metric, name } = network(parseSlurmTopology(uneven, 'f'));
    expect([0, 1, 2].map(name)).toEqual(['x1', 'y1', 'y2']);
    expect(metric.distance(1, 2)).toBe(2);
    expect(metric.distance(0, 1)).toBe(5);
  });

  test('topology.yaml: trees and blocks', () => {
    const yaml = `- topology: flat
  flat: true
- topology: t
  cluster_default: true
  tree:
    switches:
      - {switch: top, children: 's[1-2]'}
      - {switch: s1, nodes: 'n[1-2]'}
      - {switch: s2, nodes: 'n[3-4]'}
`;
    expect(network(parseSlurmYaml(yaml, 't.yaml')).metric.distance(0, 3)).toBe(4);
    const blocks = `- topology: b
  block:
    block_sizes: [2]
    blocks:
      - {block: b1, nodes: 'n[1-2]'}
      - {block: b2, nodes: 'n[3-4]'}
`;
    expect(network(parseSlurmYaml(blocks, 'b.yaml')).metric.distance(0, 3)).toBe(4);
  });

  test.each([
    ['SwitchName=s1 Nodes=n[1-2]\nSwitchName=s1 Nodes=n3', 'f:2:12', "the switch 's1' comes twice"],
    ['SwitchName=s1 Switches=s9', 'f:1:12', "there is no switch 's9'"],
    ['SwitchName=s1 Nodes=n1\nSwitchName=s2 Nodes=n1', 'f:2:12', "the node 'n1' is on two switches"],
    ['SwitchName=s1 Nodes=n1,n1', 'f:1:12', "the node 'n1' comes twice"],
    ['SwitchName=s1 Nodes=n[1-', 'f:1:21', undefined],
    ['  Nodes=n1', 'f:1:3', "'Nodes=n1' is no switch"],
    ['SwitchName=a Switches=b\nSwitchName=b Switches=a', 'f', 'it has no nodes'],
    [
      'SwitchName=a Switches=b\nSwitchName=b Switches=a\nSwitchName=c Nodes=n1',
      'f',
      'some switches are below each other in a ring',
    ],
  ])('%j is refused', (text, where, message) => {
    const fault = faultOf(() => parseSlurmTopology(text, 'f'));
    expect(fault.where).toBe(where);
    if (message !== undefined) expect(fault.message).toBe(message);
  });
});

describe('targets of Scotch', () => {
  test.each([
    ['cmplt 4', 0, 3, 1],
    ['hcub 3', 0, 7, 3],
    ['mesh2D 3 2', 0, 5, 3],
    ['torus3D 4 2 2', 0, 15, 1 + 1 + 1],
    ['torusXD 4 3 3 3 3', 0, 80, 4],
    ['tleaf 2 2 10 3 1', 0, 5, 11],
    ['tleaf 2 2 10 3 1', 0, 2, 1],
    ['deco 0\n3 5\n0 1 4\n1 1 5\n2 1 3\n7\n8 9\n', 2, 1, 9],
  ])('%j', (text, from, to, distance) => {
    expect(network(parseScotchTarget(text, 't.tgt').level).metric.distance(from, to)).toBe(distance);
  });

  test('the first dimension is the one that changes fastest', () => {
    expect(network(parseScotchTarget('mesh2D 5 2', 'f').level).metric.distance(0, 4)).toBe(4);
  });

  test.each([
    ['torus3D 4 4', 'f'],
    ['torus3D 4 4 x', 'f:1:13'],
    ['hcub 3 4', 'f:1:8'],
    ['deco 1 3', 'f:1:1'],
    ['sphere 3', 'f:1:1'],
    ['cmplt 0', 'f:1:7'],
  ])('%j is refused', (text, where) => {
    expect(faultOf(() => parseScotchTarget(text, 'f'))).toMatchObject({ where, code: 'topology' });
  });
});

describe('matrices of distances', () => {
  test('with names, commas and comments', () => {
    const { metric, name } = network(parseDistanceMatrix('# far\na,b,c\n0,1,2.5\n1,0,3\n2.5,3,0\n', 'm.csv'));
    expect(name(2)).toBe('c');
    expect(metric.distance(0, 2)).toBe(2.5);
  });

  test.each([
    ['0 1\n2 0', 'f:2:1'],
    ['0 1\n1 4', 'f:2:3'],
    ['0 x\n1 0', 'f:1:3'],
    ['0 nan\n1 0', 'f:1:3'],
    ['0 -1\n-1 0', 'f:1:3'],
    ['0 1 2\n1 0', 'f:2:1'],
    ['0 1\n1 0\n1 1', 'f:3:1'],
    ['0 1', 'f'],
    ['# nothing', 'f'],
  ])('%j is refused', (text, where) => {
    expect(faultOf(() => parseDistanceMatrix(text, 'f'))).toMatchObject({ where, code: 'topology' });
  });
});

describe('the text form', () => {
  test.each([
    'torus',
    'torus:',
    'torus:0x4',
    'torus:4x4/',
    'torus:4x4@0',
    'torus:4x4@-1',
    'torus:9999999',
    'torus:30000x30000',
    'slots:4',
    'toros:4',
    'fat-tree:k=3',
    'dragonfly:a=2,p=2',
    'hypercube:40',
    'numa:0',
    'torus:4/numa:5000',
    'xgft:4x4,parents=1',
    'dragonfly:a=999,p=999,h=999',
    'slots:1000000/torus:4/slots:4',
  ])('%j is refused', (text) => {
    expect(faultOf(() => parseNetworkText(text)).code).toBe('topology');
  });
});
