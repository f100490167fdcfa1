import { describe, expect, it } from 'vitest';
import { requestOf } from '../../src/cli/command-flags.ts';

const user = { name: 'ada', uid: 1000, gid: 1000, groups: [1000], home: '/home/ada', shell: '/bin/zsh' };
const defaults = { entrypoint: ['/bin/echo'], command: ['hello'], env: {} };
const plan = { isHostRoot: false, accelerator: 'tcg' as const, defaults, volumes: [] };
const requestWith = (flags: { user?: string; cwd?: string }, more: object = {}, isHostRoot = false) =>
  requestOf([], { tty: false, env: {}, ...flags }, { ...plan, isHostRoot, ...more }, user, true);
const argvOf = (argv: string[], isMain: boolean): readonly string[] =>
  requestOf(argv, { tty: false, env: {} }, plan, user, isMain).argv;

describe('the entry point of an image', () => {
  it('is what a guest was started for, with the arguments given or those of the image', () => {
    expect(argvOf([], true)).toEqual(['/bin/echo', 'hello']);
    expect(argvOf(['id', '-u'], true)).toEqual(['/bin/echo', 'id', '-u']);
  });

  it('has nothing to do with further commands in the guest', () => {
    expect(argvOf(['id', '-u'], false)).toEqual(['id', '-u']);
    expect(argvOf([], false)).toEqual(['/bin/sh']);
  });
});

describe('the user of a command', () => {
  const named = { defaults: { ...defaults, user: 'app', cwd: '/app', env: { HOME: '/srv' } } };

  it('is the caller, by default and by name', () => {
    for (const flags of [{}, { user: 'ada' }]) {
      const request = requestWith(flags);
      expect(request).toMatchObject({ uid: 1000, gid: 1000, groups: [1000] });
      expect(request).not.toHaveProperty('user');
      expect(request.env).toMatchObject({ HOME: '/home/ada', USER: 'ada', LOGNAME: 'ada' });
    }
  });

  it('is left to the guest to know when it is another, and then nothing says it is the caller', () => {
    const { user: asked, env } = requestWith({ user: 'www:5' });
    expect(asked).toBe('www:5');
    expect(['HOME', 'USER', 'LOGNAME'].filter((name) => name in env)).toEqual([]);
    expect(() => requestWith({ user: 'a b' })).toThrow("'a b' is not USER[:GROUP]");
  });

  it("is the image's own where the image names one and nobody else is asked for, in the image's directory", () => {
    const shared = { ...named, volumes: [{ source: '/', target: '/', readOnly: false }] };
    expect(requestWith({}, shared)).toMatchObject({ user: 'app', cwd: '/app', env: { HOME: '/srv' } });
    expect(requestWith({ user: 'www' }, shared).user).toBe('www');
    expect(requestWith({ user: 'ada' }, shared)).toMatchObject({ uid: 1000, env: { HOME: '/home/ada' } });
  });
});
