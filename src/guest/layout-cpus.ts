/** Which host CPUs a guest gets: cores before threads, few and near NUMA nodes, a core left over for the emulator. */

import { fixWith, key } from '../fix.ts';
import { type Core, type Machine, type Topology, usableCores, usableCpus } from '../machine/machine.ts';
import type { Unmet } from './layout-memory.ts';
import { dieKey, greatestCommonDivisor, runLengths } from './layout-shape.ts';

/** One host CPU for one vCPU, and the core it is a thread of. */
export interface Seat {
  cpu: number;
  core: Core;
}

interface CpuRequest {
  pin: boolean | readonly number[];
  numa: 'none' | 'mirror';
  takenCpus?: readonly number[];
}

/**
 * The cores a guest may be pinned to: this job's, without those of other guests (CPUs that a person named are
 * theirs to give twice), and for a mirrored guest only where the job may take memory from the NUMA node too.
 */
export function availableCores(machine: Machine, { pin, numa, takenCpus }: CpuRequest): Core[] {
  const taken = new Set(typeof pin === 'object' ? [] : takenCpus);
  return usableCores(machine).filter(
    (core) =>
      // A core with one thread taken is not quiet: it is another guest's.
      !core.pus.some((cpu) => taken.has(cpu)) &&
      (numa === 'none' || machine.limits.allowedNumaNodes.includes(core.numaNode)),
  );
}

/** The seats for host CPUs that are known to be among the cores. */
export function seatsOf(cpus: readonly number[], cores: readonly Core[]): Seat[] {
  return cpus.map((cpu) => ({ cpu, core: cores.find((core) => core.pus.includes(cpu))! }));
}

/** Seats sorted so that what is near each other on the host has neighbouring vCPU numbers. */
export function inTopologyOrder(seats: readonly Seat[], topology: Topology): Seat[] {
  const keys = new Map(
    seats.map((seat) => {
      const { core, cpu } = seat;
      // Dies are ordered by their lowest CPU, which is unique and follows the host's own numbering.
      const die = lowestCpu(topology.cores, (other) => sameDie(other, core, topology));
      return [seat, [core.socket, core.numaNode, die, Math.min(...core.pus), cpu]];
    }),
  );
  return [...seats].sort((a, b) => compareNumbers(keys.get(a)!, keys.get(b)!));
}

/**
 * Ways to seat so many vCPUs, the best first; none when there are too few CPUs. They differ in the NUMA nodes they
 * take: fewer are better, then nearer ones, then those with a core left over, then lower numbers.
 */
export function cpuCandidates(cpus: number, cores: readonly Core[], machine: Machine): Seat[][] {
  const pus = cores.reduce((sum, core) => sum + core.pus.length, 0);
  if (cpus > pus) return [];
  const usesThreads = cpus > cores.length;
  const threadsPerCore = Math.max(...cores.map((core) => core.pus.length));
  const isUniform = cores.every((core) => core.pus.length === threadsPerCore);
  const unit = usesThreads && isUniform ? threadsPerCore : 1;
  const groups = groupBy(cores, (core) => core.numaNode);
  const capacity = (node: number): number =>
    groups.get(node)!.reduce((sum, core) => sum + (usesThreads ? core.pus.length : 1), 0);
  const sets = nodeSets([...groups.keys()], machine.topology);
  const scored = sets
    .filter((nodes) => nodes.length <= cpus && nodes.reduce((sum, node) => sum + capacity(node), 0) >= cpus)
    .map((nodes) => {
      const distances = nodes.flatMap((from) => nodes.map((to) => distance(machine.topology, from, to)));
      const coresThere = nodes.reduce((sum, node) => sum + groups.get(node)!.length, 0);
      const hasSpare = coresThere > Math.ceil(cpus / (usesThreads ? threadsPerCore : 1));
      const far = distances.reduce((sum, value) => sum + value, 0);
      return { nodes, score: [nodes.length, far, hasSpare ? 0 : 1, ...nodes] };
    })
    .sort((a, b) => compareNumbers(a.score, b.score));
  return scored.map(({ nodes }) => {
    const seat = (counts: number[], isPacked: boolean): Seat[] => {
      const seats = nodes.flatMap((node, i) =>
        seatsInNode(counts[i]!, groups.get(node)!, { usesThreads, unit, isPacked }, machine.topology),
      );
      return inTopologyOrder(seats, machine.topology);
    };
    const capacities = nodes.map(capacity);
    const even = seat(spreadEvenly(cpus, capacities, unit), false);
    const evenPart = equalPart(even, machine.topology);
    if (evenPart.isWhole) return even;
    // Uneven caches cost the guest its picture of them: then filling one after the other may serve it better.
    const packed = seat(fillUp(cpus, capacities), true);
    return equalPart(packed, machine.topology).size > evenPart.size ? packed : even;
  });
}

