/**
 * Whether a host could ever give a guest: with all its pinned CPUs, pools and functions free, and memory enough. So a
 * cluster is refused before anything starts, and one that runs is not refused for what it holds itself. Pure.
 */

import type { Machine, MachineBasics } from '../machine/machine.ts';
import type { PlanInput } from './planner.ts';

/** What was found for a guest, as it would be found if no other one were there. */
export function aloneOnHost<Look extends Pick<PlanInput, 'basics' | 'machine' | 'pci' | 'takenCpus'>>(
  look: Look,
): Look {
  const { basics, machine, pci } = look;
  return {
    ...look,
    basics: withMemory(basics),
    ...(machine === undefined ? {} : { machine: withFreePools(withMemory(machine)) }),
    ...(pci === undefined ? {} : { pci: pci.map(unused) }),
    takenCpus: [],
  };
}

/** How much is left is for those to say who know all that is to be started. */
function withMemory<Basics extends MachineBasics>(basics: Basics): Basics {
  return {
    ...basics,
    limits: { ...basics.limits, availableMemoryBytes: Number.POSITIVE_INFINITY },
  };
}

function withFreePools(machine: Machine): Machine {
  const poolsByNumaNode = machine.pages.poolsByNumaNode.map((node) => ({
    ...node,
    pools: node.pools.map((pool) => ({ ...pool, free: pool.total })),
  }));
  return { ...machine, pages: { ...machine.pages, poolsByNumaNode } };
}

function unused(one: NonNullable<PlanInput['pci']>[number]): typeof one {
  if (one.group?.error !== 'EBUSY') return one;
  const { error: _, ...group } = one.group;
  return { ...one, group };
}
