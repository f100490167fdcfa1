/** What the root of a user-mode guest can write on the host: what is shared for writing, and nothing else. */

import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lodgePath, processesOf, type RunResult, run } from './lodge.ts';

const isRoot = process.getuid!() === 0;
const uid = 54_322;

/** What a guest's root tries: every way to write that a mount of the host's files gives. */
const attempts = `
  try() { { "$@"; } 2>/dev/null && echo "$1 done" || echo "$1 refused"; }
  into() { echo x >"$1"; }
  mkdir /tmp/all /tmp/ro
  busybox mount -t hostfs -o / none /tmp/all
  busybox mount -t hostfs -o "$BASE/ro" none /tmp/ro
  busybox mount -o remount,rw /given
  busybox mount -o remount,rw /lodge/lower 2>/dev/null
  for file in /given/new /tmp/ro/new "/tmp/all$BASE/ro/new" "/tmp/all$BASE/other" "/tmp/all$RUN/guests/walls/plan.json"; do
    try into "$file" "$file"
  done | sort | uniq -c | sed 's/^ *//'
  try rm "/tmp/all$BASE/ro/file"
  try into /kept/new
  cat /given/file "/tmp/all$BASE/ro/file"`;

describe.each([...(isRoot ? ['root' as const] : []), 'user' as const])(
  'run by %s, the root of a user-mode guest',
  (who) => {
    let base: string;
    const path = (name: string): string => join(base, name);

    beforeAll(() => {
      base = mkdtempSync(join(tmpdir(), 'lc-'));
      for (const name of ['', 'run', 'home', 'ro', 'rw', 'memory']) {
        mkdirSync(path(name), { recursive: true, mode: 0o700 });
        if (who === 'user' && isRoot) chownSync(path(name), uid, uid);
      }
      writeFileSync(path('ro/file'), 'from the host\n');
      if (who === 'user' && isRoot) chownSync(path('ro/file'), uid, uid);
    });

    afterAll(() => {
      expect(processesOf(base)).toEqual([]);
      rmSync(base, { recursive: true, force: true });
    });

    function attempt(
      prefix: readonly string[] = [],
      env: Record<string, string | undefined> = {},
    ): Promise<RunResult> {
      const drop = [
        'setpriv',
        `--reuid=${uid}`,
        `--regid=${uid}`,
        '--clear-groups',
        '--inh-caps=-all',
        '--no-new-privs',
      ];
      return run(
        [
          ...(who === 'user' && isRoot ? drop : []),
          ...prefix,
          ...[lodgePath, '-v', 'run', '-a', 'uml', '-u', 'root', '--name', 'walls', '--cwd', '/'],
          ...['-v', `${path('ro')}:/given:ro`, '-v', `${path('rw')}:/kept`],
          ...['-e', `BASE=${base}`, '-e', `RUN=${path('run')}`, '--', 'sh', '-c', attempts],
        ],
        {
          cwd: path('home'),
          env: {
            ...{ HOME: path('home'), LODGE_RUNTIME_DIR: path('run'), LODGE_DATA_DIR: path('data') },
            ...{ TMPDIR: undefined, TMP: undefined, TEMP: undefined, XDG_DATA_HOME: undefined, ...env },
          },
        },
      );
    }

    const walls = ['5 into refused', 'rm refused', 'into done', 'from the host', 'from the host', ''].join(
      '\n',
    );

    it('can write what is shared for writing, and nothing else of the host', async () => {
      const { code, stdout, stderr } = await attempt();
      expect({ code, stdout: stdout.toString(), stderr }).toEqual({
        code: 0,
        stdout: walls,
        stderr: expect.not.stringContaining('no mount namespace'),
      });
      expect(readFileSync(path('rw/new'), 'utf8')).toBe('x\n');
      expect(existsSync(path('ro/new'))).toBe(false);
    });

    it('is kept from it where TMPDIR says where its memory is, too', async () => {
      const { code, stdout } = await attempt([], { TMPDIR: path('memory') });
      expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: walls });
    });

    it('is told when TMPDIR leads nowhere, and has its memory elsewhere', async () => {
      const { code, stderr } = await attempt([], { TMPDIR: path('nowhere') });
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringContaining(`TMPDIR names ${path('nowhere')}, which is no directory`),
      });
    });

    it('is not kept from it where no mount namespace can be made, and that is told', async () => {
      const inside = ['unshare', '--user', '--map-root-user', 'sh', '-c'];
      const none = 'echo 0 >/proc/sys/user/max_mnt_namespaces && exec "$@"';
      const { stdout, stderr } = await attempt([...inside, none, 'sh']);
      expect({ stdout: stdout.toString(), stderr }).toEqual({
        stdout: expect.stringMatching(/^5 into done\nrm done\ninto done\n/),
        stderr: expect.stringContaining('no mount namespace can be made here'),
      });
      for (const name of ['ro/new', 'other']) rmSync(path(name), { force: true });
      writeFileSync(path('ro/file'), 'from the host\n');
    });
  },
);
