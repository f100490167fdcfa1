/**
 * A capture of one link in pcapng: both directions in one file (or ring of files), an interface `LINK/out` and one
 * `LINK/in`. Timestamps are the fabric's own, in nanoseconds. What the disk could not take in time is counted in the
 * statistics that end each file, and after each gap.
 */

import { join } from 'node:path';
import { LodgeError } from '../../errors.ts';
import type { Capture, Observer } from '../observer.ts';
import type { CapturePlan } from '../plan.ts';
import { openBlockFile } from './block-file.ts';
import { type BpfProgram, runBpf } from './bpf.ts';
import { compileFilter } from './filter.ts';
import {
  type BlockMemory,
  eachPacket,
  type InterfaceStatistics,
  inbound,
  interfaceDescription,
  outbound,
  packetBlockBytes,
  sectionHeader,
  statisticsBlockBytes,
  writePacket,
  writeStatistics,
} from './pcapng.ts';

/** Longer snap lengths are those of whole frames: no frame is longer. */
const longestSnapBytes = 65_553;
export const leastFileBytes = 256 * 1024;
export const mostFiles = 1000;
const longestFilter = 4096;

/** The newest file of a link's capture. */
export function capturePath(directory: string, link: string): string {
  return join(directory, `${link}.pcapng`);
}

/** The filter of a capture, compiled; undefined where it has none. @throws LodgeError as {@link compileFilter} */
export async function filterOf(plan: CapturePlan, link: string): Promise<BpfProgram | undefined> {
  const { filter, snapLengthBytes } = plan;
  if (filter === undefined) return undefined;
  checkPlan(plan, link);
  return compileFilter(filter, Math.min(snapLengthBytes, longestSnapBytes), `the capture of ${link}`);
}

/**
 * Starts a capture. See `observer.ts` for the contract.
 *
 * @param filter the plan's filter, compiled. Where it is not given but the plan has one, it is compiled in the
 *   background: until that is done nothing is captured, and an expression that is none is told by `onFailure`.
 * @throws LodgeError `spec-value`, `host-io` or `disk-full`
 */
export function openCapture(
  plan: CapturePlan,
  link: string,
  onFailure: (error: Error) => void,
  filter?: BpfProgram,
): Capture {
  checkPlan(plan, link);
  const snapLengthBytes = Math.min(plan.snapLengthBytes, longestSnapBytes);
  const header = Buffer.concat([
    sectionHeader('lodge'),
    interfaceDescription({ name: `${link}/out`, snapLengthBytes, filter: plan.filter }),
    interfaceDescription({ name: `${link}/in`, snapLengthBytes, filter: plan.filter }),
  ]);
  const statistics: [InterfaceStatistics, InterfaceStatistics] = [
    { seen: 0, accepted: 0, dropped: 0 },
    { seen: 0, accepted: 0, dropped: 0 },
  ];
  let program = filter;
  let isReady = plan.filter === undefined || program !== undefined;
  let lastSeconds = 0;
  let lastNanoseconds = 0;
  let hasGap = false;
  let isClosed = false;

  const file = openBlockFile({
    path: capturePath(plan.directory, link),
    files: plan.files,
    fileBytes: plan.fileBytes,
    header,
    trailerBytes: 2 * statisticsBlockBytes,
    writeTrailer,
    onLost(memory, from, to) {
      eachPacket(memory, from, to, (interfaceId) => {
        statistics[interfaceId === 0 ? 0 : 1].dropped++;
      });
    },
    onEnd: onFailure,
  });

  if (!isReady) {
    compileFilter(plan.filter!, snapLengthBytes, link).then(
      (compiled) => {
        program = compiled;
        isReady = true;
      },
      async (error: Error) => {
        await file.close();
        if (!isClosed) onFailure(error);
      },
    );
  }

  function writeTrailer(memory: BlockMemory, at: number): number {
    if (lastSeconds === 0) lastSeconds = Math.floor(Date.now() / 1000);
    const middle = writeStatistics(memory, at, 0, lastSeconds, lastNanoseconds, statistics[0]);
    return writeStatistics(memory, middle, 1, lastSeconds, lastNanoseconds, statistics[1]);
  }

  /** After a time in which frames were dropped, says so at this place of the file. */
  function tellGap(): void {
    const memory = file.reserve(2 * statisticsBlockBytes);
    if (memory === undefined) return;
    file.advance(writeTrailer(memory, file.at));
    hasGap = false;
  }

  function observer(interfaceId: 0 | 1, direction: typeof inbound | typeof outbound): Observer {
    const counts = statistics[interfaceId];
    return {
      observe(seconds, nanoseconds, buffer, offset, length) {
        if (!isReady || isClosed) return;
        counts.seen++;
        lastSeconds = seconds;
        lastNanoseconds = nanoseconds;
        let kept = snapLengthBytes;
        if (program !== undefined) {
          kept = Math.min(kept, runBpf(program, buffer, offset, length));
          if (kept === 0) return;
        }
        counts.accepted++;
        if (kept > length) kept = length;
        if (hasGap) tellGap();
        const memory = file.reserve(packetBlockBytes(kept));
        if (memory === undefined) {
          counts.dropped++;
          hasGap = true;
          return;
        }
        file.advance(
          writePacket(
            memory,
            file.at,
            interfaceId,
            seconds,
            nanoseconds,
            buffer,
            offset,
            kept,
            length,
            direction,
          ),
        );
      },
    };
  }

  return {
    out: observer(0, outbound),
    in: observer(1, inbound),
    async close() {
      isClosed = true;
      await file.close();
    },
  };
}

function checkPlan({ snapLengthBytes, files, fileBytes, filter }: CapturePlan, link: string): void {
  const refuse = (what: string, fix: string) => {
    throw new LodgeError('spec-value', what, { where: `the capture of ${link}`, fix });
  };
  if (!(Number.isInteger(snapLengthBytes) && snapLengthBytes >= 1)) {
    refuse(
      `a snap length of ${snapLengthBytes} bytes keeps nothing`,
      'give a whole number of bytes, at least 1',
    );
  }
  if (!(Number.isInteger(files) && files >= 1 && files <= mostFiles)) {
    refuse(`a ring of ${files} files cannot be`, `give 1 to ${mostFiles} files`);
  }
  if (!(fileBytes >= leastFileBytes)) {
    refuse(`files of ${fileBytes} bytes are too small`, `give each file at least ${leastFileBytes / 1024}K`);
  }
  if (filter !== undefined && filter.length > longestFilter) {
    refuse(`its filter has ${filter.length} characters`, `write it in at most ${longestFilter}`);
  }
  // Names of links are checked by the cluster's planner; one that leaves the directory is a fault in lodge.
  if (!/^[\w.-]+(\/[\w.-]+)*$/.test(link) || link.split('/').some((part) => /^\.+$/.test(part))) {
    throw new LodgeError('internal', `'${link}' is not the name of a link`);
  }
}
