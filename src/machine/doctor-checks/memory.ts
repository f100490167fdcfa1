/** How much memory guests can have, and in what pages. */

import { formatSize } from '../../units.ts';
import type { DoctorFacts } from '../doctor-facts.ts';
import type { HugePagePool, MachineBasics } from '../machine.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('memory');

/** Less than this and not even a small guest with its VMM fits. */
const leastGuestBytes = 512 * 2 ** 20;

/** Of the memory of a NUMA node, what a proposal reserves as huge pages: half, so that the host lives too. */
const proposedShare = 0.5;

export function checkMemory({ machine, topology }: DoctorFacts): Finding[] {
  return [
    checkAvailable(machine),
    ...checkMemlock(machine),
    ...checkTransparent(machine),
    checkPools(
      machine,
      topology?.numaNodes.map((node) => node.memoryBytes),
    ),
    ...checkShared(machine),
  ];
}

function checkAvailable({ limits, memory }: MachineBasics): Finding {
  const available = `${formatSize(limits.availableMemoryBytes)} of ${formatSize(memory.totalBytes)} available`;
  const limit =
    limits.memoryBytes === undefined
      ? ''
      : `; this job may use ${formatSize(limits.memoryBytes)} (${limits.memoryLimitedBy})`;
  if (limits.availableMemoryBytes < leastGuestBytes) {
    return finding('warn', 'available', available + limit, 'too little for a guest of the default size', {
      advice: 'ask for more memory for the job (Slurm: --mem), or give guests less (-m)',
    });
  }
  return limit === ''
    ? finding('pass', 'available', available, 'nothing but the machine itself limits the memory of guests')
    : finding(
        'note',
        'available',
        available + limit,
        'guests and their VMMs together must stay below the limit',
      );
}

function checkMemlock({ limits, user }: MachineBasics): Finding[] {
  if (user.capabilities.includes('IPC_LOCK')) return [];
  if (limits.lockedBytes === undefined) {
    return [finding('pass', 'memlock', 'locked memory is not limited', 'guests can be locked in memory')];
  }
  return [
    finding(
      'note',
      'memlock',
      `locked memory is limited to ${formatSize(limits.lockedBytes.soft)}`,
      'guests with devices of their own (VFIO) or locked memory need as much as their size; others do not care',
      {
        advice:
          'raise memlock in /etc/security/limits.conf, or PropagateResourceLimitsExcept=MEMLOCK in slurm.conf',
      },
    ),
  ];
}

const thpDirectory = '/sys/kernel/mm/transparent_hugepage';

function checkTransparent({ pages }: MachineBasics): Finding[] {
  const { enabled, shared } = pages.transparent;
  if (enabled === undefined) {
    return [
      finding(
        'warn',
        'thp',
        'the kernel has no transparent huge pages',
        'guests get 2M pages only from pools',
      ),
    ];
  }
  const findings = [
    enabled === 'never'
      ? finding(
          'warn',
          'thp',
          'transparent huge pages are off',
          'guests run on 4K pages unless a pool is reserved',
          {
            command: `echo madvise > ${thpDirectory}/enabled`,
            automatic: true,
          },
        )
      : finding(
          'pass',
          'thp',
          `transparent huge pages: ${enabled}`,
          'guests get 2M pages where memory allows',
        ),
  ];
  if (shared === 'never' || shared === 'deny') {
    findings.push(
      finding(
        'note',
        'thp-shared',
        'no transparent huge pages in shared memory',
        'guests whose memory is shared run on 4K pages',
        { command: `echo advise > ${thpDirectory}/shmem_enabled` },
      ),
    );
  }
  return findings;
}

function checkPools({ pages }: MachineBasics, nodeBytes: readonly number[] | undefined): Finding {
  const reserved = pages.pools.filter((pool) => pool.total > 0);
  if (reserved.length === 0) {
    return finding(
      'note',
      'huge-pages',
      'no huge pages are reserved',
      '`--pages 2M` and `--pages 1G` are refused, but with `--prefer`; `--pages thp` needs no pool',
      { command: reserveCommand(pages.poolsByNumaNode.length, nodeBytes) },
    );
  }
  const perNode = pages.poolsByNumaNode
    .map(
      ({ numaNode, pools }) =>
        `node ${numaNode}: ${
          pools
            .filter((p) => p.total > 0)
            .map(poolText)
            .join(', ') || 'none'
        }`,
    )
    .join('; ');
  const uneven = reserved.some(({ pageBytes }) => {
    const totals = pages.poolsByNumaNode.map(
      ({ pools }) => pools.find((pool) => pool.pageBytes === pageBytes)?.total ?? 0,
    );
    return totals.some((total) => total !== totals[0]);
  });
  return uneven
    ? finding(
        'warn',
        'huge-pages',
        `huge pages are spread unevenly: ${perNode}`,
        'a guest that mirrors the host needs the same on every node it spans',
        { command: reserveCommand(pages.poolsByNumaNode.length, nodeBytes) },
      )
    : finding(
        'pass',
        'huge-pages',
        `huge pages: ${perNode}`,
        'guests can have pages that are theirs for sure',
      );
}

function poolText({ pageBytes, total, free }: HugePagePool): string {
  return `${free} of ${total} of ${formatSize(pageBytes)} free`;
}

function reserveCommand(nodes: number, nodeBytes: readonly number[] | undefined): string {
  const withMemory = (nodeBytes ?? []).filter((bytes) => bytes > 0);
  const smallest = withMemory.length === 0 ? 2 * 2 ** 30 : Math.min(...withMemory);
  const count = Math.max(1, Math.floor((smallest * proposedShare) / (2 * 2 ** 20)));
  const directory = nodes > 1 ? 'node*' : 'node0';
  return `for f in /sys/devices/system/node/${directory}/hugepages/hugepages-2048kB/nr_hugepages; do echo ${count} > $f; done`;
}

function checkShared({ memory }: MachineBasics): Finding[] {
  if (memory.sharedFreeBytes !== undefined && memory.sharedFreeBytes >= leastGuestBytes) return [];
  const found =
    memory.sharedFreeBytes === undefined
      ? '/dev/shm is not mounted'
      : `/dev/shm has ${formatSize(memory.sharedFreeBytes)} free`;
  return [
    finding('warn', 'shared', found, 'user-mode Linux keeps its memory there', {
      command: 'mount -t tmpfs -o size=50% tmpfs /dev/shm',
    }),
  ];
}
