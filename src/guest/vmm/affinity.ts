/** Where guests are whose processes are the host's: each inherits the affinity of the one that started it. */

import { readFileSync } from 'node:fs';
import { LodgeError } from '../../errors.ts';
import { runProgram } from '../../process.ts';
import { formatCpuList, parseCpuList } from '../../units.ts';
import type { Layout } from '../layout.ts';
import type { PlacementFound } from './qemu/verify.ts';

/**
 * Pins a process that has started nothing yet, to all CPUs of a layout together.
 * @throws LodgeError `placement-unmet`, where the layout is strict
 */
export async function pinProcess(pid: number, layout: Layout): Promise<void> {
  const cpus = cpusOf(layout);
  if (cpus.length === 0) return;
  const list = formatCpuList(cpus);
  const { code, stderr } = await runProgram(['taskset', '-c', '-p', list, String(pid)]);
  if (code === 0 || layout.placement !== 'strict') return;
  throw new LodgeError('placement-unmet', `the guest cannot be pinned to CPUs ${list}`, {
    detail: stderr.trim(),
  });
}

/**
 * @param pid the guest's process; when `contained`, the first of its namespace, whose child the guest's kernel is
 * @throws LodgeError `vmm-failed` when the process is gone
 */
export function verifyAffinity(pid: number, contained: boolean, layout: Layout): PlacementFound {
  let status: string;
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    const kernel = contained ? children.split(' ')[0]! : String(pid);
    status = readFileSync(`/proc/${kernel}/status`, 'utf8');
  } catch (cause) {
    throw new LodgeError('vmm-failed', 'the guest ended while its placement was looked at', { cause });
  }
  const got = parseCpuList(/^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '');
  const asked = cpusOf(layout);
  const isMet = asked.length === 0 || formatCpuList(asked) === formatCpuList(got);
  const differences = isMet
    ? []
    : [`the guest may run on CPUs ${formatCpuList(got)}, and was to be on ${formatCpuList(asked)}`];
  return {
    vcpus: layout.vcpus.map(({ vcpu }) => ({ vcpu, threadId: pid, asked, got })),
    emulator: { asked: [], threads: [] },
    memory: [],
    met: isMet,
    differences,
    pageDifferences: [],
  };
}

function cpusOf(layout: Layout): number[] {
  return [...new Set(layout.vcpus.flatMap(({ hostCpus }) => hostCpus))];
}
