import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { verbReference } from '../../src/cli/manual.ts';
import { buildProgram } from '../../src/cli/program.ts';

const whole = await buildProgram('0');
const verbs = whole.commands.map((command) => command.name());

/** All that parsing and help of a verb depend on. */
function definitionOf(program: Command, verb: string): unknown {
  const command = program.commands.find((candidate) => candidate.name() === verb)!;
  const parts = (of: Command): unknown => [
    of.name(),
    of.helpInformation(),
    of.options.map(({ flags, hidden }) => [flags, hidden]),
    of.commands.map(parts),
  ];
  return parts(command);
}

describe('a program for one verb', () => {
  it.each(verbs)('%s is defined as in the whole', async (verb) => {
    const program = await buildProgram('0', verb);
    expect(definitionOf(program, verb)).toEqual(definitionOf(whole, verb));
  });

  it.each(['run', 'exec', 'ps', 'up', 'fabric', 'slurm', 'study', 'place'])(
    '%s is defined without the others',
    async (verb) => {
      const program = await buildProgram('0', verb);
      expect(program.commands.length).toBeLessThanOrEqual(5);
    },
  );

  it.each(['help', 'exce', '', '--json', undefined])('for %j is the whole', async (word) => {
    const program = await buildProgram('0', word);
    expect(program.commands.map((command) => command.name())).toEqual(verbs);
  });
});

it('each verb has its place in the page of what --json prints', () => {
  const page = readFileSync(new URL('../../docs/reference/json.md', import.meta.url), 'utf8');
  const all = [...verbReference(whole).matchAll(/^## (.*)$/gm)].map(([, name]) => name!);
  expect(all.length).toBeGreaterThan(40);
  expect(all.filter((name) => !new RegExp(`\`${name}(\`| -)`).test(page))).toEqual([]);
});
