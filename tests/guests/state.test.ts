/** What is known of guests stays true, and nothing is left, whatever is killed, damaged or done at the same moment. */

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { identify } from '../../src/process-identity.ts';
import { homeOf, lodgePath, processesOf, Runtime, run, until } from './lodge.ts';

let here: Runtime;

beforeAll(() => {
  here = new Runtime();
});

afterEach(async () => {
  const names = (await here.ps()).map(({ name }) => name);
  if (names.length > 0) await here.lodge(['rm', '-f', ...names]);
  await untilOnlyAgent();
});

afterAll(async () => {
  expect(await here.close()).toEqual([]);
});

/** No process but the host agent is left; they may take a moment to go. */
async function untilOnlyAgent(): Promise<void> {
  const others = (): string[] =>
    here
      .processes()
      .filter(({ line }) => !line.endsWith(' agent'))
      .map(({ line }) => line);
  await until('all processes are gone', () => others().length === 0 || undefined, 15_000).catch(() => {
    expect(others()).toEqual([]);
  });
}

/** Starts a guest in the foreground whose command waits to be told to end. */
async function startForeground(name: string) {
  const args = ['run', '-a', 'uml', '--name', name, '--', 'sh', '-c', 'echo up; read line; echo "$line"'];
  const started = here.startLodge(args);
  await until(`${name} is up`, () => started.output() === 'up\n' || undefined);
  return started;
}

describe('a name', () => {
  it('is one guest, whoever asks at the same moment', async () => {
    const results = await Promise.all(
      Array.from({ length: 5 }, () => here.lodge(['run', '-d', '-a', 'uml', '--name', 'same'])),
    );
    expect(results.map(({ code }) => code).sort()).toEqual([0, 125, 125, 125, 125]);
    for (const { code, stderr } of results) if (code !== 0) expect(stderr).toContain('[name-taken]');
    expect(await here.ps()).toMatchObject([{ name: 'same', status: 'running' }]);
    expect((await here.lodge(['exec', 'same', '--', 'echo', 'one'])).stdout.toString()).toBe('one\n');
  });

  it('is found anew for each guest that has none', async () => {
    const results = await Promise.all(
      [1, 2, 3].map(() => here.lodge(['run', '-d', '-a', 'uml', '-m', '128M'])),
    );
    const names = results.map(({ stdout }) => stdout.toString().trim());
    expect(new Set(names).size).toBe(3);
    expect((await here.ps()).map(({ name }) => name)).toEqual([...names].sort());
  });
});

describe('a guest in the foreground', () => {
  it('is starting, running and gone', async () => {
    const args = ['run', '-a', 'tcg', '--name', 'front', '--', 'sh', '-c', 'echo up; read line'];
    const started = here.startLodge(args);
    const first = await until('it is there', async () => (await here.ps())[0]);
    expect(first).toMatchObject({
      name: 'front',
      status: 'starting',
      mode: 'foreground',
      accelerator: 'tcg',
    });
    const refused = await here.lodge(['exec', 'front', '--', 'true']);
    expect({ code: refused.code, stderr: refused.stderr }).toEqual({
      code: 125,
      stderr: expect.stringContaining('[guest-not-running]'),
    });
    await until('it is up', () => started.output() === 'up\n' || undefined);
    expect(await here.ps()).toMatchObject([{ name: 'front', status: 'running' }]);
    started.child.stdin!.end('\n');
    expect((await started.end).code).toBe(0);
    expect(await here.ps()).toEqual([]);
    expect(here.files()).toEqual([]);
  });

  it('goes with its lodge when that is killed', async () => {
    const started = await startForeground('front');
    // The shell in between has become it.
    started.child.kill('SIGKILL');
    expect((await started.end).code).toBe(137);
    await untilOnlyAgent();
    expect(await here.ps()).toEqual([]);
    expect(here.files()).toEqual([]);
  });

  it('is stopped from outside, and its run tells so', async () => {
    const started = await startForeground('front');
    expect(await here.lodge(['stop', 'front'])).toMatchObject({ code: 0, stderr: '' });
    const { code } = await started.end;
    // The command was asked to end as every process of the guest was.
    expect([143, 123]).toContain(code);
    expect(here.files()).toEqual([]);
  });

  it('is removed by force from outside', async () => {
    const started = await startForeground('front');
    expect((await here.lodge(['rm', '-f', 'front'])).code).toBe(0);
    const { code, stderr } = await started.end;
    expect({ code, stderr }).toEqual({ code: 123, stderr: expect.stringContaining('[guest-died]') });
    expect(here.files()).toEqual([]);
  });
});

