/** Gathering and showing the doctor's findings, and running its fixes. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { runtimeDir } from '../guest/state.ts';
import { defaultKernel } from '../image/kernel.ts';
import { openStore } from '../image/store.ts';
import { usableAccelerators } from '../machine/accelerators.ts';
import { type DoctorReport, doctorReport, renderReport } from '../machine/doctor.ts';
import { gatherDoctorFacts } from '../machine/doctor-facts.ts';
import { recordMachine } from '../machine/record.ts';
import { liveSource } from '../machine/source.ts';
import { missingProgram, runProgram } from '../process.ts';
import type { DoctorFlags } from './doctor.ts';
import { printJson } from './print-json.ts';
import type { GlobalOptions } from './program.ts';
import { openProgress } from './progress.ts';
import { siteFindings } from './slurm-site.ts';

/** @returns the exit code: 1 when no guest can be booted here, else 0 */
export async function runDoctor(flags: DoctorFlags, globals: GlobalOptions): Promise<number> {
  if (flags.dryRun === true && flags.fix !== true) {
    throw new LodgeError('usage', '--dry-run goes with --fix', { fix: 'lodge doctor --fix --dry-run' });
  }
  if (flags.record !== undefined) {
    await recordMachine(flags.record, (source) => gatherDoctorFacts(source, places(), []));
    process.stderr.write(`lodge: this host is recorded in ${flags.record}\n`);
    if (globals.json) printJson({ file: flags.record });
    return 0;
  }
  let report = await examine(globals);
  if (flags.dryRun === true) {
    const { fixCommands } = report;
    process.stdout.write(
      globals.json ? `${JSON.stringify(fixCommands)}\n` : fixCommands.map((line) => `${line}\n`).join(''),
    );
    return 0;
  }
  if (flags.fix === true && report.fixCommands.length > 0) {
    for (const command of report.fixCommands) await runAsRoot(command);
    report = await examine(globals);
  }
  if (globals.json) printJson(report);
  else {
    const look = { colour: process.stdout.isTTY === true, all: flags.all === true };
    process.stdout.write(renderReport(report, look));
  }
  return report.exitCode;
}

function places(): { dataDir: string; runtimeDir: string } {
  return { dataDir: openStore().path, runtimeDir: runtimeDir() };
}

async function examine(globals: GlobalOptions): Promise<DoctorReport> {
  const progress = openProgress(globals);
  const store = openStore();
  try {
    progress.show('booting a probe guest on each accelerator', true);
    const verdicts = await usableAccelerators({
      stateDir: join(store.path, 'accelerators'),
      // A host without a kernel to boot is itself a finding, not an end to the examination.
      kernel: async () => {
        try {
          return {
            path: (await defaultKernel(store, { onProgress: progress.show })).vmlinuxPath,
          };
        } catch (error) {
          if (error instanceof LodgeError) return undefined;
          throw error;
        }
      },
      reprobe: true,
    });
    progress.show('looking at the host');
    return doctorReport(await gatherDoctorFacts(liveSource(), places(), verdicts), await siteFindings());
  } finally {
    progress.clear();
  }
}

/** Runs a line of shell as root, its output on standard error. @throws LodgeError when it cannot or fails */
async function runAsRoot(command: string): Promise<void> {
  const argv = process.getuid!() === 0 ? ['sh', '-c', command] : ['sudo', '-n', 'sh', '-c', command];
  process.stderr.write(`lodge: # ${command}\n`);
  if (argv[0] === 'sudo' && (await runProgram(['sudo', '-n', 'true']).catch(() => undefined))?.code !== 0) {
    throw new LodgeError('missing-program', 'this needs root, and sudo asks for a password', {
      fix: `run it as root: ${command}`,
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 2, 2] });
    child.once('error', () => reject(missingProgram(argv[0]!)));
    child.once('close', resolve);
  });
  if (code !== 0)
    throw new LodgeError('missing-program', `the fix ended with ${code}`, { fix: `see above: ${command}` });
}
