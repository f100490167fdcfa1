/** Runs of a study in a guest that is booted for them and gone after. */

import { readFileSync } from 'node:fs';
import { LodgeError } from '../errors.ts';
import type { Channel } from '../guest/channel/channel.ts';
import type { ExecRequest } from '../guest/channel/frames.ts';
import { deathOf } from '../guest/death.ts';
import { resolveGuest } from '../guest/resolve.ts';
import { guestSpecSchema } from '../guest/spec.ts';
import { type RunningGuest, removeGuestFiles, startGuest } from '../guest/start.ts';
import { thisUser } from '../guest/user.ts';
import type { Store } from '../image/store.ts';
import { builtProgramsDir } from '../installation.ts';
import { pageBytes, umlMaps } from './design.ts';
import {
  baseEnvironment,
  type EnvironmentResult,
  type EnvironmentRun,
  outputLimitBytes,
} from './environment.ts';
import { maxMapCountPath, withSettings } from './host-settings.ts';
import { lookUpImage } from './image-tree.ts';
import { hung, tooMuchOutput } from './native.ts';
import { withPool } from './pools.ts';
import type { Found, StudyImage } from './samples.ts';

const haltGraceMs = 500;

/** The yardstick's first and last line, as they come. */
const marks = { start: '{"yardstick":"start"', end: '{"yardstick":"end"' };

/** How often the channel's own delay is measured, before and after a run. */
const pings = 10;

/**
 * Boots a guest for one run.
 * @throws LodgeError as `resolveGuest` and `startGuest` do; `benchmark-output` for a benchmark that hangs
 */
export async function runInGuest(run: EnvironmentRun, store: Store): Promise<EnvironmentResult> {
  const { host } = run.cell.pages;
  const act = (): Promise<EnvironmentResult> => bootAndRun(run, store);
  if (run.cell.environment === 'uml') return withMaps(umlMaps(run.workBytes), act);
  if (host !== '2M' && host !== '1G') return act();
  return withPool(
    { pageBytes: pageBytes[host], bytes: run.guestMemoryBytes, what: 'the guest', nodes: run.poolNodes },
    act,
  );
}

/** User-mode Linux maps the pages of its processes one by one, and the host's kernel limits the mappings of each. */
function withMaps<T>(maps: number, act: () => Promise<T>): Promise<T> {
  return withSettings([{ path: maxMapCountPath, least: maps }], act);
}

async function bootAndRun(run: EnvironmentRun, store: Store): Promise<EnvironmentResult> {
  const { cell, signal } = run;
  const onProgress = (): void => {};
  if (run.image !== undefined) await checkImage(run.image, store);
  const plan = await resolveGuest(guestSpecSchema.parse(specOf(run)), { store, onProgress, cwd: '/' });
  const startedMs = performance.now();
  const guest = await startGuest(plan, { mode: 'foreground', store, user: thisUser(), onProgress, signal });
  const bootMs = performance.now() - startedMs;
  try {
    const channel = guest.channel!;
    const cpus = plan.layout.vcpus.flatMap(({ hostCpus }) => hostCpus);
    const found: Found = { cpus, guestKernel: channel.kernelRelease };
    if (run.command === undefined) return { code: 0, stdout: '', errors: '', found, bootMs };
    const { own } = cell.pages;
    if (own === '2M' || own === '1G') await reserveInside(channel, pageBytes[own], run.workBytes);
    const result = await execute(run, guest);
    const hostPages = pagesOf(guest);
    return {
      ...result,
      bootMs,
      found: { ...found, ...result.found, ...(hostPages === undefined ? {} : { hostPages }) },
    };
  } finally {
    await channelHalt(guest);
    guest.channel?.close();
    guest.kill();
    await guest.ended;
    await removeGuestFiles(plan, store);
  }
}

