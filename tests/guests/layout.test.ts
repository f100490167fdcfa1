/** Layouts given to a real QEMU: what it makes of them, where it lies on this host, and what a guest sees. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freeLayout, type HostPages, type Layout, planLayout } from '../../src/guest/layout.ts';
import { layoutArguments } from '../../src/guest/vmm/qemu/layout-arguments.ts';
import { Qmp } from '../../src/guest/vmm/qemu/qmp.ts';
import {
  applyLayout,
  compareGuestTopology,
  guestTopologyPaths,
  parseTaskStatus,
  requireMet,
  verifyLayout,
} from '../../src/guest/vmm/qemu/verify.ts';
import { writeCpio } from '../../src/image/cpio.ts';
import { defaultKernel } from '../../src/image/kernel.ts';
import { openStore } from '../../src/image/store.ts';
import { type MachineShape, machineOf } from '../guest/layout-machines.ts';

const mib = 2 ** 20;
const root = mkdtempSync(join(tmpdir(), 'lodge-layout-'));
const ownCpus = parseTaskStatus(readFileSync('/proc/self/status', 'utf8')).got;
const freeHugePages = Number(
  execFileSync('sh', [
    '-c',
    'cat /sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages || echo 0',
  ]),
);
const transparent = readFileSync('/sys/kernel/mm/transparent_hugepage/enabled', 'utf8');

afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A layout planned on a machine that this one is not, and then moved to the CPUs and the node this one has. */
function layoutHere(
  cpus: number,
  shape: Partial<MachineShape>,
  host: HostPages = 'any',
  memoryBytes = 128 * mib,
): Layout {
  const planned = planLayout(
    { cpus, memoryBytes, pages: { host, strict: true }, pin: true, numa: 'mirror', placement: 'strict' },
    machineOf({ hugePages2M: [1024], ...shape }),
  );
  return {
    ...planned,
    vcpus: planned.vcpus.map((vcpu) => ({ ...vcpu, hostCpus: [ownCpus[vcpu.vcpu % ownCpus.length]!] })),
    nodes: planned.nodes.map((node) => ({ ...node, hostNode: 0 })),
    emulatorCpus: [ownCpus[0]!],
    preallocateThreads: 2,
  };
}

let running: { child: ChildProcess; qmp: Qmp; output: () => string; ended: Promise<void> } | undefined;

afterEach(async () => {
  running?.qmp.close();
  running?.child.kill('SIGKILL');
  await running?.ended;
  running = undefined;
});

/** Starts QEMU with a layout, paused. */
async function start(
  layout: Layout,
  more: readonly string[] = [],
): Promise<{ pid: number; qmp: Qmp; layout: Layout }> {
  const socket = join(root, 'qmp.sock');
  rmSync(socket, { force: true });
  const { argv } = layoutArguments(layout, 'tcg');
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-S'],
      ...['-accel', 'tcg,thread=multi', '-machine', 'q35,graphics=off', '-serial', 'stdio'],
      ...['-qmp', `unix:${socket},server=on,wait=off`],
      ...argv,
      ...more,
    ],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  let complaints = '';
  child.stdout!.on('data', (piece: Buffer) => {
    output += piece.toString();
  });
  child.stderr!.on('data', (piece: Buffer) => {
    complaints += piece.toString();
  });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const gone = new AbortController();
  void ended.then(() => gone.abort());
  const qmp = await Qmp.connect(socket, { signal: gone.signal }).catch((error: unknown) => {
    throw new Error(`QEMU did not start: ${complaints}`, { cause: error });
  });
  running = { child, qmp, output: () => output, ended };
  // Options that QEMU does not like, it tells here.
  expect(complaints).toBe('');
  return { pid: child.pid!, qmp, layout };
}