/** Why so many vCPUs cannot be pinned, with the sums. */
export function tooManyVcpus(cpus: number, machine: Machine, request: CpuRequest): Unmet {
  const cores = availableCores(machine, request);
  const held = cores.reduce((sum, core) => sum + core.pus.length, 0);
  const allowed = usableCpus(machine.limits).length;
  const others = usableCores(machine).length - cores.length;
  return {
    message:
      `${cpus === 1 ? 'a vCPU cannot be pinned to a CPU of its own' : `${cpus} vCPUs cannot be pinned one to a CPU`}: this job may use ${allowed} CPUs` +
      (held === allowed
        ? ''
        : `, of which ${held} can be had (${others} cores are taken or have no memory here)`),
    fix:
      held > 0
        ? fixWith`ask for ${key('cpus', String(held))} at most, or run in a job that has more`
        : 'end a guest that is pinned, or run in a job that has more CPUs',
    // One is what every guest has: then it is the pin that cannot be.
    key: cpus > 1 ? 'cpus' : request.pin === false ? 'numa' : 'pin',
  };
}

/**
 * Host CPUs for the emulator's own threads: a core that no vCPU needs, near the vCPUs; else the idle hardware
 * threads of their cores; else anywhere (none).
 */
export function housekeepingCpus(seats: readonly Seat[], cores: readonly Core[], machine: Machine): number[] {
  if (seats.length === 0) return [];
  const used = new Set(seats.map((seat) => seat.cpu));
  const isIdle = (core: Core): boolean => !core.pus.some((cpu) => used.has(cpu));
  const nodes = [...new Set(seats.map((seat) => seat.core.numaNode))];
  const spare = cores.filter(isIdle).map((core) => {
    const away = Math.min(...nodes.map((node) => distance(machine.topology, node, core.numaNode)));
    return { core, score: [away, Math.min(...core.pus)] };
  });
  const best = spare.sort((a, b) => compareNumbers(a.score, b.score))[0];
  if (best !== undefined) return [...best.core.pus];
  const idleThreads = cores.flatMap((core) => core.pus.filter((cpu) => !used.has(cpu)));
  return idleThreads.sort((a, b) => a - b);
}

/**
 * Shares of a count for groups of limited capacity, as even as they allow, each a multiple of `unit` where that
 * works out. The capacities must hold the count.
 */
export function spreadEvenly(count: number, capacities: readonly number[], unit: number): number[] {
  const shares = capacities.map(() => 0);
  const order = capacities
    .map((capacity, i) => ({ capacity, i }))
    .sort((a, b) => a.capacity - b.capacity || a.i - b.i);
  let left = count;
  order.forEach(({ capacity, i }, done) => {
    const even = left / (order.length - done);
    shares[i] = Math.min(capacity, Math.ceil(even / unit) * unit, left);
    left -= shares[i];
  });
  return shares;
}

