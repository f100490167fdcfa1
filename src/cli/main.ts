/** The entry of the command line: parses, runs a verb, and turns whatever went wrong into a message and an exit code. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CommanderError } from 'commander';
import { describeError, exitCodes, LodgeError } from '../errors.ts';
import { installationDir } from '../installation.ts';
import { buildProgram } from './program.ts';

function version(): string {
  return (JSON.parse(readFileSync(join(installationDir, 'package.json'), 'utf8')) as { version: string })
    .version;
}

async function main(): Promise<void> {
  const program = buildProgram(version());
  for (const command of [
    program,
    ...program.commands,
    ...program.commands.flatMap((verb) => verb.commands),
  ]) {
    command.exitOverride();
  }
  try {
    await program.parseAsync(process.argv);
  } catch (error) {
    if (error instanceof CommanderError) {
      // commander has written its message or the help already.
      process.exitCode = error.exitCode === 0 ? 0 : exitCodes.refused;
      return;
    }
    process.stderr.write(`${describeError(error)}\n`);
    if (program.opts().json === true && error instanceof LodgeError) {
      const { code, message, where, fix, detail } = error;
      process.stdout.write(`${JSON.stringify({ error: { code, message, where, fix, detail } })}\n`);
    }
    process.exitCode = error instanceof LodgeError ? error.exitCode : exitCodes.refused;
  }
}

// What may still be open (standard input, an idle socket) must not keep the shell waiting.
void main().finally(() => process.exit());