describe('a detached guest', () => {
  it('that ignores being asked is ended when its time is over', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--name', 'deaf']);
    const command = here.startLodge([
      'exec',
      'deaf',
      '--',
      'sh',
      '-c',
      'trap "" TERM; echo up; while :; do sleep 1; done',
    ]);
    await until('it is up', () => command.output() === 'up\n' || undefined);
    expect((await here.lodge(['stop', '--grace', '1s', 'deaf'])).code).toBe(0);
    expect((await command.end).code).not.toBe(0);
    expect(await here.ps()).toMatchObject([{ name: 'deaf', status: 'exited' }]);
  });

  // Mounting takes root: as a plain user this is skipped, and shown as such.
  it.skipIf(process.getuid!() !== 0)('is stopped and removed on a disk that is full', async () => {
    const small = join(here.work, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'none', small]);
    const env = { LODGE_RUNTIME_DIR: small };
    try {
      await here.lodge(['run', '-d', '-a', 'netns', '--name', 'n1'], { env });
      await here.bash('cat /dev/zero >"$LODGE_RUNTIME_DIR/filler"', { env });
      for (const verb of ['stop', 'rm']) {
        expect(await here.lodge([verb, 'n1'], { env })).toMatchObject({ code: 0, stderr: '' });
      }
      expect(readdirSync(join(small, 'guests'))).toEqual([]);
    } finally {
      for (const { pid } of processesOf(small)) process.kill(pid, 'SIGKILL');
      // Who dies has let go of its memory before its files: that no process is found is not enough.
      await until('it is free', () => spawnSync('umount', [small]).status === 0 || undefined);
    }
  });

  it('whose process was killed is told as it ended, and can be removed', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--name', 'dead']);
    const [guest] = await here.ps();
    process.kill(guest!.vmmPid!, 'SIGKILL');
    await until('it is seen', async () => (await here.ps())[0]?.status === 'exited' || undefined);
    expect(await here.ps()).toMatchObject([
      { name: 'dead', status: 'exited', exit: 'signal 9', mode: 'detached' },
    ]);
    expect((await here.lodge(['ps'])).stdout.toString()).toMatch(/dead +exited \(signal 9\)/);
    expect((await here.lodge(['exec', 'dead', '--', 'true'])).stderr).toContain('[guest-not-running]');
    expect((await here.lodge(['rm', 'dead'])).code).toBe(0);
    expect(here.files()).toEqual([]);
  });

  it('whose keeper was killed is told as ended, and leaves no process', async () => {
    for (const accelerator of ['uml', 'tcg']) {
      await here.lodge(['run', '-d', '-a', accelerator, '--name', 'orphan']);
      const keeper = here.processes().find(({ line }) => /\/keeper .*guests\/orphan/.test(line));
      process.kill(keeper!.pid, 'SIGKILL');
      await until('it is seen', async () => (await here.ps())[0]?.status === 'exited' || undefined);
      await untilOnlyAgent();
      expect((await here.lodge(['rm', 'orphan'])).code).toBe(0);
    }
  });

  it('whose host agent was killed while it came up leaves nothing', async () => {
    const started = here.startLodge(['run', '-d', '-a', 'tcg', '--name', 'half'], { input: '' });
    await until('it is there', async () => (await here.ps())[0]?.vmmPid);
    process.kill(here.agentPid()!, 'SIGKILL');
    const { code, stderr } = await started.end;
    expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining('[host-agent]') });
    expect(await here.ps()).toEqual([]);
    await untilOnlyAgent();
    expect(here.files()).toEqual([]);
    expect((await here.lodge(['run', '-a', 'uml', '--name', 'half', '--', 'true'])).code).toBe(0);
  });

  it('is still being started when lodge that asked for it is killed, and is there then', async () => {
    const started = here.startLodge(['run', '-d', '-a', 'uml', '--name', 'asked'], { input: '' });
    await until('it is there', async () => (await here.ps())[0]);
    started.child.kill('SIGKILL');
    await started.end;
    await until('it runs', async () => (await here.ps())[0]?.status === 'running' || undefined);
    expect((await here.lodge(['exec', 'asked', '--', 'true'])).code).toBe(0);
  });

  it('is found by a host agent that starts when many commands want it at once', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--name', 'found']);
    process.kill(here.agentPid()!, 'SIGKILL');
    const results = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        here.lodge(['exec', 'found', '--', 'sh', '-c', `echo ${i}; exit ${i}`]),
      ),
    );
    expect(results.map(({ code, stdout }) => [code, stdout.toString()])).toEqual(
      results.map((_, i) => [i, `${i}\n`]),
    );
    expect(here.processes().filter(({ line }) => line.endsWith(' agent'))).toHaveLength(1);
  });
});

