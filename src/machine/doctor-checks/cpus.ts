/** What CPUs guests can be given, and what disturbs them. */

import { formatCount, formatCpuList } from '../../units.ts';
import type { DoctorFacts } from '../doctor-facts.ts';
import { usableCores, usableCpus } from '../machine.ts';
import { type Finding, findingMaker } from './finding.ts';

const finding = findingMaker('CPUs');

export function checkCpus(facts: DoctorFacts): Finding[] {
  return [...checkTopology(facts), ...checkShare(facts), ...checkSettings(facts)];
}

function checkTopology({ topology }: DoctorFacts): Finding[] {
  if (topology === undefined) {
    return [
      finding(
        'warn',
        'topology',
        'the topology is not known: hwloc is not installed or fails',
        'guests can be neither pinned nor laid out as the host is (`pin`, `numa: mirror`)',
        { packages: ['hwloc-nox'] },
      ),
    ];
  }
  const counts = [
    formatCount(topology.packages.length, 'socket'),
    formatCount(topology.numaNodes.length, 'NUMA node'),
    formatCount(topology.cores.length, 'core'),
    formatCount(topology.cores.flatMap((core) => core.pus).length, 'thread'),
  ];
  const bare = topology.numaNodes.filter((node) => node.cpus.length > 0 && node.memoryBytes === 0);
  return [
    finding('pass', 'topology', counts.join(', '), 'what a mirrored guest is laid out after'),
    ...(bare.length === 0
      ? []
      : [
          finding(
            'warn',
            'numa-memory',
            `NUMA nodes without memory: ${bare.map((node) => node.id).join(', ')}`,
            'guests pinned there have only remote memory',
            { advice: 'see that every socket has memory in its first slots' },
          ),
        ]),
  ];
}

function checkShare({ machine, topology }: DoctorFacts): Finding[] {
  const { limits } = machine;
  const usable = usableCpus(limits);
  const findings: Finding[] = [];
  if (usable.length < limits.onlineCpus.length) {
    findings.push(
      finding(
        'note',
        'share',
        `this job may use ${usable.length} of ${limits.onlineCpus.length} CPUs: ${formatCpuList(usable)}`,
        'guests get vCPUs out of these',
      ),
    );
  }
  if (topology !== undefined) {
    const whole = new Set(topology.cores.map((core) => core.pus.join()));
    const split = usableCores({ limits, topology }).filter((core) => !whole.has(core.pus.join()));
    if (split.length > 0) {
      findings.push(
        finding(
          'note',
          'split-cores',
          `${formatCount(split.length, 'core')} shared with other jobs (only some of the threads are this job's)`,
          'what runs on the other threads slows guests down and disturbs measurements',
          { advice: 'ask Slurm for whole cores: --hint=nomultithread or --exclusive' },
        ),
      );
    }
  }
  if (limits.cpuQuota !== undefined && limits.cpuQuota < usable.length) {
    findings.push(
      finding(
        'warn',
        'quota',
        `a cgroup limits CPU time to ${Number(limits.cpuQuota.toFixed(2))} CPUs`,
        'guests with more vCPUs stop many times a second; measurements are worth nothing',
        { advice: 'give guests no more vCPUs than that, or have the quota lifted (cpu.max)' },
      ),
    );
  }
  return findings;
}

function checkSettings({ machine, topology, virtualised }: DoctorFacts): Finding[] {
  const { governor, turbo, smtActive, numaBalancing, isolatedCpus } = machine.cpuSettings;
  const findings: Finding[] = [];
  if (virtualised) {
    findings.push(
      finding(
        'note',
        'virtualised',
        'this host is itself a guest',
        'timings say little of real hardware; KVM needs nested virtualisation',
      ),
    );
  }
  if (governor !== undefined) {
    findings.push(
      governor === 'performance'
        ? finding(
            'pass',
            'governor',
            'CPU governor: performance',
            'the CPU does not slow down between bursts',
          )
        : finding('note', 'governor', `CPU governor: ${governor}`, 'measurements spread more', {
            command: 'cpupower frequency-set -g performance',
          }),
    );
  }
  if (turbo === true) {
    findings.push(
      finding(
        'note',
        'turbo',
        'turbo is on',
        'speed depends on how many cores work, and on the temperature',
        {
          advice: 'for a study, turn it off or compare runs with as many busy cores',
        },
      ),
    );
  }
  if (smtActive === true) {
    findings.push(
      finding(
        'note',
        'smt',
        'SMT is on',
        'two vCPUs on one core share it: lodge pins to whole cores first and can show the threads to the guest',
      ),
    );
  }
  if (numaBalancing === true && (topology?.numaNodes.length ?? 1) > 1) {
    findings.push(
      finding(
        'note',
        'numa-balancing',
        'the kernel moves pages between NUMA nodes by itself',
        'it costs faults, and works against bound guests',
        { command: 'sysctl kernel.numa_balancing=0' },
      ),
    );
  }
  if (isolatedCpus.length > 0) {
    findings.push(
      finding(
        'note',
        'isolated',
        `isolated CPUs: ${formatCpuList(isolatedCpus)}`,
        'only guests that are pinned run there',
      ),
    );
  }
  return findings;
}
