/** What is particular to guests that are namespaces of the host: the host's kernel is theirs to use, not to change. */

import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { homeOf, lodgePath, processesOf, Runtime, run, until } from './lodge.ts';

const isRoot = process.getuid!() === 0;

/** Says of each line whether it could be done; `t` runs words, and what it says is kept to itself. */
const trying = `t() { if "$@" >/tmp/said 2>&1; then echo "done: $*"; else echo "no: $*"; fi; }; mkdir -p /tmp/p;`;

describe.runIf(isRoot)('started by root', () => {
  const runtime = new Runtime();

  afterAll(async () => {
    expect(await runtime.close()).toEqual([]);
  });

  it('the guest’s root cannot change the host, its kernel, or what it was given read-only', async () => {
    const names = ['kernel/core_pattern', 'kernel/hostname', 'vm/swappiness'].map(
      (name) => `/proc/sys/${name}`,
    );
    const before = names.map((name) => readFileSync(name, 'utf8'));
    const attempts = [
      // Words that do nothing bad should they work after all.
      ...names.map((name) => `sh -c 'cat ${name} >/tmp/x; cat /tmp/x >${name}'`),
      'umount /proc/sys',
      'mount -o remount,bind,rw /proc/sys',
      'mount -t proc proc /tmp/p',
      'unshare --fork --pid mount -t proc proc /tmp/p',
      'unshare --user --map-root-user --fork --pid mount -t proc proc /tmp/p',
      'mount -t sysfs sys /tmp/p',
      'mount -o remount,rw /sys',
      'mknod /tmp/disk b 254 0',
      'date -s @1700000000',
      'mount -o remount,rw /mnt/ro',
      'mount -o remount,bind,rw /mnt/ro',
      'touch /mnt/ro/new',
      'dmesg',
      // Nothing of the tree that it started in is left.
      'ls /lodge',
      'sh -c \'[ -n "$(ls -A /run/start)" ]\'',
      "sh -c 'cat /proc/1/mountinfo | grep -q /lodge/host'",
    ];
    const allowed = [
      'mount -t tmpfs mine /mnt',
      'hostname mine',
      "sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'",
      'ip link set lo mtu 1400',
    ];
    const line = (words: string): string => `t ${words}`;
    const script = `${trying}\n${[...attempts, ...allowed].map(line).join('\n')}`;
    const forward = readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8');
    const { code, stdout, stderr } = await runtime.lodge([
      ...['-q', 'run', '-a', 'netns', '--cwd', '/', '-v', `${runtime.work}:/mnt/ro:ro`],
      ...['--', 'bash', '-c', script],
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const done = stdout
      .toString()
      .split('\n')
      .filter((said) => said.startsWith('done: '));
    expect(done).toHaveLength(allowed.length);
    expect(stdout.toString().split('\n')).toHaveLength(attempts.length + allowed.length + 1);
    expect(names.map((name) => readFileSync(name, 'utf8'))).toEqual(before);
    expect(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')).toBe(forward);
    expect(readdirSync(runtime.work)).toEqual([]);
  });

  it('all in the guest ends with it, also what has hidden from its command', async () => {
    const script =
      'setsid sh -c "trap : TERM HUP; echo $$ >/tmp/x; while :; do sleep 1000; done" & sleep 0.2';
    expect((await runtime.lodge(['run', '-a', 'netns', '--', 'bash', '-c', script])).code).toBe(0);
    expect(runtime.processes().filter(({ line }) => line.includes('sleep 1000'))).toEqual([]);
  });

  it('is on the CPUs it was pinned to', async () => {
    const { code, stdout } = await runtime.lodge(['run', '-a', 'netns', '--pin', '0', '--', 'nproc']);
    expect({ code, said: stdout.toString() }).toEqual({ code: 0, said: '1\n' });
  });

  it('is refused what only a kernel of its own can give', async () => {
    const { code, stderr } = await runtime.lodge(['run', '-a', 'netns', '--append', 'quiet', '--', 'true']);
    expect(code).toBe(125);
    expect(stderr).toContain('[driver-cannot]');
  });
});

describe.runIf(isRoot)('started by an ordinary user', () => {
  const uid = 54_322;
  let home: string;
  let env: Record<string, string | undefined>;

  beforeAll(() => {
    ({ home, env } = homeOf(uid));
  });

  afterAll(() => {
    expect(processesOf(home)).toEqual([]);
    rmSync(home, { recursive: true, force: true });
  });

  const lodge = async (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => {
    const { stdout, ...rest } = await run(
      ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', lodgePath, ...args],
      { cwd: home, env },
    );
    return { ...rest, stdout: stdout.toString() };
  };

  it('runs as them, with files of theirs, a name of its own and no rights', async () => {
    const script = `
      id -u; id -g; pwd; echo mine >file; cat file; { echo x >/etc/x; } 2>/dev/null || echo no
      uname -n; cat /etc/hostname; grep CapEff /proc/self/status | tr -d '\\t'; echo x >/tmp/x && echo tmp
      ls -A /run; ${trying} t mount -t tmpfs x /tmp/p; t hostname x; t kill -9 1`;
    // Quietly: the first run of a user tells that it tries the accelerator.
    expect(await lodge('-q', 'run', '-a', 'netns', '--name', 'mine', '--', 'bash', '-c', script)).toEqual({
      code: 0,
      stderr: '',
      stdout: [
        ...[uid, uid, home, 'mine', 'no', 'mine', 'mine', 'CapEff:0000000000000000', 'tmp', 'lock', 'start'],
        ...['no: mount -t tmpfs x /tmp/p', 'no: hostname x', 'done: kill -9 1', ''],
      ].join('\n'),
    });
    expect(readFileSync(join(home, 'file'), 'utf8')).toBe('mine\n');
    expect(readdirSync(join(home, 'run/guests'))).toEqual([]);
  });

  it('says what it cannot: another user, and a directory where there is none', async () => {
    const root = await lodge('run', '-a', 'netns', '-u', 'root', '--', 'id');
    expect(root.code).toBe(126);
    expect(root.stderr).toContain('[command-not-executable]');
    const nowhere = await lodge('run', '-a', 'netns', '-v', `${home}:/no/such/place`, '--', 'true');
    expect(nowhere.code).toBe(125);
    expect(nowhere.stderr).toContain('[share-unusable]');
    const plan = JSON.parse(
      (await lodge('--json', 'run', '-a', 'netns', '--dry-run', '--', 'true')).stdout,
    ) as {
      notes: string[];
    };
    expect(plan.notes.some((note) => note.includes('read-only'))).toBe(true);
  });

  it('copies directories that may not be written, and leaves nothing of copies that fail', async () => {
    mkdirSync(join(home, 'tree/sub'), { recursive: true });
    writeFileSync(join(home, 'tree/sub/file'), 'kept\n');
    for (const name of ['tree/sub', 'tree']) chmodSync(join(home, name), 0o555);
    try {
      await lodge('-q', 'run', '-d', '-a', 'netns', '--name', 'kept');
      expect(await lodge('cp', 'tree', 'kept:/tmp/')).toMatchObject({ code: 0, stderr: '' });
      expect(await lodge('cp', 'kept:/tmp/tree', 'back')).toMatchObject({ code: 0, stderr: '' });
      expect(readFileSync(join(home, 'back/sub/file'), 'utf8')).toBe('kept\n');
      expect(['back', 'back/sub'].map((name) => statSync(join(home, name)).mode & 0o777)).toEqual([
        0o555, 0o555,
      ]);

      const closed =
        'chmod u+w /tmp/tree; echo x >/tmp/tree/closed; chmod 0 /tmp/tree/closed; chmod 555 /tmp/tree';
      await lodge('exec', 'kept', '--', 'sh', '-c', closed);
      expect((await lodge('cp', 'kept:/tmp/tree', 'again')).code).toBe(125);
      expect((await lodge('cp', 'tree', 'kept:/tmp/tree')).code).toBe(125);
      // Its size is no promise and it has no blocks: never zeros in the place of what can be read.
      expect(await lodge('cp', '/sys/kernel/uevent_seqnum', 'kept:/tmp/again')).toMatchObject({
        code: 125,
        stderr: expect.stringContaining('[copy-failed]'),
      });
      expect((await lodge('exec', 'kept', '--', 'ls', '-A', '/tmp')).stdout).not.toContain('lodge-cp');
      expect(readdirSync(home).filter((name) => /again|lodge-cp/.test(name))).toEqual([]);
    } finally {
      await lodge('rm', '-f', 'kept');
      for (const { pid } of processesOf(home)) process.kill(pid, 'SIGTERM');
      await until('the agent is gone', () => processesOf(home).length === 0 || undefined);
    }
  });
});
