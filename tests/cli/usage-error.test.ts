import { resolve } from 'node:path';
import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { throwUsageErrors } from '../../src/cli/usage-error.ts';
import { LodgeError } from '../../src/errors.ts';

async function thrownBy(...words: string[]): Promise<unknown> {
  const program = await buildProgram('0', words[0]);
  throwUsageErrors(program);
  return program.parseAsync(['node', 'lodge', ...words]).then(
    () => {
      throw new Error('it was accepted');
    },
    (error: unknown) => error,
  );
}

async function faultOf(...words: string[]): Promise<LodgeError> {
  const thrown = await thrownBy(...words);
  if (thrown instanceof LodgeError) return thrown;
  throw thrown;
}

describe('a verb without the words that it needs', () => {
  it('says which is missing, with its usage and what each word is', async () => {
    const fault = await faultOf('fabric', 'capture');
    expect([fault.code, fault.exitCode]).toEqual(['usage', 125]);
    expect(fault.message).toBe('lodge fabric capture: <what> is missing');
    expect(fault.detail).toBe(
      'usage: lodge fabric capture [options] <what> [links...]\n' +
        '  <what>      start, stop or ls.\n' +
        "  <links...>  NETWORK/GUEST, NETWORK/SWITCH-SWITCH; ranges as in 'lan/v[01-04]'.",
    );
    expect(fault.fix).toBe('lodge fabric capture --help');
  });

  it.each([
    [['fabric', 'cut'], 'lodge fabric cut: <links...> is missing'],
    [['fabric', 'move', 'lan/v1'], 'lodge fabric move: <switch> is missing'],
    [['fabric', 'shape', '--delay', '1ms'], 'lodge fabric shape: <link> is missing'],
    [['checkpoint'], 'lodge checkpoint: <directory> is missing'],
  ])('%j', async (words, message) => {
    expect((await faultOf(...words)).message).toBe(message);
  });

  it('of links, without asking for a cluster', async () => {
    expect((await faultOf('fabric', 'capture', 'start')).message).toBe('no link is named');
    expect((await faultOf('fabric', 'capture', 'begin', 'lan/v1')).message).toBe(
      "'begin' is not start, stop or ls",
    );
    expect((await faultOf('fabric', 'shape', 'lan/v1')).message).toBe('no shape is given');
  });

  it('that groups others names them', async () => {
    const fault = await faultOf('fabric');
    expect(fault.message).toBe('lodge fabric: which of its verbs is missing');
    expect(fault.detail).toMatch(/^usage: lodge fabric .*$/m);
    expect(fault.detail).toMatch(/^ {2}capture {2,}Capture links as pcapng/m);
    expect((await faultOf('image')).detail).toMatch(/^ {2}build /m);
  });
});

describe('a line that is wrong otherwise', () => {
  it('leads to the help of its verb', async () => {
    expect(await faultOf('fabric', 'links', '--nonesuch')).toMatchObject({
      message: "unknown option '--nonesuch'",
      fix: 'lodge fabric links --help',
    });
    expect(await faultOf('fabric', 'captrue')).toMatchObject({
      message: "unknown command 'captrue'",
      fix: 'did you mean capture?',
    });
  });

  it.each([
    [['help', 'nonesuch'], 'lodge --help'],
    [['fabric', 'help', 'nonesuch'], 'lodge fabric --help'],
  ])('%j says that there is no such verb', async (words, fix) => {
    expect(await faultOf(...words)).toMatchObject({ message: "unknown command 'nonesuch'", fix });
  });

  it.each(['.', 'docs', ''])(
    "has a working directory that is relative to who knows what: '%s'",
    async (cwd) => {
      const fix = `--cwd ${resolve(cwd)}`;
      for (const verb of ['run', 'exec', 'shell']) {
        expect(await faultOf(verb, '--cwd', cwd, 'v1', 'pwd')).toMatchObject({ where: '--cwd', fix });
      }
    },
  );
});

describe('help', () => {
  it('is none of them, asked for or for want of any verb', async () => {
    const { stdout } = process;
    const { write } = stdout;
    stdout.write = () => true;
    try {
      expect(await thrownBy('fabric', 'capture', '--help')).toBeInstanceOf(CommanderError);
    } finally {
      stdout.write = write;
    }
    expect(await thrownBy()).toMatchObject({ code: 'commander.help' });
  });
});
