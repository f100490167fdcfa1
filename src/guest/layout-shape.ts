/** The shape of a guest's CPUs: what sockets, dies, cores and threads it sees for the host CPUs it is pinned to. */

import { type Core, lastLevelCache, type Machine, type Topology } from '../machine/machine.ts';
import type { Seat } from './layout-cpus.ts';

/** As QEMU's -smp has it: each is the number within one of the level before. */
export interface Smp {
  sockets: number;
  dies: number;
  cores: number;
  threads: number;
}

/**
 * The place of a vCPU in a shape. QEMU (`possible_cpus` of hw/i386/x86.c) and then Linux number CPUs with threads
 * going round fastest, then cores, dies, sockets.
 */
export function placeInShape(
  smp: Smp,
  vcpu: number,
): { socket: number; die: number; core: number; thread: number } {
  const thread = vcpu % smp.threads;
  const core = Math.floor(vcpu / smp.threads) % smp.cores;
  const die = Math.floor(vcpu / (smp.threads * smp.cores)) % smp.dies;
  const socket = Math.floor(vcpu / (smp.threads * smp.cores * smp.dies));
  return { socket, die, core, thread };
}

/**
 * The shape for vCPUs on these host CPUs (none: not pinned). Without mirroring it is one socket, with threads where
 * the host's threads are used.
 *
 * A level whose parts are not equal is cut into the greatest equal parts: 6 vCPUs of one socket and 4 of the next
 * become 5 guest sockets of 2 cores. A guest socket, die or core then never spans two of the host, so no sharing
 * is claimed that is not there. Dies of a single vCPU are left out all the same, because Linux (has_mp in
 * arch/x86/kernel/smpboot.c) takes each for a socket of its own.
 */
export function guestShape(
  cpus: number,
  seats: readonly Seat[],
  isMirror: boolean,
  topology: Topology,
): { smp: Smp; notes: string[] } {
  if (seats.length === 0) return { smp: { sockets: 1, dies: 1, cores: cpus, threads: 1 }, notes: [] };
  const coreKeys = seats.map(({ core }) => core.pus[0]!);
  const coreRuns = runLengths(coreKeys);
  const threads = greatestCommonDivisor(coreRuns);
  const notes: string[] = [];
  if (Math.max(...coreRuns) !== threads || coreRuns.length !== new Set(coreKeys).size) {
    notes.push('some host cores hold more vCPUs than others: the guest sees no hardware threads');
  }
  if (!isMirror) return { smp: { sockets: 1, dies: 1, cores: cpus / threads, threads }, notes };
  const dieKeys = seats.map(({ cpu, core }) => `${core.socket} ${dieKey(core, cpu, topology)}`);
  const dieRuns = runLengths(dieKeys);
  const equalDie = greatestCommonDivisor(dieRuns);
  const socketKeys = seats.map(({ core }) => core.socket);
  const socketRuns = runLengths(socketKeys);
  const perSocket = greatestCommonDivisor(socketRuns);
  const perDie = equalDie === 1 ? perSocket : equalDie;
  const smp = {
    sockets: cpus / perSocket,
    dies: perSocket / perDie,
    cores: perDie / threads,
    threads,
  };
  const hostSockets = new Set(socketKeys).size;
  const hostDies = new Set(dieKeys).size;
  if (smp.sockets !== hostSockets || smp.sockets * smp.dies !== hostDies) {
    notes.push(
      `vCPUs are on ${plural(hostSockets, 'host socket')} (${socketRuns.join('+')}) ` +
        `with ${plural(hostDies, 'last-level cache')} (${dieRuns.join('+')}), which QEMU cannot show as they are: ` +
        `the guest sees ${plural(smp.sockets, 'socket')} of ${plural(smp.dies, 'die')} ` +
        `of ${plural(smp.cores, 'core')}`,
    );
  }
  return { smp, notes };
}

/** What a guest die stands for: the die, or the part of it that shares a last-level cache (AMD's core complex). */
export function dieKey(core: Core, cpu: number, topology: Topology): string {
  const cache = lastLevelCache(topology, cpu);
  // A cache below level 3 belongs to a core or a few; making each a die would tell the guest nothing true.
  return `${core.die} ${cache === undefined || cache.level < 3 ? '' : Math.min(...cache.cpus)}`;
}

/**
 * Whether the host's cache leaves (`host-cache-info=on`) are true in this shape. QEMU 7.2 hands on how many APIC ids
 * share each cache as the host has it (`cpu_x86_cpuid` in target/i386/cpu.c: leaf 4 limits it to the socket, leaf
 * 0x8000001D not at all). With other threads per core than the host has, cores would seem to share a level 2 cache;
 * with part of an AMD core complex, dies a level 3 cache. QEMU's own model then shares rightly, with its own sizes.
 */
export function hostCacheInfoFits(smp: Smp, seats: readonly Seat[], machine: Machine): boolean {
  const { topology } = machine;
  const hostThreads = Math.max(...topology.cores.map((core) => core.pus.length));
  if (smp.threads !== hostThreads) return false;
  const perDie = smp.cores * smp.threads;
  return seats.every(({ cpu }) => {
    const cache = lastLevelCache(topology, cpu);
    if (cache === undefined || cache.level < 3) return true;
    const ids = powerOfTwo(cache.cpus.length);
    // With one die, leaf 4 is cut down to the socket, which is the die.
    if (machine.cpuVendor === 'GenuineIntel' && smp.dies === 1) return ids >= powerOfTwo(perDie);
    return ids === powerOfTwo(perDie);
  });
}

/** Lengths of the stretches of equal values. */
export function runLengths(values: readonly (string | number)[]): number[] {
  const runs: number[] = [];
  values.forEach((value, i) => {
    if (i > 0 && values[i - 1] === value) runs[runs.length - 1]!++;
    else runs.push(1);
  });
  return runs;
}

export function greatestCommonDivisor(values: readonly number[]): number {
  const two = (a: number, b: number): number => (b === 0 ? a : two(b, a % b));
  return values.reduce(two, 0);
}

/** The least power of two that is not below a number: how many APIC ids are kept for so many CPUs. */
export function powerOfTwo(count: number): number {
  return 2 ** Math.ceil(Math.log2(count));
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
