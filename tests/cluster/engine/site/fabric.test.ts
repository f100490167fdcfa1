import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fabricHosts, siteFabric } from '../../../../src/cluster/engine/site/fabric.ts';
import {
  type HolderOrder,
  holderClusterText,
  holderNetwork,
  holderOrder,
  joinGuest,
  readOrder,
  sitePorts,
} from '../../../../src/cluster/engine/site/holder.ts';
import { clusterOnHost } from '../../../../src/cluster/hosts.ts';
import { completeCluster, outlineCluster, readClusterSpec } from '../../../../src/cluster/plan.ts';
import { checkPlan } from '../../../../src/fabric/check-plan.ts';
import type { FabricPlan } from '../../../../src/fabric/plan.ts';
import { sampleSite, siteText } from './sample.ts';

const text = `${siteText}fabric: {}\n`;
const site = sampleSite(text);

function orderOf(index: number, from = text): HolderOrder {
  const of = sampleSite(from);
  return holderOrder(of, of.nodes[index]!, sitePorts(new Map()), [{ name: 'ctl' }]);
}

/** What the agent of a v-node's host is given. */
function fabricOf(order: HolderOrder): FabricPlan {
  const extension = holderNetwork(order);
  const document = extension.document(readClusterSpec(holderClusterText(order), 'v.yaml'));
  const input = { file: '/x/v.yaml', asGraphs: new Map(), guestsDir: '/run/guests', cwd: '/x', home: '/x' };
  const outline = extension.outline(outlineCluster({ ...input, document }));
  const plan = completeCluster(outline, () => ({ accelerator: 'uml', imageId: 'x', hasAgent: true }));
  const part = { host: 'n01', guestsDir: '/tmp/guests' };
  return clusterOnHost(plan, new Map([[order.node, 'n01']]), part).fabric;
}

describe('the network between v-nodes', () => {
  test('is none unless it is asked for', () => {
    expect(siteFabric(sampleSite())).toBeUndefined();
    const order = orderOf(0, siteText);
    expect(order.fabric).toBeUndefined();
    expect(fabricOf(order).networks.map(({ name }) => name)).toEqual(['slurm']);
    expect(sampleSite().nodes[1]).toMatchObject({ slurmAddress: 'n02' });
  });

  test('gives each v-node an address and a port by its place, and those before it keep theirs', () => {
    const { nodes, ...rest } = siteFabric(site)!;
    expect(rest).toEqual({ subnet: '10.214.0.0/16', key: '/etc/lodge/fabric.key' });
    expect(nodes.map(({ name, host, port, address }) => `${name} ${host}:${port} ${address}`)).toEqual([
      'v01 n01:18001 10.214.0.1',
      'v02 n02:18002 10.214.0.2',
      'v03 n01:18003 10.214.0.3',
      'v04 n02:18004 10.214.0.4',
    ]);
    expect(new Set(nodes.map(({ mac }) => mac)).size).toBe(4);
    expect(site.nodes[1]).toMatchObject({ slurmAddress: 'v02' });
    const more = siteFabric(
      sampleSite(
        `${text}  v09: {hosts: n01, image: compute, memory: 1G}\n`
          .replace(/fabric.*\n/, '')
          .replace('nodes:', 'fabric: {}\nnodes:'),
      ),
    );
    expect(more!.nodes.slice(0, 4)).toEqual(nodes);
    expect(more!.nodes).toHaveLength(5);
  });

  test('goes with the order, and is joined to all others by trunks, each with one address alone', () => {
    const [first, second] = [0, 1].map((index) => fabricOf(readOrder(JSON.stringify(orderOf(index)))));
    checkPlan(first!);
    const [network, slurm] = first!.networks;
    expect([network!.name, slurm!.name]).toEqual(['fabric', 'slurm']);
    expect(network!.dhcp).toBeUndefined();
    const [own, ...trunks] = network!.ports;
    expect(own).toMatchObject({
      end: {
        guest: 'vnode.v01',
        interface: { name: 'eth0', address: '10.214.0.1/16' },
        socketPath: '/tmp/guests/vnode.v01/net0.sock',
      },
      limits: { macs: 1 },
    });
    expect(trunks.map(({ link, limits }) => [link.name, limits.macs])).toEqual([
      ['fabric/trunk.v02', 1],
      ['fabric/trunk.v03', 1],
      ['fabric/trunk.v04', 1],
    ]);
    // What one says of the other is what the other is.
    const there = second!.networks[0]!.ports[0]!.end;
    const told = trunks[0]!.end;
    expect(told.kind === 'trunk' && there.kind === 'guest' && told.members).toMatchObject([
      { mac: there.kind === 'guest' && there.interface.mac, guest: 'vnode.v02', link: 'fabric/v02' },
    ]);
    expect(first!.digest).toBe(second!.digest);
    expect(slurm!.ports.some(({ end }) => end.kind === 'trunk')).toBe(false);
  });

  test('is beside the way out, which has addresses of its own', () => {
    const taken = orderOf(0, `${siteText}fabric: {subnet: 10.213.0.0/16}\n`);
    expect(fabricOf(taken).networks.map(({ subnet }) => subnet)).toEqual([
      '10.213.0.0/16',
      '172.29.213.0/24',
    ]);
  });

  test('names the others, and tells Open MPI of nothing else', () => {
    expect(fabricHosts('v02', siteFabric(site)!)).toBe('10.214.0.1 v01\n10.214.0.3 v03\n10.214.0.4 v04\n');
    const { files, script } = joinGuest(orderOf(1), 'a2V5', '10.99.0.1 ctl\n');
    const hosts = files.find(({ path }) => path === '/run/lodge-slurm/hosts')!;
    expect(hosts.text).toMatch(/^10\.214\.0\.1 v01\n[\s\S]*\n10\.99\.0\.1 ctl\n$/);
    // The key of trunks is nowhere in a guest, nor is where it lies.
    expect(JSON.stringify(files) + script).not.toContain('fabric.key');
    const place = mkdtempSync(join(tmpdir(), 'lodge-openmpi-'));
    try {
      mkdirSync(join(place, 'etc/openmpi'), { recursive: true });
      mkdirSync(join(place, 'run/lodge-slurm'), { recursive: true });
      const parameters = join(place, 'etc/openmpi/openmpi-mca-params.conf');
      writeFileSync(parameters, 'btl = ^uct\n');
      writeFileSync(
        join(place, 'run/lodge-slurm/openmpi'),
        files.find(({ path }) => path.endsWith('/openmpi'))!.text,
      );
      const loop = /^for dir in [\s\S]*?^done$/m.exec(script)![0];
      const here = loop.replaceAll('/etc/', `${place}/etc/`).replaceAll('/run/', `${place}/run/`);
      execFileSync('sh', ['-eu', '-c', `${here}\ntrue`]);
      expect(readFileSync(parameters, 'utf8')).toMatch(
        /^btl = \^uct\n[\s\S]*^btl_tcp_if_include = 10\.214\.0\.0\/16\noob_tcp_if_include = 10\.214\.0\.0\/16\n$/m,
      );
    } finally {
      rmSync(place, { recursive: true });
    }
  });
});
