import { execFileSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import {
  holderArgv,
  holderClusterText,
  holderOrder,
  holderScript,
  joinGuest,
  namesToResolve,
  nodesOf,
  ownSubnet,
  readOrder,
  reasonText,
  sitePorts,
  siteReach,
} from '../../../../src/cluster/engine/site/holder.ts';
import { isAway, isWanted } from '../../../../src/cluster/engine/site/power.ts';
import { controllersOf } from '../../../../src/cluster/engine/site/scontrol.ts';
import { readClusterSpec } from '../../../../src/cluster/plan.ts';
import { recordedSite, sampleSite, siteText } from './sample.ts';

const site = sampleSite();
const { config } = recordedSite();
const order = holderOrder(site, site.nodes[0]!, sitePorts(config), controllersOf(config));

describe('a holder job', () => {
  test('is on its host, and has what the guest takes there', () => {
    expect(holderArgv(site, site.nodes[0]!)).toEqual(
      expect.arrayContaining([
        'sbatch',
        '--job-name=lodge-v01',
        '--nodelist=n01',
        '--cpus-per-task=2',
        '--mem=2496M',
        '--dependency=singleton',
        '--no-requeue',
        '--partition=phys',
      ]),
    );
  });

  test('carries all that its host must know', () => {
    expect(readOrder(JSON.stringify(order))).toEqual(order);
    expect(() => readOrder('{"version":2}')).toThrow();
    const script = holderScript(order, '/var/lib/lodge', '/opt/lodge/lodge');
    expect(script).toContain(`\n${JSON.stringify(order)}\nEND-OF-ORDER\n`);
    expect(script).not.toContain('munge.key\n');
    expect(execFileSync('sh', ['-n'], { input: script }).toString()).toBe('');
  });

  test('boots a cluster of one, without a way in for users and with nothing of its owner', () => {
    const { value } = readClusterSpec(holderClusterText(order), 'v01.yaml');
    expect(value).toMatchObject({ name: 'vnode', ssh: false, guests: { v01: { share: false, cpus: 2 } } });
  });

  test('lets the guest out to the ports of Slurm, and to what the site names', () => {
    const more = sampleSite(`${siteText}reach: ['tcp 10.1.0.5:2049']\n`);
    const ports = sitePorts(new Map([...config, ['SrunPortRange', '60001-63000']]));
    expect(siteReach(more, ports)).toEqual([
      'tcp 10.99.0.0/24:6817',
      'tcp 10.99.0.0/24:6818',
      'tcp 10.99.0.0/24:17001-17004',
      'tcp 10.99.0.0/24:60001-63000',
      'tcp 10.1.0.5/32:2049',
    ]);
    expect(siteReach(site, sitePorts(config))).toContain('tcp 10.99.0.0/24:1024-65535');
  });

  test('gives the guest the key in a file that root alone can read, and takes it away again', () => {
    const { files, script } = joinGuest(order, 'a2V5', '10.99.0.1 ctl\n');
    expect(files.map(({ path, mode }) => [path, mode])).toEqual([
      ['/run/lodge-slurm/key', '600'],
      ['/run/lodge-slurm/hosts', '644'],
    ]);
    expect(script).toContain('--conf-server ctl:6817');
    expect(script).not.toContain('a2V5');
    expect(execFileSync('sh', ['-n'], { input: script }).toString()).toBe('');
  });
});

test('the addresses of guests are none that they are to reach', () => {
  expect(ownSubnet(['tcp 10.99.0.0/24:6817'])).toBe('10.213.77.0/24');
  expect(ownSubnet(['tcp 10.0.0.0/8:6817', 'tcp 172.16.0.0/12'])).toBe('192.168.213.0/24');
  expect(() => ownSubnet(['tcp 0.0.0.0/0'])).toThrow('need one for themselves');
});

test('names that guests resolve are those of Slurm, and nothing else', () => {
  const nodes = [
    new Map([
      ['NodeAddr', 'n01'],
      ['NodeHostName', 'n01'],
    ]),
    new Map([['NodeAddr', 'n02\n10.0.0.1 evil']]),
    // Where a v-node is reached, but not what it calls itself.
    new Map([
      ['State', 'IDLE+CLOUD+POWERED_DOWN'],
      ['NodeAddr', 'n03'],
      ['NodeHostName', 'v03'],
    ]),
  ];
  expect(namesToResolve([{ name: 'ctl' }], nodes)).toEqual(['ctl', 'n01', 'n03']);
});

test('a reason is one line that Slurm takes as it is', () => {
  expect(reasonText('it\n"broke" [x]\u001b[31m')).toBe('lodge: it broke (x) (31m');
  expect(reasonText('a'.repeat(1000))).toHaveLength(240);
});

test('names that the site does not know are told apart', () => {
  const { known, unknown } = nodesOf(site, 'v[01-02],x9,v01');
  expect(known.map(({ name }) => name)).toEqual(['v01', 'v02']);
  expect(unknown).toEqual(['x9']);
  expect(() => nodesOf(site, 'v[01')).toThrow('not a list of names');
});

test('states of a v-node', () => {
  const is = (text: string) => new Set(text.split('+'));
  expect(isWanted(is('ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP'))).toBe(true);
  expect(isWanted(is('DOWN+CLOUD+NOT_RESPONDING+POWERING_UP'))).toBe(false);
  expect(isWanted(is('IDLE+CLOUD+POWERED_DOWN'))).toBe(false);
  expect(isAway(is('IDLE+CLOUD'))).toBe(false);
  expect(isAway(is('IDLE+CLOUD+POWERING_DOWN'))).toBe(true);
  expect(isAway(new Set())).toBe(true);
});
