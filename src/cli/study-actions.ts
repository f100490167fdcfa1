/** What `lodge study …` does: makes or goes on with a study, shows how it goes, and writes its report. */

import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { checkValue } from '../check-value.ts';
import { parseLocatedYaml, readDocument } from '../document.ts';
import { LodgeError } from '../errors.ts';
import { sweep } from '../guest/sweep.ts';
import { openStore, type Store } from '../image/store.ts';
import { writeReplacing } from '../replaced-file.ts';
import { locateGuest } from '../server/locate.ts';
import {
  beginStudy,
  type GuestNode,
  lookAtMachine,
  lookAtSurroundings,
  nodesOfCpus,
  pinnedCpusOf,
} from '../study/begin.ts';
import { checkSame } from '../study/begun.ts';
import { nameOfSeries } from '../study/cells.ts';
import { announceStudy, readHead, readStudy, StudyDirectory } from '../study/directory.ts';
import { checkImage } from '../study/guest.ts';
import { restoreSettings } from '../study/host-settings.ts';
import { type ImageTree, withImageTree } from '../study/image-tree.ts';
import { runStudy, type Progress as StudyProgress } from '../study/runner.ts';
import type { Study, StudyHead } from '../study/samples.ts';
import { type StudySpec, studySpecSchema } from '../study/spec.ts';
import { formatTime } from '../units.ts';
import { namedGuest } from './guest-names.ts';
import { interruptible } from './interruptible.ts';
import { printJson } from './print-json.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress, type Progress } from './progress.ts';
import { dieOf } from './stdio.ts';
import type { CompareFlags, StudyFlags } from './study.ts';

/** Without a terminal, as in a job's log, a line so often tells that it goes on. */
const plainEveryMs = 30_000;

/** @returns the exit code: 1 when a run failed, else 0 */
export async function run(flags: StudyFlags, globals: GlobalOptions): Promise<number> {
  const spec = await specOf(flags);
  const store = openStore();
  const progress = openProgress({ ...globals, plainEveryMs });
  const path = resolve(flags.output ?? `study-${hostname()}${spec.size === 'quick' ? '-quick' : ''}`);
  if (flags.output === '')
    throw new LodgeError('usage', 'the name of a directory is missing', { where: '-o' });
  const interrupt = interruptible(
    (name) => new LodgeError('study-directory', `the study was ended by ${name}`),
  );
  try {
    progress.show('looking at this host');
    restoreSettings();
    if (spec.image !== undefined) progress.show(`unpacking ${spec.image}`);
    return await withImageTree(spec.image, store, (tree) =>
      runIn({
        path,
        spec,
        store,
        tree,
        progress,
        signal: interrupt.signal,
        isDryRun: flags.dryRun === true,
        globals,
      }),
    );
  } catch (error) {
    progress.clear();
    if (interrupt.received === undefined) throw error;
    process.stderr.write(
      `lodge: interrupted; all runs so far are kept, and the same command goes on: ${path}\n`,
    );
    dieOf(interrupt.received);
  } finally {
    interrupt.stop();
    progress.clear();
  }
}

interface StudyRun {
  /** Directory of the study. */
  path: string;
  spec: StudySpec;
  store: Store;
  tree: ImageTree | undefined;
  progress: Progress;
  signal: AbortSignal;
  isDryRun: boolean;
  globals: GlobalOptions;
}

