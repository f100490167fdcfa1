/** Looks at the machine and makes the head of a study from a spec. */

import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { planLayout } from '../guest/layout.ts';
import { defaultKernel } from '../image/kernel.ts';
import type { Progress } from '../image/kernel-debian.ts';
import type { Store } from '../image/store.ts';
import { installationVersion } from '../installation.ts';
import { type AcceleratorVerdict, proveAccelerator } from '../machine/accelerators.ts';
import { lastLevelCache, type Machine, usableCores } from '../machine/machine.ts';
import { probeMachine } from '../machine/probe.ts';
import { liveSource } from '../machine/source.ts';
import { runProgram } from '../process.ts';
import type { Surroundings } from './begun.ts';
import { benchmarks } from './benchmarks/benchmarks.ts';
import type { BenchmarkName } from './cells.ts';
import { coresOf, designStudy } from './design.ts';
import { maxMapCountPath } from './host-settings.ts';
import { hasProgram, type ImageTree } from './image-tree.ts';
import type { HostDescription, StudyHead } from './samples.ts';
import { planSizes } from './sizes.ts';
import type { StudySpec } from './spec.ts';

/** Packages whose versions bear on the numbers. */
const benchmarkPackages = [
  'hpcc',
  'libopenblas0-pthread',
  'openmpi-bin',
  'netpipe-openmpi',
  'libc6',
  'libgomp1',
];
const vmmPackages = ['qemu-system-x86', 'user-mode-linux'];

/** A guest that runs, and is a node of Slurm. */
export interface GuestNode {
  name: string;
  accelerator: string;
  cpus: number;
  memoryBytes: number;
}

/**
 * Makes the head of a new study.
 * @throws LodgeError `not-enough-memory` when not even the least sizes fit; as `probeMachine` does
 */
export async function beginStudy(
  spec: StudySpec,
  machine: Machine,
  surroundings: Surroundings,
  {
    store,
    tree,
    onProgress,
    node,
  }: { store: Store; tree: ImageTree | undefined; onProgress: Progress; node?: GuestNode },
): Promise<StudyHead> {
  const verdicts: Pick<AcceleratorVerdict, 'accelerator' | 'usable' | 'reason'>[] = [];
  for (const environment of spec.environments) {
    if (environment === 'native') continue;
    if (node?.accelerator === environment) {
      verdicts.push({ accelerator: environment, usable: true, reason: `${node.name} runs on it` });
      continue;
    }
    verdicts.push(
      await proveAccelerator(environment, {
        stateDir: join(store.path, 'accelerators'),
        onProbe: () => onProgress(`booting a probe guest on ${environment}`, true),
        kernel: async () => ({ path: (await defaultKernel(store, { onProgress })).vmlinuxPath }),
      }),
    );
  }
  const sizes = planSizes({
    size: spec.size,
    benchmarks: spec.benchmarks,
    // What runs on one core or between two does so whatever other numbers are asked for.
    cores: [...new Set([1, 2, ...coresOf(spec, machine)])].sort((a, b) => a - b),
    budgetBytes:
      Math.min(machine.limits.availableMemoryBytes, node?.memoryBytes ?? Number.POSITIVE_INFINITY) *
      spec['memory-share'],
    lastLevelCachesBytes: lastLevelCachesBytes(machine),
  });
  const design = designStudy(
    spec,
    {
      machine,
      accelerators: verdicts,
      missingPackages: missingPackages(spec, tree),
      imageName: tree?.image.name,
      maxMapCount: Number(readOr(maxMapCountPath)),
      ...(node === undefined ? {} : { node }),
    },
    sizes,
  );
  return {
    format: 1,
    id: `${Date.now().toString(36)}-${randomInt(2 ** 32).toString(36)}`,
    createdAt: new Date().toISOString(),
    spec,
    seed: spec.seed ?? randomInt(2 ** 32),
    ...surroundings,
    ...(tree === undefined ? {} : { image: tree.image }),
    cells: design.cells,
    notMeasured: design.notMeasured,
    sizes,
  };
}