describe('a user-mode guest that is pinned', () => {
  it('has all its processes where it was told', async () => {
    const cpu = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
    await here.lodge(['run', '-d', '-a', 'uml', '--pin', cpu, '--name', 'pinned']);
    const { dir } = (await here.ps())[0]!;
    const allowed = processesOf(dir)
      .filter(({ line }) => line.includes(`uml_dir=${dir}/`))
      .map(({ pid }) => /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
    // The keeper, which has the guest's command line among its arguments, is not pinned.
    expect(allowed.filter((list) => list === cpu).length).toBeGreaterThan(0);
    const { stdout } = await here.lodge(['ps', '--placement']);
    expect(stdout.toString()).toContain(`CPU ${cpu}  CPU ${cpu}`);
  });
});

describe('the state on disk', () => {
  it('that was damaged or is not from lodge does not stop ps', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--name', 'well']);
    const guests = join(here.dir, 'guests');
    mkdirSync(join(guests, 'empty'));
    mkdirSync(join(guests, 'damaged'));
    writeFileSync(join(guests, 'damaged/plan.json'), '{"version": 1, "na');
    writeFileSync(join(guests, 'damaged/state.json'), '');
    writeFileSync(join(guests, 'file'), 'not a directory');
    const listed = await here.lodge(['--json', 'ps']);
    for (const name of ['empty', 'damaged', 'file'])
      rmSync(join(guests, name), { recursive: true, force: true });
    expect({ code: listed.code, stderr: listed.stderr }).toEqual({
      code: 0,
      stderr: expect.not.stringContaining('internal'),
    });
    expect(JSON.parse(listed.stdout.toString())).toContainEqual(
      expect.objectContaining({ name: 'well', status: 'running' }),
    );
  });

  it('takes nothing away that is not a guest', async () => {
    const own = join(here.work, 'own');
    mkdirSync(join(own, 'guests/photos'), { recursive: true });
    mkdirSync(join(own, 'making/draft'), { recursive: true });
    chmodSync(own, 0o700);
    writeFileSync(join(own, 'guests/photos/one'), '');
    writeFileSync(join(own, 'guests/file'), '');
    utimesSync(join(own, 'making/draft'), new Date(0), new Date(0));
    const env = { LODGE_RUNTIME_DIR: own };
    expect((await here.lodge(['ps'], { env })).code).toBe(0);
    const left = ['guests/photos/one', 'guests/file', 'making/draft'].filter((path) =>
      existsSync(join(own, path)),
    );
    expect(left).toHaveLength(3);
    rmSync(own, { recursive: true });
    const relative = await here.lodge(['ps'], { env: { LODGE_RUNTIME_DIR: 'own' } });
    expect(relative).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('must be an absolute path'),
    });
  });

  it('is the same by whatever links it is reached', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--name', 'linked']);
    const link = join(here.work, 'link');
    symlinkSync(here.dir, link);
    const seen = await here.lodge(['--json', 'ps'], { env: { LODGE_RUNTIME_DIR: link } });
    expect(JSON.parse(seen.stdout.toString())).toMatchObject([{ name: 'linked', status: 'running' }]);
    rmSync(link);
    expect(await here.ps()).toMatchObject([{ name: 'linked', status: 'running' }]);
  });

  it('that names a process id which is another process now is not believed', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--name', 'reused']);
    const [guest] = await here.ps();
    process.kill(guest!.vmmPid!, 'SIGKILL');
    await until('it is seen', async () => (await here.ps())[0]?.status === 'exited' || undefined);
    // As if a process of the keeper's id had come since: this one.
    rmSync(join(guest!.dir, 'exit'), { force: true });
    writeFileSync(join(guest!.dir, 'keeper'), `${process.pid} 1\n`);
    expect(await here.ps()).toMatchObject([{ name: 'reused', status: 'exited' }]);
    expect((await here.lodge(['rm', '-f', 'reused'])).code).toBe(0);
  });

  it('that a killed lodge was making is removed when it is old, or its process known to be gone', async () => {
    const making = join(here.dir, 'making/0123456789abcdef');
    mkdirSync(making, { recursive: true });
    await here.ps();
    expect(here.files()).toEqual(['making/0123456789abcdef']);
    utimesSync(making, new Date(0), new Date(0));
    await here.ps();
    expect(here.files()).toEqual([]);
    const [ofNobody, ofUs] = [
      'fedcba9876543210.4194304.1',
      `fedcba9876543210.${process.pid}.${identify(process.pid)!.startTicks}`,
    ];
    for (const name of [ofNobody, ofUs]) mkdirSync(join(here.dir, 'making', name));
    await here.ps();
    expect(here.files()).toEqual([`making/${ofUs}`]);
    rmSync(join(here.dir, 'making', ofUs), { recursive: true });
  });

  it('is made in a directory for its user alone', async () => {
    await here.lodge(['run', '-d', '-a', 'uml', '--name', 'own']);
    const { stdout } = await run([
      'find',
      here.dir,
      '-perm',
      '/077',
      '-type',
      'd',
      '-not',
      '-path',
      '*/guests/*/*',
    ]);
    expect(stdout.toString()).toBe('');
  });
});