async function runIn({
  path,
  spec,
  store,
  tree,
  progress,
  signal,
  isDryRun,
  globals,
}: StudyRun): Promise<number> {
  const onProgress = progress.show;
  const machine = await lookAtMachine();
  const begun = readHead(path);
  const now = await lookAtSurroundings(machine, tree);
  if (begun !== undefined) checkSame(begun, spec, now, path);
  if (begun?.image !== undefined) await checkImage(begun.image, store);
  const node = await guestNodeOf(spec);
  const means = { store, tree, onProgress, ...(node === undefined ? {} : { node }) };
  const head = begun ?? (await beginStudy(spec, machine, now, means));
  progress.clear();
  if (isDryRun) {
    await showPlan(head, globals);
    return 0;
  }
  if (head.cells.length === 0) {
    throw new LodgeError('spec-value', 'nothing of this study can be measured here', {
      detail: [...new Set(head.notMeasured.map(({ reason }) => reason))].join('\n'),
      fix: 'lodge study --dry-run lists every cell with its reason',
    });
  }
  await sweep(store);
  const directory = StudyDirectory.open(path);
  const withdraw = announceStudy();
  try {
    // Read under the lock: another process may have begun it, or gone on with it, just before.
    if (readHead(path) === undefined) directory.begin(head);
    const study = readStudy(path);
    checkSame(study.head, spec, now, path);
    const kept = study.samples.length;
    if (kept > 0)
      say(globals, `goes on with ${path}, where ${kept} ${kept === 1 ? 'run is' : 'runs are'} kept`);
    await runStudy({
      study,
      spec: study.head.spec as StudySpec,
      directory,
      store,
      tree,
      pinnedCpus: pinnedCpusOf(study.head, machine),
      nodeOfCpu: nodesOfCpus(machine),
      signal,
      onRun: (at) => progress.show(progressLine(at)),
      onSample: (sample) => {
        if (sample.outcome === 'failed') {
          progress.clear();
          const { benchmark, cores } = sample.cell;
          const what = `${benchmark} on ${cores} ${cores === 1 ? 'core' : 'cores'}, ${nameOfSeries(sample.cell)}`;
          say(globals, `${what}: ${sample.error?.split('\n')[0]}`);
        }
      },
    });
    progress.clear();
    await showReport(study, path, progress, globals);
    return study.samples.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
  } finally {
    withdraw();
    directory.close();
  }
}

async function showPlan(head: StudyHead, globals: GlobalOptions): Promise<void> {
  const [{ planText, plannedRuns }, { terminalLook }] = await Promise.all([
    import('./study-plan.ts'),
    import('../study/report/terminal-text.ts'),
  ]);
  const { cells, notMeasured, sizes, spec } = head;
  if (globals.json) printJson({ spec, cells, runs: plannedRuns(head), notMeasured, sizes });
  else process.stdout.write(planText(head, terminalLook(process.stdout, process.env)));
}

export async function report(directory: string, globals: GlobalOptions): Promise<void> {
  const progress = openProgress(globals);
  try {
    await showReport(readStudy(directory), directory, progress, globals);
  } finally {
    progress.clear();
  }
}

async function showReport(
  study: Study,
  directory: string,
  progress: Progress,
  globals: GlobalOptions,
): Promise<void> {
  progress.show('writing the report');
  const [
    { sweepVerdicts, verdictsOf },
    { writeReport },
    { leftOutNotes },
    { renderVerdicts },
    { renderValues },
    { terminalLook },
  ] = await Promise.all([
    import('../study/verdicts.ts'),
    import('../study/report/write.ts'),
    import('../study/report/warnings.ts'),
    import('../study/report/terminal.ts'),
    import('../study/report/terminal-values.ts'),
    import('../study/report/terminal-text.ts'),
  ]);
  for (const note of leftOutNotes(study)) say(globals, `${directory}: ${note}`);
  const verdicts = verdictsOf(study);
  const written = await writeReport(study, directory, verdicts);
  progress.clear();
  if (globals.json) {
    const { id, host, notMeasured } = study.head;
    const { unreadableLines, repeatedLines } = study;
    printJson({
      ...{ id, directory, host, verdicts, sweeps: sweepVerdicts(study) },
      ...{ notMeasured, unreadableLines, repeatedLines, ...written },
    });
    return;
  }
  const look = terminalLook(process.stdout, process.env);
  process.stdout.write(`${renderValues(study, look)}${renderVerdicts(study, verdicts, look)}`);
  for (const note of written.notes) say(globals, note);
  process.stdout.write(`\nreport: ${written.files[0]}\n`);
}

export async function compare(
  first: string,
  second: string,
  flags: CompareFlags,
  globals: GlobalOptions,
): Promise<void> {
  const [{ compareStudies }, { leftOutNotes }, { renderComparison }, { terminalLook }] = await Promise.all([
    import('../study/compare.ts'),
    import('../study/report/warnings.ts'),
    import('../study/report/compare-terminal.ts'),
    import('../study/report/terminal-text.ts'),
  ]);
  const [a, b] = [readStudy(first), readStudy(second)];
  if (a.head.id === b.head.id) {
    throw new LodgeError('usage', `${first} and ${second} are the same study, which says nothing of two`, {
      fix: 'name the directories of two studies; within one, lodge study report compares natively with guests',
    });
  }
  for (const note of leftOutNotes(a)) say(globals, `${first}: ${note}`);
  for (const note of leftOutNotes(b)) say(globals, `${second}: ${note}`);
  const comparison = compareStudies(a, b);
  if (flags.html !== undefined) {
    const { renderComparisonHtml } = await import('../study/report/compare-html.ts');
    writeReplacing(flags.html, [renderComparisonHtml(a, b, comparison)], 'writing the comparison');
  }
  if (globals.json) printJson(comparison);
  else process.stdout.write(renderComparison(comparison, terminalLook(process.stdout, process.env)));
}

