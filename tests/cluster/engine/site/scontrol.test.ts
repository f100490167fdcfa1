import { describe, expect, test } from 'vitest';
import {
  controllersOf,
  isAtLeast,
  leavesOf,
  parseConfig,
  parseRecords,
  portsOf,
  stateOf,
  versionOf,
} from '../../../../src/cluster/engine/site/scontrol.ts';
import { recorded, recordedSite } from './sample.ts';

describe('what scontrol prints', () => {
  test('configuration', () => {
    const config = parseConfig(recorded('config'));
    expect(versionOf(config)).toEqual([22, 5]);
    expect(controllersOf(config)).toEqual([{ name: 'ctl' }]);
    expect(config.get('SlurmctldParameters')).toBe('enable_configless');
    expect(config.get('SrunPortRange')).toBe('0-0');
    expect(portsOf('0-0')).toBeUndefined();
    expect(portsOf('6817')).toEqual([6817, 6817]);
    expect(portsOf('60001-63000')).toEqual([60001, 63000]);
    expect(controllersOf(new Map([['SlurmctldHost[1]', 'b(10.0.0.2)']]))).toEqual([
      { name: 'b', address: '10.0.0.2' },
    ]);
  });

  test('versions are compared by number', () => {
    expect(isAtLeast([22, 5], [21, 8])).toBe(true);
    expect(isAtLeast([21, 8], [21, 8])).toBe(true);
    expect(isAtLeast([20, 11], [21, 8])).toBe(false);
  });

  test('nodes', () => {
    const { nodes } = recordedSite();
    expect([...nodes.keys()]).toEqual(['n01', 'n02', 'v01', 'v02']);
    expect(nodes.get('n01')!.get('CPUTot')).toBe('4');
    expect(stateOf(nodes.get('v01')!)).toEqual(new Set(['IDLE', 'CLOUD', 'POWERED_DOWN', 'NOT_RESPONDING']));
  });

  test('a reason may have anything in it', () => {
    const [node] = parseRecords(
      'NodeName=v01 State=DOWN+CLOUD+POWERED_DOWN Partitions=virtual  Reason=lodge: State=IDLE of a [b] [slurm@2026-11-27T23:36:25]\n',
    );
    expect(node!.get('Reason')).toBe('lodge: State=IDLE of a [b]');
    expect(stateOf(node!)).toEqual(new Set(['DOWN', 'CLOUD', 'POWERED_DOWN']));
  });

  test('what is no record is passed over', () => {
    expect(parseRecords('No nodes in the system\n')).toEqual([]);
  });

  test('leaves of a tree of switches', () => {
    expect(leavesOf(recorded('topology'))).toEqual([
      { name: 's1', nodes: ['n01', 'v01'] },
      { name: 's2', nodes: ['n02', 'v02'] },
    ]);
  });
});
