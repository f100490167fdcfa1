/** How guests are shown: the table of `ps`, placement, logs. */

import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { guestFiles } from '../guest/plan.ts';
import { type GuestView, listGuests } from '../guest/state.ts';
import { sweep } from '../guest/sweep.ts';
import { readKvmPages } from '../guest/vmm/qemu/verify.ts';
import { openStore } from '../image/store.ts';
import { requireGuestHere, thisJobDir } from '../server/locate.ts';
import { formatCpuList, formatSize, formatTime } from '../units.ts';
import { type LogLook, logText } from './log-text.ts';
import { printJson } from './print-json.ts';
import { table } from './table.ts';

export async function showGuests(options: { json: boolean; placement?: boolean }): Promise<void> {
  await sweep(openStore());
  const guests = listGuests();
  const others = await guestsOnOtherHosts();
  const records = [...guests.map(asJson), ...others];
  if (options.json) printJson(records);
  else if (options.placement !== true) process.stdout.write(table(guestRows(records)));
  else process.stdout.write(table([...guests.flatMap(placementRows), ...others.flatMap(farPlacementRow)]));
}

/** What `ps` has of guests on the other hosts of this job. */
async function guestsOnOtherHosts(): Promise<GuestRecordShown[]> {
  const dir = thisJobDir();
  if (dir === undefined) return [];
  const { openJob, verbOn } = await import('../server/job.ts');
  const { hosts } = await openJob(basename(dir));
  const lists = await Promise.all(
    hosts.map(async (host) => {
      const guests = await verbOn<GuestRecordShown[]>(host, ['ps'], { cwd: '/', input: '' });
      return guests.map((guest) => ({ ...guest, host: host.name }));
    }),
  );
  return lists.flat();
}

function farPlacementRow({ name, host }: GuestRecordShown): string[][] {
  return [[name, `on ${host}: srun --overlap -w ${host} lodge ps --placement`]];
}

/** What scripts read of a guest. Sizes in bytes, times in milliseconds since 1970. */
interface GuestRecordShown {
  name: string;
  /** Of this job, where it is not this one. */
  host?: string;
  status: string;
  exit?: string | undefined;
  mode: string;
  accelerator: string;
  image: string;
  cpus: number;
  memoryBytes: number;
  createdAt: number;
}

function asJson({
  name,
  status,
  exit,
  plan,
  record,
  dir,
}: GuestView): GuestRecordShown & Record<string, unknown> {
  const { accelerator, image, cpus, memoryBytes, layout, notes, id } = plan;
  const { mode, createdAt, runningAt, vmmPid, guestKernel, placement } = record;
  return {
    name,
    id,
    status,
    exit,
    mode,
    accelerator,
    image: image.name,
    cpus,
    memoryBytes,
    createdAt,
    runningAt,
    vmmPid,
    guestKernel,
    dir,
    notes,
    placement: { asked: layout, found: placement },
  };
}

function guestRows(guests: readonly GuestRecordShown[]): string[][] {
  const isOverHosts = guests.some(({ host }) => host !== undefined);
  const rows = guests.map((guest) => {
    const { name, host, status, exit, createdAt, accelerator, cpus, memoryBytes, image, mode } = guest;
    return [
      name,
      ...(isOverHosts ? [host ?? 'this one'] : []),
      status === 'exited' && exit !== undefined ? `exited (${exit})` : status,
      formatTime(Math.max(0, Date.now() - createdAt)),
      accelerator,
      String(cpus),
      formatSize(memoryBytes),
      image,
      mode,
    ];
  });
  const host = isOverHosts ? ['HOST'] : [];
  return [['NAME', ...host, 'STATUS', 'AGE', 'ACCEL', 'VCPUS', 'MEMORY', 'IMAGE', 'MODE'], ...rows];
}

function placementRows({ name, plan, record, status }: GuestView): string[][] {
  const { layout } = plan;
  const { placement } = record;
  if (!plan.verifyPlacement) return [[name, 'no placement was asked for']];
  const rows = [[name, 'WHAT', 'ASKED', 'FOUND']];
  for (const { vcpu, hostCpus } of layout.vcpus) {
    const found = placement?.vcpus.find((entry) => entry.vcpu === vcpu)?.got;
    const asked = hostCpus.length === 0 ? 'anywhere' : `CPU ${formatCpuList(hostCpus)}`;
    rows.push([
      '',
      `vCPU ${vcpu}`,
      asked,
      found === undefined ? 'not looked at' : `CPU ${formatCpuList(found)}`,
    ]);
  }
  for (const memory of placement?.memory ?? []) rows.push(['', memory.what, memory.asked, memory.found]);
  // KVM's own count says which pages really are in the nested table; the guest fills it as it runs.
  const nested =
    status === 'running' && record.vmmPid !== undefined ? readKvmPages(record.vmmPid) : undefined;
  if (nested !== undefined) {
    const { pages4K, pages2M, pages1G } = nested;
    rows.push(['', 'nested table', '', `${pages1G} pages of 1G, ${pages2M} of 2M, ${pages4K} of 4K`]);
  }
  rows.push([
    '',
    'all',
    'met',
    placement === undefined ? 'not looked at' : placement.met ? 'met' : 'NOT met',
  ]);
  for (const difference of placement?.differences ?? []) rows.push(['', '', '', difference]);
  return rows;
}

export function showLog(name: string, { vmm, ...look }: LogLook & { vmm?: boolean }): void {
  const { dir } = requireGuestHere(name);
  const log = vmm === true ? guestFiles.vmmLog : guestFiles.consoleLog;
  const pieces = [`${log}.1`, log].map((file): Buffer => {
    try {
      return readFileSync(join(dir, file));
    } catch {
      // Nothing was written yet, or too little to need a second file.
      return Buffer.alloc(0);
    }
  });
  process.stdout.write(logText(name, Buffer.concat(pieces), look));
}