/**
 * The guest that a study through Slurm has for a node; undefined for other studies.
 * @throws LodgeError `no-such-guest`
 */
async function guestNodeOf({ launcher, guest }: Record<string, unknown>): Promise<GuestNode | undefined> {
  if (launcher !== 'slurm' || typeof guest !== 'string') return undefined;
  const { plan } = (await locateGuest(namedGuest(guest))).guest;
  const { accelerator, cpus, memoryBytes } = plan;
  return { name: guest, accelerator, cpus, memoryBytes };
}

/** The spec of flags and file together. @throws LodgeError `spec-value`, `spec-unknown-key`, `spec-syntax`, `usage` */
async function specOf(flags: StudyFlags): Promise<StudySpec> {
  let fromFile: Record<string, unknown> = {};
  if (flags.spec !== undefined) {
    const text = readDocument(flags.spec, `--spec ${flags.spec}`);
    // Checked by itself first, so that a fault in the file is told with its line.
    fromFile = parseLocatedYaml(text, studySpecSchema, flags.spec).written as Record<string, unknown>;
    if (Object.keys(fromFile).length === 0) {
      throw new LodgeError('spec-value', 'the spec says nothing, and all of a study takes hours', {
        where: flags.spec,
        fix: "for the paper's sizes write 'size: full', for small ones 'size: quick'",
      });
    }
  }
  const list = (text: string | undefined): string[] | undefined =>
    text?.split(',').map((word) => word.trim());
  const asked: Record<string, unknown> = {
    size: flags.quick === true ? 'quick' : undefined,
    benchmarks: list(flags.benchmarks),
    environments: list(flags.environments),
    image: flags.image,
    pages: list(flags.pages),
    cores: list(flags.cores)?.map(numberOr),
    repeats: numberOr(flags.repeats),
    'max-repeats': numberOr(flags.maxRepeats),
    precision: flags.precision,
    seed: numberOr(flags.seed),
    launcher: flags.launcher,
    native: flags.native,
    guest: flags.guest,
  };
  const node = await guestNodeOf({
    launcher: asked.launcher ?? fromFile.launcher,
    guest: asked.guest ?? fromFile.guest,
  });
  if (node !== undefined) {
    // What Slurm starts is neither pinned nor given pages: that is what is measured when nothing else is asked for.
    asked.environments ??= fromFile.environments ?? ['native', node.accelerator];
    asked.placements = fromFile.placements ?? ['free'];
    asked.pages ??= fromFile.pages ?? ['4K/4K'];
  }
  const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
  const spec = checkValue(
    { ...fromFile, ...given },
    studySpecSchema,
    (path) => `--${String(path[0] ?? 'spec')}`,
  );
  const { image, ...others } = spec;
  if (image === undefined || image === 'host') return others;
  // As it must be found again, wherever the study is gone on with.
  return { ...others, image: image.includes('/') ? resolve(image) : image };
}

/** What a flag says as a number; a text that is none stays, so that the fault is told with it. */
function numberOr(text: string | undefined): number | string | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}

function progressLine({ done, total, cell, isWarmUp, leftMs }: StudyProgress): string {
  const width = 16;
  const full = Math.floor((width * done) / total);
  const left = leftMs === undefined ? '' : `, ${formatTime(Math.ceil(leftMs / 1000) * 1000)} left`;
  const where = `${cell.benchmark} on ${cell.cores}, ${nameOfSeries(cell)}${isWarmUp ? ', warm-up' : ''}`;
  return `${'█'.repeat(full)}${'░'.repeat(width - full)} ${done}/${total}${left}: ${where}`;
}

function say({ quiet }: GlobalOptions, text: string): void {
  if (!quiet) process.stderr.write(`lodge: ${text}\n`);
}