/** Shares of a count that fill one group after the other. */
function fillUp(count: number, capacities: readonly number[]): number[] {
  let left = count;
  return capacities.map((capacity) => {
    const share = Math.min(capacity, left);
    left -= share;
    return share;
  });
}

/** The greatest equal part that the vCPUs on each last-level cache can be cut into, and whether it is all of each. */
function equalPart(seats: readonly Seat[], topology: Topology): { size: number; isWhole: boolean } {
  const runs = runLengths(seats.map(({ core, cpu }) => `${core.socket} ${dieKey(core, cpu, topology)}`));
  const size = greatestCommonDivisor(runs);
  return { size, isWhole: size === Math.max(...runs) };
}

/** Sets of nodes worth a look: for each node, itself with its nearest, and with its largest, one more at a time. */
function nodeSets(nodes: readonly number[], topology: Topology): number[][] {
  const sets = new Map<string, number[]>();
  for (const start of nodes) {
    const byDistance = [...nodes].sort(
      (a, b) => distance(topology, start, a) - distance(topology, start, b) || a - b,
    );
    // The start comes first even where firmware says that another node is as near.
    const order = [start, ...byDistance.filter((node) => node !== start)];
    for (let size = 1; size <= order.length; size++) {
      const set = order.slice(0, size).sort((a, b) => a - b);
      sets.set(set.join(), set);
    }
  }
  return [...sets.values()];
}

/** Seats for a number of vCPUs within one NUMA node: on the fewest last-level caches that hold them. */
function seatsInNode(
  count: number,
  cores: readonly Core[],
  { usesThreads, unit, isPacked }: { usesThreads: boolean; unit: number; isPacked: boolean },
  topology: Topology,
): Seat[] {
  const size = (core: Core): number => (usesThreads ? core.pus.length : 1);
  const groups = [
    ...groupBy(cores, (core) => `${core.socket} ${dieKey(core, core.pus[0]!, topology)}`).values(),
  ]
    .map((group) => ({ group, capacity: group.reduce((sum, core) => sum + size(core), 0) }))
    .sort((a, b) => b.capacity - a.capacity || lowestCpu(a.group) - lowestCpu(b.group));
  const chosen: typeof groups = [];
  for (let held = 0; held < count; held += chosen.at(-1)!.capacity) chosen.push(groups[chosen.length]!);
  const capacities = chosen.map(({ capacity }) => capacity);
  const counts = isPacked ? fillUp(count, capacities) : spreadEvenly(count, capacities, unit);
  return chosen.flatMap(({ group }, i) => {
    // Whole cores first, so that both threads of a core belong to this guest.
    const ordered = [...group].sort((a, b) => size(b) - size(a) || lowestCpu([a]) - lowestCpu([b]));
    const seats = ordered.flatMap((core) => core.pus.slice(0, size(core)).map((cpu) => ({ cpu, core })));
    return seats.slice(0, counts[i]);
  });
}

function sameDie(a: Core, b: Core, topology: Topology): boolean {
  return a.socket === b.socket && dieKey(a, a.pus[0]!, topology) === dieKey(b, b.pus[0]!, topology);
}

function lowestCpu(cores: readonly Core[], isMeant: (core: Core) => boolean = () => true): number {
  return Math.min(...cores.filter(isMeant).flatMap((core) => core.pus));
}

function distance(topology: Topology, from: number, to: number): number {
  const column = topology.numaNodes.findIndex((node) => node.id === to);
  const row = topology.numaNodes.find((node) => node.id === from);
  return row?.distances[column] ?? (from === to ? 10 : 20);
}

function groupBy<T, K>(values: readonly T[], keyOf: (value: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const value of values) {
    const group = groups.get(keyOf(value));
    if (group === undefined) groups.set(keyOf(value), [value]);
    else group.push(value);
  }
  return groups;
}

/** Order of two lists of numbers: by the first place in which they differ. */
function compareNumbers(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? a.length - b.length : a[at]! - (b[at] ?? Number.NEGATIVE_INFINITY);
}
