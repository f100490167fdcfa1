import { userInfo } from 'node:os';
import { afterEach, expect, it, vi } from 'vitest';
import { openStore } from '../src/image/store.ts';
import { homeDir } from '../src/this-user.ts';

afterEach(() => vi.unstubAllEnvs());

it('is what HOME says', () => {
  vi.stubEnv('HOME', '/somewhere/else');
  expect(homeDir()).toBe('/somewhere/else');
});

it.each(['here', './here', '', undefined])('is that of the user database where HOME is %j', (home) => {
  vi.stubEnv('HOME', home);
  expect(homeDir()).toBe(userInfo().homedir);
  vi.stubEnv('LODGE_DATA_DIR', '');
  vi.stubEnv('XDG_DATA_HOME', '');
  expect(openStore().path).toBe(`${userInfo().homedir}/.local/share/lodge`);
});
