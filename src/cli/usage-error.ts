/** What is wrong with a command line, told with the usage of the verb that it is of. */

import type { Argument, Command, CommanderError } from 'commander';
import { LodgeError } from '../errors.ts';

/**
 * Has what is wrong with the command line thrown in the form of all other errors. Where help was asked for, or no verb
 * is there at all, it is still a CommanderError.
 */
export function throwUsageErrors(program: Command): void {
  const verbs = program.commands.flatMap((verb) => [verb, ...verb.commands]);
  for (const command of [program, ...verbs]) {
    command.configureOutput({ writeErr: () => {} });
    command.exitOverride((error) => {
      if (error.exitCode === 0) throw error;
      const [first, verb] = command.args;
      if (error.code === 'commander.help' && first === 'help' && verb !== undefined)
        throw unknownVerb(verb, command);
      throw error.code === 'commander.help' && command === program ? error : usageError(error, command);
    });
  }
}

function usageError(error: CommanderError, command: Command): LodgeError {
  const name = nameOf(command);
  const help = `${name} --help`;
  if (error.code === 'commander.help') return verbMissing(command, help);
  const meant = /\(Did you mean (.*)\?\)/s.exec(error.message)?.[1];
  const missing = /^error: missing required argument '(.*)'$/s.exec(error.message)?.[1];
  const argument = command.registeredArguments.find((one) => one.name() === missing);
  if (argument !== undefined) {
    return new LodgeError('usage', `${name}: ${wordOf(argument)} is missing`, {
      detail: usageLines(command),
      fix: help,
    });
  }
  const message = error.message.replace(/^error: /, '').replace(/\n\(Did you mean.*\)$/s, '');
  return new LodgeError('usage', message, { fix: meant === undefined ? help : `did you mean ${meant}?` });
}

/** Help was asked for of a verb that is none. */
function unknownVerb(verb: string, command: Command): LodgeError {
  return new LodgeError('usage', `unknown command '${verb}'`, { fix: `${nameOf(command)} --help` });
}

/** A verb that only groups others was given alone. */
function verbMissing(command: Command, help: string): LodgeError {
  const verbs = command.createHelp().visibleCommands(command);
  return new LodgeError('usage', `${nameOf(command)}: which of its verbs is missing`, {
    detail: [
      `usage: ${command.createHelp().commandUsage(command)}`,
      ...columns(verbs.map((verb) => [verb.name(), verb.description()])),
    ].join('\n'),
    fix: help,
  });
}

function usageLines(command: Command): string {
  const help = command.createHelp();
  const rows = command.registeredArguments.map((argument): [string, string] => [
    wordOf(argument),
    argument.description,
  ]);
  return [`usage: ${help.commandUsage(command)}`, ...columns(rows)].join('\n');
}

/** As it stands in the usage, but for whether it must be there. */
function wordOf(argument: Argument): string {
  return `<${argument.name()}${argument.variadic ? '...' : ''}>`;
}

function columns(rows: readonly [string, string][]): string[] {
  const width = Math.max(0, ...rows.map(([word]) => word.length));
  return rows.map(([word, text]) => `  ${word.padEnd(width)}  ${text}`.trimEnd());
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`;
}