/** A name may come to mean another image while a study goes on. @throws LodgeError `image-not-found` */
export async function checkImage({ name, id }: StudyImage, store: Store): Promise<void> {
  const found = await lookUpImage(name, store);
  if (found.image.id === id) return;
  throw new LodgeError(
    'image-not-found',
    `the image '${name}' is not the one that this study was begun with`,
    {
      fix: 'begin another study, in another directory (-o)',
    },
  );
}

function specOf({ cell, pinnedTo, guestMemoryBytes, image }: EnvironmentRun): Record<string, unknown> {
  const programsDir = builtProgramsDir();
  const isPinned = cell.placement === 'mirror' && pinnedTo.length > 0;
  return {
    ...(image === undefined ? {} : { image: image.name }),
    accelerator: cell.environment,
    cpus: cell.cores,
    memory: `${Math.round(guestMemoryBytes / 2 ** 20)}M`,
    share: false,
    // The guest has a /tmp of its own, and a checkout there would be out of its sight.
    volumes: [`${programsDir}:${programsDir}:ro`],
    ...(cell.pages.host === undefined ? {} : { pages: { host: cell.pages.host, strict: true } }),
    ...(isPinned ? { pin: pinnedTo.join(',') } : {}),
    ...(isPinned && cell.environment !== 'uml' ? { numa: 'mirror' } : {}),
  };
}

/** Reserves huge pages in the guest, evenly over its NUMA nodes. @throws LodgeError `placement-unmet` */
async function reserveInside(channel: Channel, bytesOfPage: number, bytes: number): Promise<void> {
  const pages = Math.ceil(bytes / bytesOfPage);
  // A kernel that is asked for more than it has at hand gives what it has, without an error.
  const script = `
    set -- /sys/devices/system/node/node[0-9]*/hugepages/hugepages-${bytesOfPage / 1024}kB
    [ -e "$1" ] || exit 3
    each=$(( (${pages} + $# - 1) / $# ))
    for pool; do echo $each >"$pool/nr_hugepages"; done
    for pool; do [ "$(cat "$pool/free_hugepages")" -ge $each ] || exit 4; done`;
  const root: ExecRequest = {
    argv: ['/bin/sh', '-c', script],
    env: { ...baseEnvironment },
    cwd: '/',
    ...{ uid: 0, gid: 0, groups: [0], umask: 0o22 },
  };
  const session = channel.exec(root);
  session.output('stdout', () => {});
  session.output('stderr', () => {});
  await session.started;
  session.endInput();
  const { code } = await session.end;
  if (code === 0) return;
  throw new LodgeError(
    'placement-unmet',
    code === 3
      ? `the guest has no pages of ${bytesOfPage} bytes`
      : `the guest could not reserve ${pages} pages of ${bytesOfPage} bytes`,
    { fix: 'leave these pages out of the study, or raise memory-share' },
  );
}