describe('QEMU with a layout', () => {
  it.each([
    ['nothing asked', freeLayout(3, 96 * mib)],
    ['one node', layoutHere(2, {})],
    ['two sockets', layoutHere(8, {})],
    ['uneven sockets', layoutHere(5, { coresPerCache: 3 })],
    ['threads and dies', layoutHere(16, { cachesPerNode: 2, coresPerCache: 2, threads: 2 })],
    ['sub-NUMA clusters', layoutHere(6, { sockets: 1, nodesPerSocket: 3, coresPerCache: 2 })],
    ['memory that is no multiple of 2 MiB', layoutHere(8, {}, 'any', 64 * mib + 8192)],
  ])('has the CPUs and the memory of the plan: %s', async (_, layout) => {
    const { qmp } = await start(layout);
    const cpus = await qmp.execute('query-cpus-fast');
    expect(cpus.map((cpu) => cpu['cpu-index'])).toEqual(layout.vcpus.map(({ vcpu }) => vcpu));
    const isNuma = layout.nodes.length > 1;
    for (const { vcpu, socket, die, core, thread, guestNode } of layout.vcpus) {
      expect(cpus[vcpu]!.props).toEqual({
        'socket-id': socket,
        'core-id': core,
        'thread-id': thread,
        ...(layout.smp.dies > 1 ? { 'die-id': die } : {}),
        ...(isNuma ? { 'node-id': guestNode } : {}),
      });
    }
    expect(await qmp.execute('query-hotpluggable-cpus')).toHaveLength(layout.vcpus.length);
    const memory = (await qmp.execute('query-memdev')).sort((a, b) => (a.id! < b.id! ? -1 : 1));
    if (layout.numa === 'mirror') {
      expect(memory.map(({ id, size, policy, prealloc }) => ({ id, size, policy, prealloc }))).toEqual(
        layout.nodes.map((node) => ({
          id: `memory${node.id}`,
          size: node.memoryBytes,
          policy: 'bind',
          prealloc: true,
        })),
      );
      expect(memory.flatMap((backend) => backend['host-nodes'])).toEqual(layout.nodes.map(() => 0));
    }
    const total = layout.nodes.reduce((sum, node) => sum + node.memoryBytes, 0);
    expect(await qmp.execute('query-memory-size-summary')).toMatchObject({ 'base-memory': total });
  });
});

describe('placement on this host', () => {
  it('is applied and found', async () => {
    const placed = await start(layoutHere(4, { coresPerCache: 2 }));
    await applyLayout(placed);
    const found = await verifyLayout(placed);
    expect(found.differences).toEqual([]);
    expect(found.met).toBe(true);
    expect(found.vcpus.map(({ got }) => got)).toEqual(placed.layout.vcpus.map(({ hostCpus }) => hostCpus));
    expect(found.emulator.threads.length).toBeGreaterThan(0);
    expect(found.memory).toMatchObject([
      { policy: 'bind:0', bytesByHostNode: [{ hostNode: 0, bytes: 64 * mib }] },
      { policy: 'bind:0', bytesByHostNode: [{ hostNode: 0, bytes: 64 * mib }] },
    ]);
    expect(JSON.parse(JSON.stringify(found))).toEqual(found);
    requireMet(found, placed.layout);
  });

  it.skipIf(ownCpus.length < 2)('is seen to be wrong', async () => {
    const placed = await start(layoutHere(2, {}));
    await applyLayout(placed);
    const { vcpus, emulator } = await verifyLayout(placed);
    execFileSync('taskset', ['-c', '-p', String(ownCpus[1]), String(vcpus[0]!.threadId)]);
    execFileSync('taskset', ['-c', '-p', String(ownCpus[1]), String(emulator.threads[0]!.threadId)]);
    const found = await verifyLayout(placed);
    expect(found.met).toBe(false);
    expect(found.differences[0]).toBe(`vCPU 0 may run on CPUs ${ownCpus[1]} instead of ${ownCpus[0]}`);
    expect(found.differences[1]).toContain('emulator thread');
    expect(() => requireMet(found, placed.layout)).toThrow('not placed as asked');
  });

  it('that cannot be had is an error, not a silence', async () => {
    const layout = layoutHere(1, {});
    const placed = await start({
      ...layout,
      vcpus: layout.vcpus.map((vcpu) => ({ ...vcpu, hostCpus: [4000] })),
    });
    await expect(applyLayout(placed)).rejects.toMatchObject({ code: 'placement-unmet' });
    const relaxed = { ...placed, layout: { ...placed.layout, placement: 'prefer' as const } };
    await applyLayout(relaxed);
    expect((await verifyLayout(relaxed)).differences).toHaveLength(1);
  });

  it('finds memory of which nothing was asked', async () => {
    const placed = await start(freeLayout(1, 96 * mib));
    await applyLayout(placed);
    const found = await verifyLayout(placed);
    expect(found.differences).toEqual([]);
    expect(found.memory[0]!.kernelPageBytes).toBe(4096);
  });

  it.skipIf(transparent.includes('[never]'))('tells transparent huge pages from small ones', async () => {
    const large = await start(layoutHere(1, {}, 'thp', 64 * mib));
    const found = await verifyLayout({ ...large, layout: { ...large.layout, emulatorCpus: [] } });
    // How many the kernel finds room for is its affair; that they are allowed is ours.
    expect(found.memory[0]!.transparentAllowed).toBe(true);
    expect(found.memory[0]!.transparentBytes).toBeGreaterThan(0);
    // Started without PR_SET_THP_DISABLE, which is the keeper's to set.
    const small: Layout = { ...large.layout, pages: { host: '4K', pageBytes: 4096, strict: true } };
    expect((await verifyLayout({ ...large, layout: small })).pageDifferences).toHaveLength(1);
  });

  it.skipIf(freeHugePages < 32)('finds pages of a pool', async () => {
    const placed = await start(layoutHere(1, {}, '2M', 64 * mib));
    await applyLayout(placed);
    const found = await verifyLayout(placed);
    expect(found.differences).toEqual([]);
    expect(found.memory).toMatchObject([
      { kernelPageBytes: 2 * mib, hugetlbBytes: 64 * mib, policy: 'bind:0' },
    ]);
  });
});

