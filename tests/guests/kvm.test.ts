/** Guests under real KVM, in the simulated host: what is asked for, given, and checked from both sides. */

import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { installationDir } from '../../src/installation.ts';
import { leaveSimulatedHost, simulatedHost } from '../simulated-host/shared.ts';
import type { SimulatedHost } from '../simulated-host/simulated-host.ts';
import { defineConformance } from './conformance.ts';

/** Not by the launcher, which looks at the dates of all sources: hundreds of them, on a file system that is slow there. */
const lodge = `node ${installationDir}/dist/start.cjs`;

/** A host that is itself emulated is slow; this only guards against hanging. */
const timeoutMs = 590_000;
const patience = { timeoutMs };
const bootTimeout = '--boot-timeout 8m';

let host: SimulatedHost;
beforeAll(async () => {
  execFileSync(`${installationDir}/lodge`, ['--version']);
  host = await simulatedHost();
}, 600_000);
afterAll(leaveSimulatedHost);

async function freeHugePages(): Promise<string> {
  return host.output('cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/free_hugepages');
}

/** All that the pools of the two NUMA nodes have. */
const wholePools = '256\n256\n';
const pciFunction = '0000:00:10.0';

describe('a guest under KVM', () => {
  it('is refused a PCI function that is the host’s', async () => {
    const line = `cd /tmp && ${lodge} run -a kvm -m 256M --pci 00:10.0 ${bootTimeout} -- true`;
    const { code, stderr } = await host.run(line, patience);
    expect(code).toBe(125);
    expect(stderr).toContain(`${pciFunction} is not set apart for guests [pci-unusable]`);
  }, 600_000);

  // One guest for all of it: a boot takes most of a minute here.
  it('has mirrored NUMA nodes on huge pages of the right nodes, and a PCI function, and that is proved', async () => {
    await host.output(
      `echo vfio-pci >/sys/bus/pci/devices/${pciFunction}/driver_override && echo ${pciFunction} >/sys/bus/pci/drivers_probe`,
    );
    const asked = '-c 4 -m 512M --numa mirror --pin --pages 2M --pci 00:10.0';
    await host.output(`cd /tmp && ${lodge} run -d --name placed -a kvm ${asked} ${bootTimeout}`, patience);
    try {
      const [guest] = JSON.parse(await host.output(`${lodge} ps --json`, patience)) as [
        {
          accelerator: string;
          vmmPid: number;
          placement: {
            found: { met: boolean; differences: string[]; vcpus: { asked: number[]; got: number[] }[] };
          };
        },
      ];
      expect(guest.accelerator).toBe('kvm');
      const { found } = guest.placement;
      expect(found.differences).toEqual([]);
      expect(found.met).toBe(true);
      expect(found.vcpus.map(({ got }) => got)).toEqual([[0], [1], [2], [3]]);

      // The host's kernel, asked without lodge.
      const maps = await host.output(
        `grep memory-backend-memfd /proc/${guest.vmmPid}/numa_maps || grep huge /proc/${guest.vmmPid}/numa_maps`,
      );
      expect(maps).toMatch(/bind:0 .*huge.* N0=128 kernelpagesize_kB=2048/);
      expect(maps).toMatch(/bind:1 .*huge.* N1=128 kernelpagesize_kB=2048/);
      const nested = await host.output(`cat /sys/kernel/debug/kvm/${guest.vmmPid}-*/pages_2m`);
      expect(Number(nested)).toBeGreaterThan(0);

      // The guest, asked from inside.
      const inside = await host.output(
        `cd /tmp && ${lodge} exec placed -- sh -c 'cd /sys/devices/system; cat node/node*/cpulist node/node*/distance clocksource/clocksource0/current_clocksource'`,
        patience,
      );
      expect(inside.split('\n').slice(0, 5)).toEqual(['0-1', '2-3', '10 21', '21 10', 'kvm-clock']);
      const driven = await host.output(
        `cd /tmp && ${lodge} exec placed -- sh -c 'cd /sys/class/net && for i in [!l]*; do sed -n "s/PCI_ID=//p; s/DRIVER=//p" $i/device/uevent; done'`,
        patience,
      );
      expect(driven).toBe('e1000e\n8086:10D3\n');
    } finally {
      await host.run(`${lodge} rm -f placed`, patience);
    }
    // Another file's guest may have pages of the same pools for as long as it boots.
    await expect.poll(freeHugePages, { timeout: 300_000 }).toBe(wholePools);
  }, 600_000);

  it('is refused, before anything starts, what the pools cannot give', async () => {
    const { code, stderr } = await host.run(
      `cd /tmp && ${lodge} run -a kvm -c 4 -m 2G --numa mirror --pages 2M -- true`,
      patience,
    );
    expect(code).toBe(125);
    expect(stderr).toContain('[placement-unmet]');
    expect(stderr).toContain(
      'fix: echo 512 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages',
    );
    expect(await host.output(`${lodge} ps --json`, patience)).toBe('[]\n');
  }, 600_000);

  it('has only what a job may use that a cgroup confines, as a Slurm step is', async () => {
    const job = '/sys/fs/cgroup/lodge-job';
    const inJob = (line: string) =>
      host.run(`echo $$ >${job}/cgroup.procs && cd /tmp && ${lodge} run -n -a kvm ${line}`, patience);
    await host.output(`
      echo '+cpuset +memory' >/sys/fs/cgroup/cgroup.subtree_control && mkdir ${job}
      echo 2-3 >${job}/cpuset.cpus && echo 800M >${job}/memory.max`);
    try {
      const fits = await inJob('-c 2 -m 256M --numa mirror --json');
      expect({ code: fits.code, stderr: fits.stderr }).toMatchObject({ code: 0 });
      const { layout } = JSON.parse(fits.stdout) as {
        layout: { vcpus: { hostCpus: number[] }[]; nodes: { hostNode: number }[] };
      };
      expect(layout.vcpus.map(({ hostCpus }) => hostCpus)).toEqual([[2], [3]]);
      expect(layout.nodes.map(({ hostNode }) => hostNode)).toEqual([1]);
      const tooLarge = await inJob('-m 1G');
      expect(tooLarge).toMatchObject({
        code: 125,
        stderr: expect.stringContaining(`limited to 800M by ${job}`),
      });
    } finally {
      await host.run(`rmdir ${job}`, patience);
    }
  }, 600_000);
});

// Ten minutes on two cores, since the host is itself emulated: for a change of the driver or the channel.
describe.skipIf(process.env.LODGE_TEST_FULL !== '1')('kvm', () => {
  defineConformance('kvm', {
    openHost: async () => {
      const simulated = await simulatedHost();
      return {
        run: (argv, { stdin, ...options } = {}) =>
          simulated.run(argv, { ...options, ...(stdin === undefined ? {} : { stdin: Buffer.from(stdin) }) }),
      };
    },
    bulkMib: 2,
    crowd: 8,
    timeoutMs,
  });
});