/** Runs the command in the guest, and compares its clock with this host's on the way. */
async function execute(run: EnvironmentRun, guest: RunningGuest): Promise<EnvironmentResult> {
  const { command, timeLimitMs, signal, pinnedTo } = run;
  const channel = guest.channel!;
  const user = thisUser();
  const delayBeforeMs = await slowestAnswerMs(channel);
  const session = channel.exec({
    argv: command!.argv,
    env: { ...baseEnvironment, ...command!.env },
    cwd: '/',
    uid: user.uid,
    gid: user.gid,
    groups: user.groups,
    umask: 0o22,
  });
  const out: Buffer[] = [];
  let outBytes = 0;
  let errors = '';
  let startSeenMs: number | undefined;
  let endSeenMs: number | undefined;
  const stop = new AbortController();
  session.output('stdout', (piece) => {
    outBytes += piece.length;
    if (outBytes > outputLimitBytes) {
      stop.abort(tooMuchOutput());
      return;
    }
    if (startSeenMs === undefined && piece.includes(marks.start)) startSeenMs = performance.now();
    if (piece.includes(marks.end)) endSeenMs = performance.now();
    // The channel hands on parts of its own buffers.
    out.push(Buffer.from(piece));
  });
  session.output('stderr', (piece) => {
    errors = (errors + piece.toString()).slice(-4096);
  });
  const limit = setTimeout(() => stop.abort(hung(timeLimitMs)), timeLimitMs);
  const onAbort = (): void => stop.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    signal.throwIfAborted();
    const stopped = new Promise<never>((_, reject) => {
      stop.signal.addEventListener('abort', () => reject(stop.signal.reason), { once: true });
    });
    stopped.catch(() => {});
    const work = (async () => {
      await session.started;
      await session.write(Buffer.from(command!.input));
      session.endInput();
      return session.end;
    })();
    const end = await Promise.race([work, stopped]);
    const delayMs = Math.max(delayBeforeMs, await slowestAnswerMs(channel));
    const stdout = Buffer.concat(out).toString();
    const drift = clockDrift(stdout, startSeenMs, endSeenMs, delayMs);
    return {
      code: end.signal === 0 ? end.code : 128 + end.signal,
      stdout,
      errors,
      found: { cpus: [...pinnedTo], ...(drift === undefined ? {} : { clockDrift: drift }) },
    };
  } catch (error) {
    if (!(error instanceof LodgeError) || error.code !== 'channel-broken') throw error;
    await Promise.race([guest.ended, new Promise((resolve) => setTimeout(resolve, 2000))]);
    throw deathOf(guest.plan);
  } finally {
    clearTimeout(limit);
    signal.removeEventListener('abort', onAbort);
  }
}

/** The longest of some answers of the guest's agent: no message of a run was on its way for longer, most likely. */
async function slowestAnswerMs(channel: Channel): Promise<number> {
  let slowest = 0;
  for (let i = 0; i < pings; i++) {
    const askedMs = performance.now();
    await channel.read('/proc/version');
    slowest = Math.max(slowest, performance.now() - askedMs);
  }
  return slowest;
}

/** How much faster the guest's clock ran than this host's between the yardstick's two lines. */
function clockDrift(
  stdout: string,
  startSeenMs: number | undefined,
  endSeenMs: number | undefined,
  delayMs: number,
): Found['clockDrift'] {
  const times = [...stdout.matchAll(/^\{"yardstick":"(?:start|end)","monotonicNs":(\d+)/gm)].map((match) =>
    Number(match[1]),
  );
  if (startSeenMs === undefined || endSeenMs === undefined || times.length !== 2) return undefined;
  const hostMs = endSeenMs - startSeenMs;
  const guestMs = (times[1]! - times[0]!) / 1e6;
  if (!(hostMs > 0)) return undefined;
  return { fraction: guestMs / hostMs - 1, uncertainty: delayMs / hostMs };
}

/** Pages behind a guest's memory, as the host's kernel counts them for its process. */
function pagesOf({ plan, record }: RunningGuest): Found['hostPages'] {
  try {
    const first = record.vmmPid!;
    const children = readFileSync(`/proc/${first}/task/${first}/children`, 'utf8').split(' ');
    const pid = plan.contain && record.contained === true ? children[0]! : String(first);
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const bytes = (key: string): number =>
      Number(new RegExp(`^${key}:\\s*(\\d+) kB`, 'm').exec(rollup)?.[1] ?? 0) * 1024;
    const hugetlbBytes = bytes('Private_Hugetlb') + bytes('Shared_Hugetlb');
    const transparentBytes = bytes('AnonHugePages') + bytes('ShmemPmdMapped') + bytes('FilePmdMapped');
    return { hugetlbBytes, transparentBytes, smallBytes: Math.max(0, bytes('Rss') - transparentBytes) };
  } catch {
    return undefined;
  }
}

async function channelHalt({ channel, ended }: RunningGuest): Promise<void> {
  const halted = channel?.halt('power-off', haltGraceMs).catch(() => {});
  await Promise.race([halted, ended, new Promise((resolve) => setTimeout(resolve, 5000))]);
}