/** What bears on the numbers here and now. @param tree where the programs come from; the host when undefined */
export async function lookAtSurroundings(
  machine: Machine,
  tree: ImageTree | undefined,
): Promise<Surroundings> {
  return {
    lodgeVersion: installationVersion(),
    host: describeHost(machine),
    packages: {
      ...(await packageVersions(benchmarkPackages, tree)),
      ...(await packageVersions(vmmPackages)),
    },
  };
}

/** What is measured of this machine for a study. */
export function lookAtMachine(): Promise<Machine> {
  return probeMachine();
}

/** The pCPUs of pinned runs, the same for native runs and guests, by number of cores. */
export function pinnedCpusOf(
  head: Pick<StudyHead, 'cells' | 'sizes'>,
  machine: Machine,
): Record<number, number[]> {
  const pinned: Record<number, number[]> = {};
  for (const { cores, placement } of head.cells) {
    if (placement !== 'mirror' || pinned[cores] !== undefined) continue;
    const layout = planLayout(
      {
        cpus: cores,
        memoryBytes: head.sizes.guestMemoryBytes[cores]!,
        pages: { host: 'any', strict: false },
        pin: true,
        numa: 'mirror',
        placement: 'strict',
      },
      machine,
    );
    pinned[cores] = layout.vcpus.flatMap(({ hostCpus }) => hostCpus);
  }
  return pinned;
}

/** The NUMA node that each pCPU is nearest to. */
export function nodesOfCpus({ topology }: Machine): Map<number, number> {
  return new Map(topology.cores.flatMap(({ pus, numaNode }) => pus.map((cpu) => [cpu, numaNode] as const)));
}

function lastLevelCachesBytes(machine: Machine): number {
  const caches = new Map<string, number>();
  for (const { pus } of usableCores(machine)) {
    const cache = lastLevelCache(machine.topology, pus[0]!);
    if (cache !== undefined) caches.set(cache.cpus.join(','), cache.bytes);
  }
  return [...caches.values()].reduce((sum, bytes) => sum + bytes, 0);
}

function missingPackages(
  spec: StudySpec,
  tree: ImageTree | undefined,
): Partial<Record<BenchmarkName, string[]>> {
  const source = liveSource();
  const has = (program: string): boolean =>
    tree === undefined ? source.findProgram(program) !== undefined : hasProgram(tree, program);
  const missing: Partial<Record<BenchmarkName, string[]>> = {};
  for (const name of spec.benchmarks) {
    if (name === 'boot') continue;
    const lacking = benchmarks[name].needs.filter(({ program }) => !has(program)).map((need) => need.package);
    if (lacking.length > 0) missing[name] = [...new Set(lacking)];
  }
  return missing;
}

/** @param tree whose database of packages is asked; the host's when undefined */
async function packageVersions(names: readonly string[], tree?: ImageTree): Promise<Record<string, string>> {
  const format = `\${db:Status-Abbrev} \${Package} \${Version}\\n`;
  // On a distribution without dpkg there are no such versions to tell.
  const database = tree === undefined ? [] : [`--admindir=${join(tree.path, 'var/lib/dpkg')}`];
  const listed = await runProgram(['dpkg-query', ...database, '-W', '-f', format, ...names]).catch(
    () => undefined,
  );
  const versions: Record<string, string> = {};
  for (const line of listed?.stdout.split('\n') ?? []) {
    const [status, name, version] = line.split(/\s+/);
    if (status?.startsWith('ii') === true && name !== undefined && version !== undefined)
      versions[name] = version;
  }
  return versions;
}

function describeHost({ hostname, cpuModel, kernelRelease, memory, topology }: Machine): HostDescription {
  const isVirtual = /^flags\s*:.*\bhypervisor\b/m.test(readOr('/proc/cpuinfo'));
  return {
    hostname,
    cpuModel,
    sockets: topology.packages.length,
    numaNodes: topology.numaNodes.length,
    cores: topology.cores.length,
    threads: topology.cores.reduce((sum, { pus }) => sum + pus.length, 0),
    memoryBytes: memory.totalBytes,
    kernel: kernelRelease,
    distribution: /^PRETTY_NAME="?([^"\n]*)/m.exec(readOr('/etc/os-release'))?.[1] ?? 'unknown',
    ...(isVirtual ? { virtualization: 'itself a virtual machine' } : {}),
  };
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
