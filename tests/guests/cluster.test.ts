/**
 * Clusters of real guests of all kinds in one fabric: up, changed while they run, hurt, and down with nothing left.
 * LODGE_KILL_SEED chooses the moments at which lodge is killed.
 */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { seededRandom } from '../../src/random.ts';
import { type RunResult, Runtime, run, until } from './lodge.ts';

const seed = Number(process.env.LODGE_KILL_SEED ?? Date.now() % 2 ** 31);

interface Status {
  name: string;
  guests: { name: string; status: string; addresses: string[]; linksUp: number; framesIn: number }[];
}

describe('a cluster', () => {
  let here: Runtime;

  beforeAll(() => {
    here = new Runtime();
  });

  afterAll(async () => {
    expect(await here.close()).toEqual([]);
  });

  const write = (name: string, text: string): string => {
    const file = join(here.work, name);
    writeFileSync(file, text);
    return file;
  };

  const status = async (name: string): Promise<Status> =>
    JSON.parse(await here.done(['--json', 'status', name])) as Status;

  const processIds = async (): Promise<Map<string, number>> =>
    new Map((await here.ps()).map(({ name, vmmPid }) => [name, vmmPid!]));

  const ping = (from: string, to: string): Promise<RunResult> =>
    here.lodge(['exec', from, '--', 'busybox', 'ping', '-c', '1', '-w', '30', to]);

  /** A guest of user-mode Linux as small as will do. */
  const mixed = `
name: lab
defaults: {memory: 128M}
guests:
  q1: {accelerator: tcg, memory: 256M}
  v[1-2]: {accelerator: uml}
  n[1-3]: {accelerator: netns}
`;

  describe('of emulated, user-mode and namespace guests', () => {
    const names = ['q1', 'v1', 'v2', 'n1', 'n2', 'n3'];

    it('is planned without anything being started', async () => {
      const file = write('cluster.yaml', mixed);
      const text = await here.done(['up', '-n', file]);
      expect(text).toMatch(/^n3 +netns +1 +128M +eth0 +lan +10\.1\.0\.6\/16 +02:4c:01:00:00:06$/m);
      expect(text).toMatch(/^memory at most: .* = /m);
      expect(here.files()).toEqual([]);
    });

    it('comes up, and all reach all by their names', async () => {
      expect(await here.done(['up'])).toBe('lab: 6 to start\n');
      const found = await status('lab');
      expect(found.guests.map((guest) => [guest.name, guest.status, guest.linksUp])).toEqual(
        names.map((name) => [name, 'running', 1]),
      );
      const failed: string[] = [];
      for (const from of names) {
        for (const to of names) {
          if ((await ping(from, to)).code !== 0) failed.push(`${from} to ${to}`);
        }
      }
      expect(failed).toEqual([]);
      const matrix = JSON.parse(await here.done(['--json', 'fabric', 'matrix'])) as {
        pairs: { from: string; to: string }[];
      };
      const pairs = new Set(matrix.pairs.map(({ from, to }) => `${from} ${to}`));
      const expected = names.flatMap((a) => names.filter((b) => b !== a).map((b) => `lan/${a} lan/${b}`));
      expect(expected.filter((pair) => !pairs.has(pair))).toEqual([]);
    });

    it('runs a command in many guests, each line with its name', async () => {
      const { code, stdout, stderr } = await here.lodge([
        'exec',
        'n[1-3]',
        '--',
        'sh',
        '-c',
        'hostname; echo complaint >&2; exit $(hostname | tail -c 2)',
      ]);
      expect(code).toBe(3);
      expect(stdout.toString().split('\n').sort()).toEqual(['', 'n1: n1', 'n2: n2', 'n3: n3']);
      expect(stderr.split('\n').sort()).toEqual(['', 'n1: complaint', 'n2: complaint', 'n3: complaint']);
      expect((await here.lodge(['exec', 'lab.v1', '--', 'hostname'])).stdout.toString()).toBe('v1\n');
    });

    it('ends as by SIGPIPE when nobody reads any more', async () => {
      const line = "set -o pipefail; $LODGE exec 'n[1-3]' -- busybox yes | head -n 1 | tail -c 3; echo $?";
      const { stdout, stderr } = await here.bash(line, { timeoutMs: 60_000 });
      expect([stdout.toString(), stderr]).toEqual([' y\n141\n', '']);
    });

    it('copies to and from many guests', async () => {
      const file = write('some-file', 'content\n');
      await here.done(['cp', file, 'n[1-2]:/tmp/']);
      const { stdout } = await here.lodge(['exec', 'n[1-2]', '--', 'cat', '/tmp/some-file']);
      expect(stdout.toString().split('\n').sort()).toEqual(['', 'n1: content', 'n2: content']);
      await here.done(['cp', 'n[1-2]:/tmp/some-file', here.work]);
      expect(readFileSync(join(here.work, 'n2', 'some-file'), 'utf8')).toBe('content\n');
    });

    it('starts programs on others by SSH and MPI, with no further set-up', async () => {
      expect((await here.lodge(['exec', 'v1', '--', 'ssh', 'v2', 'hostname'])).stdout.toString()).toBe(
        'v2\n',
      );
      const { code, stdout, stderr } = await here.lodge([
        'run',
        '--cluster',
        'lab',
        '--on',
        'v1',
        '--',
        'mpiexec.openmpi',
        '--host',
        'v1,v2',
        'hostname',
      ]);
      expect([code, stdout.toString().split('\n').sort()], stderr).toEqual([0, ['', 'v1', 'v2']]);
    });

    it('applied again has nothing to do', async () => {
      const before = await processIds();
      expect(await here.done(['apply'])).toBe('lab: nothing to do\n');
      expect(await processIds()).toEqual(before);
    });

    it('is changed by what differs: guests come and go, links are shaped, all others run on', async () => {
      const before = await processIds();
      write(
        'cluster.yaml',
        `${mixed.replace('n[1-3]', 'n[1-2,4]')}
fabric: {lan: {members: {q1: , v1: {delay: 40ms}, v2: , 'n[1-2]': , n4: }}}\n`,
      );
      const planned = await here.done(['apply', '-n']);
      expect(planned).toContain('remove lab.n3');
      expect(planned).toContain('change link lan/v1');
      await here.done(['apply']);
      const after = await processIds();
      expect([...after.keys()].sort()).toEqual(['lab.n1', 'lab.n2', 'lab.n4', 'lab.q1', 'lab.v1', 'lab.v2']);
      for (const name of ['lab.q1', 'lab.v1', 'lab.v2', 'lab.n1', 'lab.n2']) {
        expect(after.get(name), name).toBe(before.get(name));
      }
      expect((await ping('v2', 'n4')).code).toBe(0);
      expect((await ping('n1', 'n3')).code).not.toBe(0);
      const { stdout } = await ping('v1', 'n1');
      expect(Number(/time=([\d.]+) ms/.exec(stdout.toString())?.[1])).toBeGreaterThan(40);
      expect(await here.done(['apply'])).toBe('lab: nothing to do\n');
    });

    it('has links cut and healed while it runs, and apply takes that back', async () => {
      await here.done(['fabric', 'cut', 'lan/n1']);
      const { code } = await here.lodge(['exec', 'n1', '--', 'busybox', 'ping', '-c', '1', '-w', '2', 'n2']);
      expect(code).not.toBe(0);
      await here.done(['fabric', 'heal', 'lan/n1']);
      expect((await ping('n1', 'n2')).code).toBe(0);
      await here.done(['fabric', 'shape', 'lan/n1', '--loss', '100%', '--out']);
      expect(await here.done(['apply'])).toContain('1 link changed');
      expect((await ping('n1', 'n2')).code).toBe(0);
      const { code: wrong, stderr } = await here.lodge(['fabric', 'cut', 'lan/n9']);
      expect([wrong, stderr]).toEqual([125, expect.stringContaining("did you mean 'lan/n1'?")]);
    });

    it('has its frames flow again after the host agent was killed', async () => {
      await here.done(['fabric', 'shape', 'lan/n2', '--delay', '30ms', '--out']);
      const agent = here.agentPid()!;
      process.kill(agent, 'SIGKILL');
      await until('it is gone', () => here.agentPid() === undefined || undefined);
      // What is sent before the fabric is there again is lost, as on any network: busybox counts that as a failure.
      const script = 'for i in 1 2 3 4 5 6; do busybox ping -c 1 -w 10 v2 && exit 0; done; exit 1';
      const { code, stdout, stderr } = await here.lodge(['exec', 'n2', '--', 'sh', '-c', script]);
      expect(code, `${stdout}${stderr}`).toBe(0);
      // What was changed while it ran is so still.
      expect(Number(/time=([\d.]+) ms/.exec(stdout.toString())?.[1])).toBeGreaterThan(30);
      expect((await status('lab')).guests.filter((guest) => guest.linksUp !== 1)).toEqual([]);
      expect(await here.done(['fabric', 'events', '--kind', 'fabric-started'])).toMatch(
        /(.*fabric-started.*\n){2}/,
      );
    });

    it('has a guest that ended started again by apply', async () => {
      await here.done(['stop', 'n1']);
      await here.done(['rm', 'n1']);
      await here.done(['stop', 'v2']);
      expect(await here.done(['apply'])).toContain('1 to start, 1 to replace');
      expect((await ping('n1', 'v2')).code).toBe(0);
    });

    it('is not made another one by up', async () => {
      const other = write('other.yaml', 'name: lab\nguests: {x: {accelerator: netns}}\n');
      const { code, stderr } = await here.lodge(['up', other]);
      expect([code, stderr]).toEqual([125, expect.stringContaining('[cluster-exists]')]);
    });

    it('goes down, and nothing is left', async () => {
      await here.done(['down']);
      expect(await here.ps()).toEqual([]);
      expect(here.files()).toEqual([]);
      const agent = here.agentPid();
      expect(here.processes().filter(({ pid }) => pid !== agent)).toEqual([]);
      expect((await here.lodge(['down'])).stderr).toContain('[no-such-cluster]');
    });
  });

  it('with more memory than there is is refused before anything is started', async () => {
    const file = write('large.yaml', 'defaults: {memory: 1G}\nguests:\n  v[001-999]: {accelerator: uml}\n');
    const { code, stderr } = await here.lodge(['up', file]);
    expect([code, stderr]).toEqual([125, expect.stringContaining('999 uml of 1.0G = 1022.')]);
    expect(here.files()).toEqual([]);
  });

  it('with a directory to share that is not there is refused before anything is started', async () => {
    const file = write(
      'shares.yaml',
      'defaults: {accelerator: netns}\nguests:\n  a:\n  b: {volumes: ["/no/such/place:/tmp/x"]}\n',
    );
    const { code, stderr } = await here.lodge(['up', file]);
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(/shares\.yaml:4:\d+: 'volumes' of guest 'b'/),
    ]);
    expect(here.files()).toEqual([]);
  });

  it('keeps a guest whose shared directory has gone, until something of it changes', async () => {
    const share = join(here.work, 'gone');
    const spec = (memory: string) =>
      `name: gone\ndefaults: {accelerator: netns}\nguests:\n  a: {volumes: ["${share}:/tmp/x"], memory: ${memory}}\n`;
    mkdirSync(share);
    const file = write('gone.yaml', spec('64M'));
    await here.done(['up', file]);
    rmSync(share, { recursive: true });
    expect(await here.done(['apply', file])).toBe('gone: nothing to do\n');
    write('gone.yaml', spec('65M'));
    const { code, stderr } = await here.lodge(['apply', file]);
    expect([code, stderr]).toEqual([125, expect.stringMatching(/gone\.yaml:4:\d+: 'volumes' of guest 'a'/)]);
    expect(await here.done(['exec', 'gone.a', '--', 'hostname'])).toBe('a\n');
    await here.done(['down', 'gone']);
  });

  it('pins guests that start at once to CPUs of their own, or is refused before anything is started', async () => {
    const count = availableParallelism();
    const pinned = (guests: number): string =>
      write('pinned.yaml', `guests:\n  n[1-${guests}]:\n    accelerator: netns\n    pin: true\n`);
    const { code, stderr } = await here.lodge(['up', pinned(count + 1)]);
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(/pinned\.yaml:4:10: 'pin' of guest 'n\d+'.*\[placement-unmet\]/),
    ]);
    expect(here.files()).toEqual([]);
    // On hosts with hardware threads a core is one guest's.
    await here.done(['up', pinned(2)]);
    const found = await Promise.all(
      ['n1', 'n2'].map((name) =>
        here.done(['exec', name, '--', 'grep', 'Cpus_allowed_list', '/proc/1/status']),
      ),
    );
    expect(new Set(found).size).toBe(2);
    await here.done(['down', 'pinned']);
  });

  it('with a name too long for its sockets is refused before anything is started', async () => {
    const file = write(
      'long.yaml',
      `guests: {a: {accelerator: netns}, ${'b'.repeat(63)}: {accelerator: netns}}\n`,
    );
    const long = join(here.dir, 'r'.repeat(40));
    const { code, stderr } = await here.lodge(['up', '--dry-run', file], {
      env: { LODGE_RUNTIME_DIR: long },
    });
    expect([code, stderr]).toEqual([
      125,
      expect.stringMatching(
        /long\.yaml:1:35: the guest's sockets .* 107 bytes \[host-io\]\n {2}\| .*console\.sock\n/,
      ),
    ]);
    rmSync(long, { recursive: true, force: true });
  });

  it('whose fabric cannot begin is told why, and is not there', async () => {
    write('taken', 'no directory\n');
    const file = write(
      'taken.yaml',
      'guests: {n1: {accelerator: netns}}\nfabric: {lan: {members: [n1], capture: {directory: taken}}}\n',
    );
    const { code, stderr } = await here.lodge(['up', file]);
    expect([code, stderr]).toEqual([125, expect.stringMatching(/taken\/taken.*\[host-io\]/)]);
    expect(here.files()).toEqual([]);
  });

  it('captures beside another cluster into one directory, each into files of its own', async () => {
    const spec =
      'defaults: {accelerator: netns}\nguests: {"n[1-2]": }\nfabric: {lan: {members: ["n[1-2]"], capture: true}}\n';
    for (const name of ['one', 'two']) await here.done(['up', write(`${name}.yaml`, spec)]);
    expect((await ping('one.n1', 'n2')).code).toBe(0);
    const started = await here.done(['fabric', 'capture', 'start', '--cluster', 'two', 'lan/n1']);
    expect(started).toBe(`${join(here.work, 'two/lan/n1.pcapng')}\n`);
    for (const name of ['one', 'two']) await here.done(['down', name]);
    const echoes = async (name: string): Promise<string[]> => {
      const file = join(here.work, name, 'lan/n1.pcapng');
      const { code, stdout, stderr } = await run([
        'tshark',
        '-r',
        file,
        '-Y',
        'icmp',
        '-T',
        'fields',
        '-e',
        'icmp.type',
      ]);
      expect(code, stderr).toBe(0);
      return stdout.toString().split('\n').filter(Boolean);
    };
    expect(await echoes('one')).toEqual(['8', '0']);
    expect(await echoes('two')).toEqual([]);
  });

  it('has guests that fail, and the others run', async () => {
    const file = write(
      'part.yaml',
      // No kernel is there so soon; namespaces may be.
      'defaults: {accelerator: netns}\nguests:\n  a:\n  b: {accelerator: uml, memory: 128M, boot-timeout: 1ms}\n  c:\n',
    );
    const { code, stderr } = await here.lodge(['up', file]);
    expect([code, stderr]).toEqual([123, expect.stringContaining('1 of 3 guests are not as asked: b')]);
    expect(stderr).toContain('b: ');
    expect((await ping('a', 'c')).code).toBe(0);
    write('part.yaml', 'defaults: {accelerator: netns}\nguests:\n  a:\n  b:\n  c:\n');
    expect(await here.done(['apply', file])).toContain('1 to start');
    expect((await ping('b', 'c')).code).toBe(0);
    await here.done(['down', 'part']);
    expect(here.files()).toEqual([]);
  });

  it('is changed by one lodge at a time', async () => {
    const file = write('busy.yaml', 'defaults: {accelerator: netns}\nguests:\n  n[1-8]:\n');
    const all = await Promise.all([1, 2, 3].map(() => here.lodge(['up', file])));
    const refused = all.filter(({ code }) => code !== 0);
    for (const { code, stderr } of refused)
      expect([code, stderr]).toEqual([125, expect.stringContaining('[cluster-busy]')]);
    expect(all.length - refused.length).toBeGreaterThan(0);
    expect(await here.done(['apply', file])).toBe('busy: nothing to do\n');
    await here.done(['down', 'busy']);
    expect(here.files()).toEqual([]);
  });

  it(`converges when lodge is killed at any moment (LODGE_KILL_SEED=${seed})`, async () => {
    console.log(`LODGE_KILL_SEED=${seed}`);
    const random = seededRandom(seed);
    const file = write('kill.yaml', 'defaults: {accelerator: netns}\nguests:\n  n[1-6]:\n');
    for (let round = 0; round < 5; round++) {
      const started = here.startLodge([round % 2 === 0 ? 'up' : 'apply', file], { input: '' });
      await delay(random.below(2500));
      started.child.kill('SIGKILL');
      await started.end;
      if (random.below(3) === 0) {
        const agent = here.agentPid();
        if (agent !== undefined) process.kill(agent, 'SIGKILL');
      }
      if (random.below(4) === 0) {
        const going = here.startLodge(['down', 'kill'], { input: '' });
        await delay(random.below(1500));
        going.child.kill('SIGKILL');
        await going.end;
      }
    }
    await here.done(['apply', file]);
    expect(await here.done(['apply', file])).toBe('kill: nothing to do\n');
    const found = await status('kill');
    expect(found.guests.map((guest) => [guest.status, guest.linksUp])).toEqual(
      new Array(6).fill(['running', 1]),
    );
    expect((await ping('n1', 'n6')).code).toBe(0);
    const going = here.startLodge(['down', 'kill'], { input: '' });
    await delay(random.below(1500));
    going.child.kill('SIGKILL');
    await going.end;
    // Killed after its end, it has left nothing to take down; what it was removing goes with the next command.
    if (here.files().some((file) => !file.startsWith('making/'))) await here.done(['down', 'kill']);
    expect(await here.ps()).toEqual([]);
    expect(here.files()).toEqual([]);
  });
});
