/** PingPong by message size: each guest beside native, told and not judged. Pure. */

import { nameOfSeries } from '../cells.ts';
import { type SweepVerdict, sweepVerdicts } from '../verdicts.ts';
import { coresText, isComparable } from './answer.ts';
import type { Findings } from './findings.ts';
import { type Content, html, table } from './html-elements.ts';
import { formatMessageSize, formatPercent, formatPercentInterval, formatSignificant } from './numbers.ts';

/** A table behind a line that opens it; nothing when no guest has a sweep that may be compared. */
export function sweepSection({ study }: Findings): Content {
  // Latency and bandwidth of a size are one measurement: their overheads are the same number.
  const verdicts = sweepVerdicts(study).filter(
    (one) => one.quantity === 'latencyUs' && isComparable(one) && one.comparison.overhead !== undefined,
  );
  if (verdicts.length === 0) return undefined;
  const bySeries = new Map<string, SweepVerdict[]>();
  for (const one of verdicts) {
    const name = `${nameOfSeries(one.cell)}, ${coresText(one.cell.cores)}`;
    bySeries.set(name, [...(bySeries.get(name) ?? []), one]);
  }
  return html`<details><summary>Every message size, guests beside native</summary>${table(
    'PingPong by message size: medians, and how much longer a message takes in the guest. Told, not judged.',
    [
      { title: 'Message', isSticky: true },
      { title: 'Native (us)', isNumber: true },
      { title: 'Guest (us)', isNumber: true },
      { title: 'Native (MB/s)', isNumber: true },
      { title: 'Guest (MB/s)', isNumber: true },
      { title: 'Overhead [95 %]', isNumber: true },
      { title: 'Runs', isNumber: true },
    ],
    [...bySeries].map(([title, own]) => ({ title, rows: own.map(row) })),
  )}</details>`;
}

function row({ messageBytes, comparison: { native, guest, overhead, n } }: SweepVerdict): Content[] {
  const sides = [native?.median, guest?.median];
  const { estimate, low, high } = overhead!;
  return [
    formatMessageSize(messageBytes),
    ...sides.map((us) => (us === undefined ? '–' : formatSignificant(us))),
    // Bytes a microsecond are megabytes a second.
    ...sides.map((us) => (us === undefined ? '–' : formatSignificant(messageBytes / us))),
    n < 2 ? formatPercent(estimate) : formatPercentInterval(estimate, low, high),
    n,
  ];
}
