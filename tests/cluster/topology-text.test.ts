import { describe, expect, it } from 'vitest';
import { parseTopology } from '../../src/cluster/topology-text.ts';
import { faultOf, outline } from './sample.ts';

describe('the text of a topology', () => {
  it.each([
    [' torus: 4x4x2 ', { kind: 'torus', sizes: [4, 4, 2] }],
    ['star', { kind: 'lan' }],
    ['ring', { kind: 'ring' }],
    ['dragonfly: p=2, a=4, h=2', { kind: 'dragonfly', a: 4, p: 2, h: 2 }],
    ['as-graph:./a:b.txt', { kind: 'as-graph', file: './a:b.txt' }],
  ])('is read: %s', (text, topology) => {
    expect(parseTopology(text)).toEqual(topology);
  });
  it.each([
    ['', 'it names none', 'known are lan, star, ring, grid, torus, fat-tree, dragonfly, random, as-graph'],
    ['taurus:4x4', "there is none named 'taurus'", "did you mean 'torus'?"],
    ['Ring', "there is none named 'Ring'", "did you mean 'ring'?"],
    ['mesh', "there is none named 'mesh'", undefined],
    ['constructor', "there is none named 'constructor'", undefined],
    ['lan:4', "it is one switch, and takes no '4'", 'write it as lan'],
    ['ring:', 'nothing follows the colon', 'write it as ring, or ring:8'],
    ['ring:2', 'a ring has 3 switches or more, not 2', undefined],
    ['ring:8x8', "'8x8' is no number of switches", undefined],
    ['torus', 'it has no sizes', 'write it as torus:4x4x2'],
    ['torus:4x0', "'0' is no size", undefined],
    ['torus:4x', 'a size is missing beside an x', undefined],
    ['grid:4,4', "'4,4' is no size", 'write it as grid:4x4'],
    ['torus:1x1x1x1x1x1x1', 'it has 7 sizes, and 6 is the most', undefined],
    ['grid:1000x1000', 'it has 1000000 switches, and 20000 is the most', undefined],
    [
      'random:switches=20000,degree=10000',
      'it has 100000000 links between switches, and 500000 is the most',
      undefined,
    ],
    [
      'dragonfly:a=1,p=1,h=19998',
      'it has 199970001 links between switches, and 500000 is the most',
      undefined,
    ],
    ['fat-tree', 'k is missing', 'write it as fat-tree:k=4'],
    ['fat-tree:4', "'4' is not of the form k=NUMBER", undefined],
    ['fat-tree:k=3', 'k must be even, and 2 or more, not 3', undefined],
    ['dragonfly:a=4,p=2', 'h is missing', 'write it as dragonfly:a=4,p=2,h=2'],
    ['dragonfly:a=4,p=2,h=2,a=1', 'a comes twice', undefined],
    ['dragonfly:a=4,p=2,g=2', "it has no 'g', but a, p, h", undefined],
    ['dragonfly:a=4,p=0,h=2', 'p must be 1 or more, not 0', undefined],
    ['random:switches=5,degree=x', "degree is a whole number, not 'x'", undefined],
    ['random:switches=3,degree=7', 'each of 3 switches has 2 others beside it, not 7', undefined],
    ['random:switches=5,degree=1', '5 switches with 1 link each do not hang together', undefined],
    ['as-graph', 'it names no file', 'write it as as-graph:FILE'],
  ])('is told what is wrong with it: %s', (text, message, fix) => {
    const fault = faultOf(() => parseTopology(text, 'here'));
    expect([fault.where, fault.message]).toEqual(['here', `'${text}' is not a topology: ${message}`]);
    const end = fix?.endsWith('?') === true ? '' : ';';
    if (fix !== undefined) expect(fault.fix).toBe(`${fix}${end} lodge manual --cluster-spec describes all`);
  });
  it('has its place and its fix in a spec', () => {
    const text = 'guests: {v1: }\nfabric: {a: {members: [v1], topology: "rings:4"}}\n';
    expect(faultOf(() => outline(text))).toMatchObject({
      where: 'lab.yaml:2:39',
      message: "'fabric.a.topology': 'rings:4' is not a topology: there is none named 'rings'",
      fix: "did you mean 'ring'? lodge manual --cluster-spec describes all",
    });
  });
});