describe.runIf(process.getuid!() === 0)('an ordinary user', () => {
  const uid = 54_321;
  let home: string;
  let env: Record<string, string | undefined>;

  beforeAll(() => {
    ({ home, env } = homeOf(uid));
  });

  afterAll(() => {
    expect(processesOf(home)).toEqual([]);
    rmSync(home, { recursive: true, force: true });
  });

  it('runs commands as themselves, with files of theirs, and leaves nothing', async () => {
    const script =
      'id -u; id -g; id -G; echo "$HOME"; pwd; echo mine >file; stat -c %u:%g file; { echo x >/etc/x; } 2>/dev/null || echo no';
    const result = await run(
      [
        ...[
          'setpriv',
          `--reuid=${uid}`,
          `--regid=${uid}`,
          '--groups=100',
          '--inh-caps=-all',
          '--no-new-privs',
        ],
        ...[lodgePath, 'run', '-a', 'uml', '--', 'sh', '-c', script],
      ],
      { cwd: home, env },
    );
    expect({ code: result.code, stderr: result.stderr, stdout: result.stdout.toString() }).toEqual({
      code: 0,
      // What takes long is told where there is no terminal, too; what is known by now is not.
      stderr: 'lodge: finding out whether uml works here, by booting a probe guest (once)\n',
      stdout: `${uid}\n${uid}\n${uid} 100\n${home}\n${home}\n${uid}:${uid}\nno\n`,
    });
    const { stdout } = await run(['stat', '-c', '%u:%g', join(home, 'file')]);
    expect(stdout.toString()).toBe(`${uid}:${uid}\n`);
    expect(readFileSync(join(home, 'file'), 'utf8')).toBe('mine\n');
    expect(readdirSync(join(home, 'run/guests'))).toEqual([]);
  });
});