/** Prints each file named in /paths as `@PATH CONTENT`, and ends the machine. */
const initSource = `
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>
int main(void) {
  char path[512], content[4096];
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  FILE *paths = fopen("/paths", "r");
  while (paths && fgets(path, sizeof path, paths)) {
    path[strcspn(path, "\\n")] = 0;
    FILE *file = fopen(path, "r");
    if (file && fgets(content, sizeof content, file)) {
      content[strcspn(content, "\\n")] = 0;
      printf("@%s %s\\n", path, content);
    }
    if (file) fclose(file);
  }
  fflush(stdout);
  reboot(RB_AUTOBOOT);
}
`;

describe('what a guest sees', () => {
  let vmlinuxPath: string;
  let init: Buffer;

  beforeAll(async () => {
    vmlinuxPath = (await defaultKernel(openStore(join(root, 'store')))).vmlinuxPath;
    const initPath = join(root, 'init');
    writeFileSync(`${initPath}.c`, initSource);
    execFileSync('musl-gcc', ['-static', '-O2', '-o', initPath, `${initPath}.c`]);
    init = readFileSync(initPath);
  });

  it.each([
    ['one socket', layoutHere(2, {})],
    ['two nodes of two dies of threads', layoutHere(8, { cachesPerNode: 2, coresPerCache: 1, threads: 2 })],
    ['two nodes in a socket, uneven', layoutHere(5, { sockets: 1, nodesPerSocket: 2, coresPerCache: 3 })],
  ])('is the plan: %s', async (_, layout) => {
    const paths = guestTopologyPaths(layout);
    const initramfs = join(root, 'initramfs');
    const entries = [
      { kind: 'directory', path: 'dev' },
      { kind: 'directory', path: 'sys' },
      { kind: 'device', path: 'dev/console', type: 'character', major: 5, minor: 1 },
      { kind: 'file', path: 'init', data: init, mode: 0o755 },
      { kind: 'file', path: 'paths', data: Buffer.from(`${paths.join('\n')}\n`) },
    ] as const;
    writeFileSync(initramfs, writeCpio(entries));
    const placed = await start(layout, [
      ...['-kernel', vmlinuxPath, '-initrd', initramfs],
      ...['-append', 'console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off'],
    ]);
    await applyLayout(placed);
    requireMet(await verifyLayout(placed), layout);
    await placed.qmp.execute('cont');
    await running!.ended;
    const contents = new Map(
      [...running!.output().matchAll(/@(\/sys\S+) (.*?)\r?$/gm)].map((match) => [match[1]!, match[2]!]),
    );
    expect([...contents.keys()].sort()).toEqual([...paths].sort());
    expect(compareGuestTopology(layout, contents)).toEqual([]);
  });
});
