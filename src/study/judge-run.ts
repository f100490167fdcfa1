/** What is to be told of a run beside its numbers: pages and clocks that were not what they should be. Pure. */

import type { Cell, PageSize } from './cells.ts';
import type { Found, Sample } from './samples.ts';

/** A guest's clock that differs by more than this share makes its timings doubtful. */
export const clockTolerance = 0.001;

/** The share of the memory that must be in the pages asked for. */
const pagesShare = 0.5;

/** The share of other pages that is no sign of anything: libraries, stacks, what a kernel hands out by itself. */
const strayShare = 0.1;

/** The least share of a benchmark's memory that must have been seen to judge its pages. */
const seenShare = 0.25;

export interface RunSurroundings {
  /** Memory that the benchmark takes. */
  workBytes: number;
  /** Whether no other study ran on this host. */
  isAlone: boolean;
  /** Runs of the same study before it. */
  earlier: readonly Pick<Sample, 'cell' | 'found'>[];
}

/** Flags of one run, from what was found while it ran; see {@link Sample.flags}. */
export function flagsOf(
  cell: Cell,
  found: Found,
  { workBytes, isAlone, earlier }: RunSurroundings,
): string[] {
  const flags: string[] = [];
  const { clockDrift, ownPages, hostPages } = found;
  if (clockDrift !== undefined && Math.abs(clockDrift.fraction) - clockDrift.uncertainty > clockTolerance) {
    flags.push('clock-drift');
  }
  if (cell.benchmark === 'hpcc' || cell.benchmark === 'stream') {
    if (totalOf(ownPages) < seenShare * workBytes) flags.push('pages-not-seen');
    else if (!arePagesMet(cell.pages.own, ownPages!)) flags.push('pages-not-met');
  }
  if (cell.pages.host !== undefined && hostPages !== undefined && !arePagesMet(cell.pages.host, hostPages)) {
    flags.push('host-pages-not-met');
  }
  if (isOtherKernel(cell, found, earlier)) flags.push('other-guest-kernel');
  if (!isAlone) flags.push('not-alone');
  return flags;
}

/** What each flag means, for reports. */
export const flagMeanings: Readonly<Record<string, string>> = {
  'clock-drift': "the guest's clock ran faster or slower than the host's by more than 0.1 %",
  'pages-not-met': 'the benchmark ran mostly on pages other than those asked for',
  'pages-not-seen': 'the run was over before most of its memory had been looked at',
  'host-pages-not-met': "the guest's memory lay mostly on pages other than those asked for",
  'other-guest-kernel': "the guest ran another kernel than the study's first guests of its kind",
  'not-alone': 'another study ran on this host at the same time',
};

/** A default kernel may be replaced while a study is interrupted. */
function isOtherKernel(cell: Cell, { guestKernel }: Found, earlier: RunSurroundings['earlier']): boolean {
  if (guestKernel === undefined) return false;
  const first = earlier.find(
    (run) => run.cell.environment === cell.environment && run.found.guestKernel !== undefined,
  );
  return first !== undefined && first.found.guestKernel !== guestKernel;
}

function totalOf(pages: Found['ownPages']): number {
  return pages === undefined ? 0 : pages.hugetlbBytes + pages.transparentBytes + pages.smallBytes;
}

function arePagesMet(asked: PageSize, pages: NonNullable<Found['ownPages']>): boolean {
  const { hugetlbBytes, transparentBytes } = pages;
  const allBytes = totalOf(pages);
  if (allBytes === 0) return true;
  if (asked === '4K') return (hugetlbBytes + transparentBytes) / allBytes <= strayShare;
  return (asked === 'thp' ? transparentBytes : hugetlbBytes) / allBytes >= pagesShare;
}
