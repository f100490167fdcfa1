/** What `lodge study --dry-run` tells: the cells, how many runs they take, and what cannot be measured. Pure. */

import { nameOfSeries } from '../study/cells.ts';
import { groupReasons } from '../study/design.ts';
import { type TerminalLook, wrapped } from '../study/report/terminal-text.ts';
import type { StudyHead } from '../study/samples.ts';
import { leastRepeats, mostRepeats, type StudySpec } from '../study/spec.ts';
import { formatSize } from '../units.ts';
import { table } from './table.ts';

/** Runs of a whole study; between the two, the precision asked for decides. */
export interface PlannedRuns {
  warmUps: number;
  /** Of each cell, apart from those to warm up. */
  leastRepeats: number;
  mostRepeats: number;
  /** Of all cells, those to warm up among them. */
  least: number;
  most: number;
}

export function plannedRuns({ cells, spec }: Pick<StudyHead, 'cells' | 'spec'>): PlannedRuns {
  const of = spec as StudySpec;
  const [warmUps, least, most] = [of['warm-ups'], leastRepeats(of), mostRepeats(of)];
  return {
    warmUps,
    leastRepeats: least,
    mostRepeats: most,
    least: cells.length * (warmUps + least),
    most: cells.length * (warmUps + most),
  };
}

export function planText(head: StudyHead, look: TerminalLook): string {
  const { cells, notMeasured, sizes } = head;
  const rows = cells.map((cell) => [
    cell.benchmark,
    String(cell.cores),
    nameOfSeries(cell),
    sizeOf(cell, sizes),
  ]);
  return [
    table([['BENCHMARK', 'CORES', 'SERIES', 'SIZE'], ...rows]),
    '\n',
    ...[runsLine(head), `sizes: ${sizes.rule}`]
      .flatMap((line) => wrapped(line, look))
      .map((line) => `${line}\n`),
    ...(notMeasured.length === 0 ? [] : ['\nnot measured:\n']),
    ...groupReasons(notMeasured).flatMap(({ series, benchmarks, cores, reason }) => {
      const of = `${benchmarks.join(', ')} on ${cores.join(', ')} ${cores.at(-1) === 1 ? 'core' : 'cores'}`;
      const lines = [...wrapped(`${series.join('; ')}: ${of}`, look, '  '), ...wrapped(reason, look, '    ')];
      return lines.map((line) => `${line}\n`);
    }),
  ].join('');
}

function runsLine(head: StudyHead): string {
  const { warmUps, leastRepeats: fewest, mostRepeats: mostOfCell, least, most } = plannedRuns(head);
  const repeats = fewest === mostOfCell ? `${fewest}` : `${fewest} to ${mostOfCell}`;
  const runs = least === most ? `${least}` : `${least} to ${most}`;
  return `runs: ${head.cells.length} cells x (${warmUps} to warm up + ${repeats}) = ${runs}`;
}

function sizeOf(
  { benchmark, cores, environment }: StudyHead['cells'][number],
  sizes: StudyHead['sizes'],
): string {
  const guest = environment === 'native' ? '' : `, guest of ${formatSize(sizes.guestMemoryBytes[cores]!)}`;
  if (benchmark === 'hpcc') {
    const { n, p, q } = sizes.hpl[cores]!;
    return `N ${n}, ${p} x ${q}${guest}`;
  }
  return `${benchmark === 'stream' ? `${sizes.streamElements} elements` : ''}${guest}`.replace(/^, /, '');
}
