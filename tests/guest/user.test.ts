import { describe, expect, it } from 'vitest';
import { usableShell } from '../../src/guest/user.ts';

describe('the shell of a user', () => {
  it.each([
    ['/bin/zsh', '/bin/zsh'],
    ['/usr/sbin/nologin', '/bin/sh'],
    ['/sbin/nologin', '/bin/sh'],
    ['/bin/false', '/bin/sh'],
    [null, '/bin/sh'],
  ])('with %s as its login shell is %s', (login, shell) => {
    expect(usableShell(login)).toBe(shell);
  });
});
