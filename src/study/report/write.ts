/** Writes the report of a study: a page, figures as SVG and PNG, samples as CSV. */

import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ownFileError } from '../../replaced-file.ts';
import type { Study } from '../samples.ts';
import { type CellVerdict, verdictsOf } from '../verdicts.ts';
import type { Drawing } from './chart.ts';
import { renderCsv } from './csv.ts';
import { type Findings, findingsOf } from './findings.ts';
import { renderFindings } from './html.ts';
import { lineChart } from './line-chart.ts';
import { overheadChart } from './overhead-chart.ts';
import { renderPngs } from './png.ts';
import { listFigures } from './study-figures.ts';

export interface WrittenReport {
  /** Absolute or relative as `directory` was, the page first. */
  files: string[];
  /** What a person should know, such as that no program was there to make PNG. */
  notes: string[];
}

const fileDrawing: Drawing = { widthPx: 720, plotHeightPx: 320, colours: 'light' };
const asideName = /^\.report-[0-9a-f]{16}$/;
const forgottenAfterMs = 3_600_000;

/**
 * Writes the report into the study's directory. Every file is written aside and renamed, so that readers see the old
 * one or the new one; two reports at once leave whole files of one or the other.
 * @throws LodgeError `disk-full`, `host-io`
 */
export async function writeReport(
  study: Study,
  directory: string,
  verdicts: readonly CellVerdict[] = verdictsOf(study),
): Promise<WrittenReport> {
  const findings = findingsOf(study, verdicts);
  const texts = new Map([
    ['report.html', renderFindings(findings)],
    ['results.csv', renderCsv(study)],
    ...figureFiles(findings),
  ]);
  const aside = join(directory, `.report-${randomBytes(8).toString('hex')}`);
  try {
    await mkdir(join(directory, 'figures'), { recursive: true });
    await removeForgotten(directory);
    await mkdir(join(aside, 'figures'), { recursive: true });
    for (const [name, text] of texts) await writeFile(join(aside, name), text);
    const figures = [...texts.keys()].filter((name) => name.endsWith('.svg'));
    const { made, note } = await renderPngs(figures.map((name) => join(aside, name)));
    const names = [...texts.keys(), ...made.map((path) => join('figures', basename(path)))];
    for (const name of names) await rename(join(aside, name), join(directory, name));
    await removeStale(directory, new Set(names.map((name) => basename(name))));
    return {
      files: names.map((name) => join(directory, name)),
      notes: note === undefined ? [] : [note],
    };
  } catch (cause) {
    throw ownFileError('writing the report', directory, cause);
  } finally {
    await rm(aside, { recursive: true, force: true }).catch(() => {});
  }
}

function figureFiles({ figures, overhead }: Findings): [string, string][] {
  const charts = listFigures(figures).map((chart): [string, string] => [
    chart.id,
    lineChart(chart, fileDrawing),
  ]);
  if (overhead !== undefined) charts.push([overhead.id, overheadChart(overhead, fileDrawing)]);
  return charts.map(([id, svg]) => [join('figures', `${id}.svg`), `${svg}\n`]);
}

/** Figures of an earlier report of this study that this one does not have, such as PNGs when none could be made. */
async function removeStale(directory: string, written: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(join(directory, 'figures'))) {
    if (/^(figure-|overhead)[\w-]*\.(svg|png)$/.test(name) && !written.has(name)) {
      await rm(join(directory, 'figures', name), { force: true });
    }
  }
}

/** What a killed report left aside. */
async function removeForgotten(directory: string): Promise<void> {
  for (const name of (await readdir(directory)).filter((one) => asideName.test(one))) {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > forgottenAfterMs) {
      await rm(path, { recursive: true, force: true });
    }
  }
}
