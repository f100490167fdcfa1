/** Looking at a host: all of it, or its topology alone. The cheap part is in `basics.ts`. */

import { LodgeError } from '../errors.ts';
import { missingProgram } from '../process.ts';
import { probeLimits } from './basics.ts';
import { lstopoArgv, parseTopologyXml } from './hwloc.ts';
import type { Machine, MachineBasics, Topology } from './machine.ts';
import { liveSource, type MachineSource } from './source.ts';

/**
 * Measures everything.
 * @throws LodgeError `missing-program` without hwloc, `machine-probe` when hwloc fails
 */
export async function probeMachine(source: MachineSource = liveSource()): Promise<Machine> {
  const basics = probeLimits(source);
  const [topology, userNamespaces] = await Promise.all([
    probeTopology(source, basics),
    probeUserNamespaces(source),
  ]);
  return { ...basics, topology, userNamespaces };
}

/**
 * hwloc asks each CPU by running on it, and waits for its turn there: over ten seconds were seen on two busy CPUs, for
 * 30 ms of work.
 */
const lstopoLimitMs = 120_000;

/**
 * Measures sockets, NUMA nodes, cores and caches with hwloc, about 10 ms of CPU on a small host.
 * @throws LodgeError `missing-program` without hwloc, `machine-probe` when hwloc fails
 */
export async function probeTopology(
  source: MachineSource = liveSource(),
  basics: Pick<MachineBasics, 'pages' | 'memory'> = probeLimits(source),
): Promise<Topology> {
  const result = await source.run(lstopoArgv, lstopoLimitMs);
  if (result === undefined) throw missingProgram(lstopoArgv[0]);
  if (result.code !== 0) {
    throw new LodgeError('machine-probe', `lstopo failed with exit code ${result.code}`, {
      detail: result.stderr.trim(),
      fix: `run it yourself: ${lstopoArgv.join(' ')}`,
    });
  }
  const topology = await parseTopologyXml(result.stdout);
  const [only, second] = topology.numaNodes;
  // Memory plugged into a virtual host later is missing from its node's count but not from the whole.
  if (only !== undefined && second === undefined) only.memoryBytes = basics.memory.totalBytes;
  for (const node of topology.numaNodes) {
    node.hugePages = basics.pages.poolsByNumaNode.find(({ numaNode }) => numaNode === node.id)?.pools ?? [];
  }
  return topology;
}

/** Tries to make a user namespace: whether one can is decided in too many places to look it up. */
export async function probeUserNamespaces(
  source: MachineSource = liveSource(),
): Promise<{ usable: boolean; reason: string }> {
  const result = await source.run(['unshare', '--user', '--map-root-user', '--pid', '--fork', 'true']);
  if (result === undefined) return { usable: false, reason: "the program 'unshare' is not installed" };
  if (result.code === 0) return { usable: true, reason: 'one was made' };
  return { usable: false, reason: result.stderr.trim() || `unshare ended with ${result.code}` };
}
