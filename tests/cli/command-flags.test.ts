import { describe, expect, it } from 'vitest';
import { requestOf } from '../../src/cli/command-flags.ts';

const user = { name: 'ada', uid: 1000, gid: 1000, groups: [1000], home: '/home/ada', shell: '/bin/zsh' };
const defaults = { entrypoint: ['/bin/echo'], command: ['hello'], env: {} };
const plan = { isHostRoot: false, defaults, volumes: [] };
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
