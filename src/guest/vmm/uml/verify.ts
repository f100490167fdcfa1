/** Whether a user-mode guest is where it was to be: its processes inherit the affinity it was started with. */

import { readFileSync } from 'node:fs';
import { LodgeError } from '../../../errors.ts';
import { formatCpuList, parseCpuList } from '../../../units.ts';
import type { Layout } from '../../layout.ts';
import type { PlacementFound } from '../qemu/verify.ts';

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
  const [{ vcpu, hostCpus: asked }] = layout.vcpus as [Layout['vcpus'][number]];
  const isMet = asked.length === 0 || formatCpuList(asked) === formatCpuList(got);
  const differences = isMet
    ? []
    : [`the guest may run on CPUs ${formatCpuList(got)}, and was to be on ${formatCpuList(asked)}`];
  return {
    vcpus: [{ vcpu, threadId: pid, asked, got }],
    emulator: { asked: [], threads: [] },
    memory: [],
    met: isMet,
    differences,
    pageDifferences: [],
  };
}
