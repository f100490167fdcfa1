/** What a study found, for a terminal. Pure: who calls says how wide it is and whether colours are wanted. */

import { nameOfSeries } from '../cells.ts';
import { metrics, type Study } from '../samples.ts';
import type { CellVerdict } from '../verdicts.ts';
import {
  answersOf,
  coresText,
  guestEnvironments,
  isComparable,
  oneLine,
  reasonsForNoGuest,
  repeatsText,
  type Statement,
} from './answer.ts';
import { byMetric, isMainMetric } from './findings.ts';
import { formatPercent, formatPercentInterval, formatTolerance } from './numbers.ts';
import { niceStep } from './scales.ts';
import { seriesOfStudy } from './series.ts';
import { oneLineOf, paint, plain, type TerminalLook, wrapped } from './terminal-text.ts';
import { emulationWarning, hostNote, umlNote } from './warnings.ts';

/** The verdicts as tables with bars, then the answer, then all in one line; each line ends with a line end. */
export function renderVerdicts(study: Study, verdicts: readonly CellVerdict[], look: TerminalLook): string {
  const environments = guestEnvironments(study);
  const lines: string[] = [];
  if (environments.includes('tcg')) lines.push(...wrapped(emulationWarning, look), '');
  if (environments.length === 0) {
    const why = reasonsForNoGuest(study).map((reason) => ` ${reason}.`);
    lines.push(
      ...wrapped(`This study has no guest: it says nothing about what a guest costs.${why.join('')}`, look),
      '',
    );
  }
  const comparable = verdicts.filter((one) => isComparable(one) && isMainMetric(one.metric));
  const columns = columnsFor(comparable, look);
  for (const { metric, verdicts: own } of byMetric(comparable, seriesOfStudy(study))) {
    const tolerance = own[0]?.comparison.tolerance;
    const limit = tolerance === undefined ? 'told, not judged' : `tolerance ${formatTolerance(tolerance)}`;
    const scale = scaleOf(own, tolerance);
    const full = columns.bar === 0 ? '' : `, a full bar is ${formatTolerance(scale).slice(1)}`;
    const heading = wrapped(`${metrics[metric].title} (${limit}${full})`, look);
    lines.push(...heading.map((line) => paint(line, 'bold', look)));
    lines.push(...own.map((one) => verdictRow(one, scale, columns, look)), '');
  }
  if (environments.includes('uml')) lines.push(...wrapped(umlNote, look));
  const ofHost = hostNote(study.head.host);
  if (ofHost !== undefined) lines.push(...wrapped(ofHost, look));
  for (const { subject, text } of answersOf(verdicts)) lines.push(...wrapped(`${subject}: ${text}.`, look));
  lines.push(...wrapped(`${oneLine(study, verdicts)}.`, look));
  // The thin spaces of the page are not in every font of terminals.
  return lines.map((line) => `${plain(line).trimEnd()}\n`).join('');
}

interface Row {
  name: string;
  cores: string;
  numbers: string;
  verdict: string;
  mood: Statement['mood'] | undefined;
}

const widestBar = 25;
const narrowestBar = 9;

/** Widths of columns; 0 for one that has no room. */
interface Columns {
  name: number;
  cores: number;
  numbers: number;
  bar: number;
  verdict: number;
}

/** The same for all tables. Where there is little room, first the bar gives way, then the numbers, then words. */
function columnsFor(verdicts: readonly CellVerdict[], { width }: TerminalLook): Columns {
  const rows = verdicts.map(rowOf);
  const widest = (key: 'name' | 'cores' | 'numbers' | 'verdict') =>
    Math.max(0, ...rows.map((row) => row[key].length));
  const [name, cores, numbers] = [widest('name'), widest('cores'), widest('numbers')];
  // A long reason for no ratio is cut rather than that it costs every row its bar.
  const verdict = Math.min(26, widest('verdict'));
  const left = 2 + name + 2 + cores;
  const forBar = width - (left + 2 + numbers + 2 + 2 + verdict);
  return {
    name,
    cores,
    numbers: left + 2 + numbers + 2 + verdict <= width ? numbers : 0,
    bar: forBar >= narrowestBar ? Math.min(widestBar, forBar - ((forBar + 1) % 2)) : 0,
    verdict,
  };
}

function verdictRow(one: CellVerdict, scale: number, columns: Columns, look: TerminalLook): string {
  const row = rowOf(one);
  let line = `  ${row.name.padEnd(columns.name)}  ${row.cores.padStart(columns.cores)}`;
  if (columns.numbers > 0) line += `  ${row.numbers.padStart(columns.numbers)}`;
  // Colours take no room, so what is used is counted before they come in.
  const used = line.length + (columns.bar > 0 ? 2 + columns.bar : 0);
  if (columns.bar > 0)
    line += `  ${paint(bar(one.comparison.overhead?.estimate, scale, columns.bar), row.mood, look)}`;
  const rest = Math.max(0, look.width - used - 2);
  const words = row.verdict.length > rest ? `${row.verdict.slice(0, Math.max(0, rest - 1))}…` : row.verdict;
  return rest < 4 ? line : `${line}  ${paint(words, row.mood, look)}`;
}

function rowOf({ cell, comparison: { overhead, verdict, n } }: CellVerdict): Row {
  const base = {
    name: nameOfSeries(cell),
    cores: coresText(cell.cores),
    numbers: plain(
      overhead === undefined
        ? '–'
        : // One pair has no interval.
          n < 2
          ? formatPercent(overhead.estimate)
          : formatPercentInterval(overhead.estimate, overhead.low, overhead.high),
    ),
  };
  switch (verdict.kind) {
    case 'none-seen':
      return { ...base, verdict: '✓ no overhead seen', mood: 'good' };
    case 'faster':
      return { ...base, verdict: '✓ faster than native', mood: 'good' };
    case 'overhead':
      return { ...base, verdict: '▲ overhead', mood: 'bad' };
    case 'not-decided':
      return { ...base, verdict: `○ needs ${repeatsText(verdict)}`, mood: 'open' };
    case 'no-ratio':
      return { ...base, verdict: `○ ${oneLineOf(verdict.reason)}`, mood: 'open' };
    case 'told':
      return { ...base, verdict: '', mood: undefined };
  }
}

/** The overhead that fills a bar from its middle to its end. */
function scaleOf(verdicts: readonly CellVerdict[], tolerance = 0.01): number {
  const sizes = verdicts.map(({ comparison: { overhead } }) => Math.abs(overhead?.estimate ?? 0));
  const most = Math.max(tolerance * 2, ...sizes.filter(Number.isFinite));
  return niceStep(most);
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/** A bar from the middle: to the right when the guest is slower. `width` is odd. */
export function bar(fraction: number | undefined, scale: number, width: number): string {
  const half = (width - 1) / 2;
  if (fraction === undefined || !Number.isFinite(fraction)) return `${' '.repeat(half)}│${' '.repeat(half)}`;
  const cells = Math.min(half, (Math.abs(fraction) / scale) * half);
  const whole = Math.floor(cells);
  if (fraction >= 0) {
    const filled = '█'.repeat(whole) + (eighths[Math.round((cells - whole) * 8)] ?? '█');
    return `${' '.repeat(half)}│${filled.padEnd(half)}`;
  }
  // There are no blocks that grow from the right in eighths, so halves must do.
  const filled = (cells - whole >= 0.5 ? '▐' : '') + '█'.repeat(whole);
  return `${filled.padStart(half)}│${' '.repeat(half)}`;
}
