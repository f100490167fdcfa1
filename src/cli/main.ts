/** The entry of the command line: parses, runs a verb, and turns whatever went wrong into a message and an exit code. */

import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError } from 'commander';
import { describeError, exitCodes, LodgeError } from '../errors.ts';
import { installationDir } from '../installation.ts';
import { signalNumbers } from '../process.ts';
import { completePath, requireOwnRights, requirePlacesInUtf8 } from '../start-environment.ts';
import { buildProgram } from './program.ts';
import { throwUsageErrors } from './usage-error.ts';

function version(): string {
  return (JSON.parse(readFileSync(join(installationDir, 'package.json'), 'utf8')) as { version: string })
    .version;
}

/** A verb that waits for what never comes ends with the event loop; that must not look like success. */
let isSettled = false;
process.on('exit', (code) => {
  if (!isSettled && code === 0) process.exitCode = exitCodes.refused;
});

/** Node.js has put U+FFFD for bytes that are not UTF-8: a file of that name would not be the one that was meant. */
function requireUtf8(argv: readonly string[]): void {
  if (!argv.some((word) => word.includes('\u{fffd}'))) return;
  const words = readFileSync('/proc/self/cmdline', 'latin1').split('\0').slice(-argv.length, -1);
  const wrong = words.find((word) => !isUtf8(Buffer.from(word, 'latin1')));
  if (wrong === undefined) return;
  throw new LodgeError('usage', 'arguments must be UTF-8, and one is not', {
    where: JSON.stringify(wrong)
      .slice(1, -1)
      .replace(/[\x80-\xff]/g, (c) => `\\x${c.charCodeAt(0).toString(16)}`),
    fix: 'rename the file, or give the bytes through standard input',
  });
}

/** A result that was not written is no result. Who has stopped reading wants none: the end is as by SIGPIPE. */
process.stdout.on('error', (cause: NodeJS.ErrnoException) => {
  isSettled = true;
  if (cause.code !== 'EPIPE') {
    const error = new LodgeError('host-io', `the result could not be written: ${cause.message}`, {
      where: 'standard output',
      fix: 'see where it goes to: is there space?',
    });
    process.stderr.write(`${describeError(error)}\n`);
  }
  process.exit(cause.code === 'EPIPE' ? 128 + signalNumbers.SIGPIPE! : exitCodes.refused);
});

/** Nobody is left to be told. What was asked for goes on, and how it ended is in the exit code. */
process.stderr.on('error', () => {});

/** What is no defect of lodge, in the form of all other errors. */
function knownError(thrown: unknown): unknown {
  const { code, syscall } = thrown as NodeJS.ErrnoException;
  if (code !== 'ENOENT' || syscall !== 'uv_cwd') return thrown;
  return new LodgeError('usage', 'the working directory is no longer there', { fix: 'cd to one that is' });
}

async function main(): Promise<void> {
  completePath(process.env);
  const program = await buildProgram(version(), process.argv[2]);
  throwUsageErrors(program);
  try {
    requireUtf8(process.argv);
    requirePlacesInUtf8();
    requireOwnRights();
    await program.parseAsync(process.argv);
    isSettled = true;
  } catch (thrown) {
    isSettled = true;
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return;
    if (thrown instanceof CommanderError && thrown.code === 'commander.help') {
      process.stderr.write(program.helpInformation());
      process.exitCode = exitCodes.refused;
      return;
    }
    const error = knownError(thrown);
    process.stderr.write(`${describeError(error)}\n`);
    if (program.opts().json === true) {
      const { code, message, where, fix, detail } =
        error instanceof LodgeError ? error : new LodgeError('internal', String(error));
      process.stdout.write(`${JSON.stringify({ error: { code, message, where, fix, detail } })}\n`);
    }
    process.exitCode = error instanceof LodgeError ? error.exitCode : exitCodes.refused;
  }
}

/** A pipe takes 64 KiB at once; the rest of a result is on its way yet. Errors are short, but their reader may be slow. */
async function drained(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
  }
}

// What may still be open (standard input, an idle socket) must not keep the shell waiting.
void main()
  .then(leaveNoEmptyPlace)
  .then(drained)
  .finally(() => setImmediate(() => process.exit()));

/** What a command makes in passing must not stay on the hosts of a job. */
async function leaveNoEmptyPlace(): Promise<void> {
  if (process.env.SLURMD_NODENAME === undefined) return;
  const locate = await import('../server/locate.ts');
  locate.leaveNoEmptyPlace();
}
