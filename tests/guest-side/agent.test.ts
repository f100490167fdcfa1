import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { constants, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  encodeExec,
  encodeFrame,
  encodeTexts,
  encodeU32,
  frameTypes,
  maxPayloadBytes,
  protocolVersion,
} from '../../src/guest/channel/frames.ts';
import { AgentClient, request } from './agent-client.ts';
import { buildAgent } from './build-agent.ts';

const { errno, signals } = constants;

let binary: string;
let directory: string;
let agent: AgentClient;

beforeAll(() => {
  binary = buildAgent();
}, 120_000);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'lodge-agent-'));
  agent = new AgentClient(binary);
  const hello = await agent.sync();
  expect(hello.payload.subarray(0, 8)).toEqual(agent.nonce);
  expect(hello.payload.readUInt32LE(8)).toBe(protocolVersion);
  expect(hello.payload.subarray(12).toString()).toBe(`${release()}\0`);
});

afterEach(async () => {
  await agent.stop();
  rmSync(directory, { recursive: true });
});

const sh = (script: string, more = {}) => agent.exec(request(['sh', '-c', script], more));

function isAlive(pid: number): boolean {
  try {
    // A zombie is no life.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Looks again and again at what has no event. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('a command', () => {
  it('has its output and its errors apart', async () => {
    const session = sh('echo out; echo err >&2');
    expect(await session.exit()).toEqual({ code: 0, signal: 0 });
    expect([session.text(1), session.text(2)]).toEqual(['out\n', 'err\n']);
    expect(session.ended).toEqual([false, true, true]);
  });

  it.each([0, 1, 7, 255])('ends with code %d', async (code) => {
    expect(await sh(`exit ${code}`).exit()).toEqual({ code, signal: 0 });
  });

  it('tells the signal that killed it', async () => {
    expect(await sh('kill -SEGV $$').exit()).toEqual({ code: 0, signal: signals.SIGSEGV });
  });

  it('has the environment, directory and arguments it was given, and nothing else', async () => {
    const env = { PATH: '/bin:/usr/bin', A: 'x=y z', EMPTY: '' };
    const session = agent.exec(request(['env'], { env }));
    await session.exit();
    expect(session.text(1).trimEnd().split('\n')).toEqual(['PATH=/bin:/usr/bin', 'A=x=y z', 'EMPTY=']);
    const other = agent.exec(
      request(['sh', '-c', 'pwd; printf "%s|" "$@"', 'sh', 'a b', '', 'ü'], { cwd: directory }),
    );
    await other.exit();
    expect(other.text(1)).toBe(`${directory}\na b||ü|`);
  });

  it('has the umask it was given', async () => {
    const session = agent.exec(request(['sh', '-c', 'umask'], { umask: 0o137 }));
    await session.exit();
    expect(session.text(1)).toBe('0137\n');
  });

  it('leads its own session, with plain signals and no files of the agent', async () => {
    const session = sh(
      'ps -o sid= -p $$; echo $$; ls /proc/self/fd; grep -E "Sig(Blk|Ign)" /proc/self/status; umask',
    );
    await session.exit();
    const [sid, pid, ...rest] = session.text(1).trim().split('\n');
    expect(sid!.trim()).toBe(pid);
    expect(session.pid).toBe(Number(pid));
    expect(rest).toEqual([
      '0',
      '1',
      '2',
      '3',
      'SigBlk:\t0000000000000000',
      'SigIgn:\t0000000000000000',
      '0022',
    ]);
  });

  it('can open its own standard files', async () => {
    const session = sh('echo a > /dev/stdout; echo b > /dev/stderr; cat /dev/stdin');
    await session.eof();
    expect((await session.exit()).code).toBe(0);
    expect([session.text(1), session.text(2)]).toEqual(['a\n', 'b\n']);
  });

  it('may be a script that names no interpreter', async () => {
    writeFileSync(join(directory, 'script'), 'echo "$0 $1"', { mode: 0o755 });
    const session = agent.exec(request(['script', 'x'], { env: { PATH: `/nowhere:${directory}` } }));
    await session.exit();
    expect(session.text(1)).toBe(`${directory}/script x\n`);
  });

  it.runIf(process.getuid!() === 0)('becomes the user and the groups', async () => {
    const session = agent.exec(
      request(['sh', '-c', 'id -u; id -g; id -G; echo x > /dev/stdout'], {
        uid: 1234,
        gid: 77,
        groups: [5, 77, 4_000_000],
      }),
    );
    await session.exit();
    expect(session.text(1)).toBe('1234\n77\n77 5 4000000\nx\n');
  });
});

describe('a command that can not run is refused', () => {
  it.each([
    ['program', { argv: ['no-such-program'] }, errno.ENOENT, 5],
    ['program', { argv: ['/etc/passwd'] }, errno.EACCES, 5],
    ['program', { argv: [''] }, errno.ENOENT, 5],
    ['directory', { cwd: '/no/such' }, errno.ENOENT, 4],
    ['directory', { cwd: '/etc/passwd' }, errno.ENOTDIR, 4],
    ['user', { uid: 0xffffffff }, undefined, 3],
    ['program', { argv: ['true'], env: { PATH: '/nowhere' } }, errno.ENOENT, 5],
    ['request', { umask: 0o1000 }, errno.EINVAL, 2],
  ])('%s: %j', async (_what, more, error, stage) => {
    const refused = await agent.exec(request(['true'], more)).refusal();
    expect(refused.stage).toBe(stage);
    if (error !== undefined) expect(refused.error).toBe(error);
  });

  it('found without permission, then not found, is no permission', async () => {
    writeFileSync(join(directory, 'tool'), '#!/bin/sh\n', { mode: 0o644 });
    const refused = await agent.exec(request(['tool'], { env: { PATH: `${directory}:/nowhere` } })).refusal();
    expect(refused).toEqual({ error: errno.EACCES, stage: 5, text: 'tool' });
  });

  it('for a request that is not one', async () => {
    const good = encodeExec(request(['true', 'x'], { groups: [1] }), 1);
    const wrong: Buffer[] = [Buffer.alloc(0), Buffer.alloc(31), Buffer.alloc(40, 0xff), Buffer.alloc(33)];
    wrong.push(Buffer.concat([good, Buffer.from('more\0')]), Buffer.concat([good, Buffer.from('x')]));
    for (let length = 0; length < good.length; length++) wrong.push(good.subarray(0, length));
    for (const [offset, value] of [
      [0, 2],
      [20, 0o1000],
      [24, 0x4000_0001],
      [32, 0],
      [32, 0xffff_ffff],
      [36, 0x2000_0000],
    ] as const) {
      const changed = Buffer.from(good);
      changed.writeUInt32LE(value, offset);
      wrong.push(changed);
    }
    for (const payload of wrong) {
      expect(await agent.execBytes(payload).refusal()).toMatchObject({ error: errno.EINVAL, stage: 2 });
    }
  });

  it('as the 513th at once, and there is place again when one has ended', async () => {
    const many = Array.from({ length: 512 }, () => agent.exec(request(['cat'])));
    await agent.waiters.until(() => many.every((session) => session.pid !== undefined));
    expect((await agent.exec(request(['true'])).refusal()).stage).toBe(1);
    for (const session of many) await session.eof();
    for (const session of many) expect((await session.exit()).code).toBe(0);
    expect((await agent.exec(request(['true'])).exit()).code).toBe(0);
  }, 60_000);
});

describe('the streams', () => {
  it('carry 64 MB through cat and back bit by bit, within their credit', async () => {
    const block = randomBytes(1 << 20);
    const [sent, got] = [createHash('sha256'), createHash('sha256')];
    const session = agent.exec(request(['cat']), {
      creditBytes: 300_000,
      onOutput: (_stream, bytes) => got.update(bytes),
    });
    await session.until(() => session.pid !== undefined);
    for (let i = 0; i < 64; i++) {
      block.writeUInt32LE(i, 0);
      sent.update(block);
      await session.write(block);
    }
    await session.eof();
    expect(await session.exit()).toEqual({ code: 0, signal: 0 });
    expect(got.digest('hex')).toBe(sent.digest('hex'));
  }, 60_000);

  it('of 50 commands at once do not mix', async () => {
    const all = Array.from({ length: 50 }, (_, i) => sh(`cat; echo end ${i}; exit ${i}`));
    await Promise.all(
      all.map(async (session, i) => {
        await session.until(() => session.pid !== undefined);
        await session.write(Buffer.alloc(100_000 + i, `${i} `));
        await session.eof();
        expect(await session.exit()).toEqual({ code: i, signal: 0 });
        expect(session.text(1)).toBe(`${Buffer.alloc(100_000 + i, `${i} `)}end ${i}\n`);
      }),
    );
  }, 60_000);

  it('stop at their credit, each on its own', async () => {
    const stuck = agent.exec(request(['sh', '-c', 'head -c 3000000 /dev/zero; echo done >&2']), {
      creditBytes: 1000,
      holdsCredit: true,
    });
    await stuck.until(() => stuck.text(1).length === 1000);
    const other = sh('head -c 3000000 /dev/zero');
    expect((await other.exit()).code).toBe(0);
    expect(stuck.text(1).length).toBe(1000);
    expect(stuck.end).toBeUndefined();
    await stuck.give(1, 4_000_000);
    expect((await stuck.exit()).code).toBe(0);
    expect(stuck.text(1).length).toBe(3_000_000);
  });

  it('leave room for answers while commands write without end', async () => {
    const noise = agent.exec(request(['yes']), {
      creditBytes: 0xffff_ffff,
      holdsCredit: true,
      onOutput: () => {},
    });
    await noise.until(() => noise.pid !== undefined);
    for (let i = 0; i < 20; i++) expect(await agent.ping()).toBe('ping');
    const session = sh('cat');
    await session.until(() => session.pid !== undefined);
    await session.write(Buffer.from('through'));
    await session.eof();
    await session.exit();
    expect(session.text(1)).toBe('through');
    await noise.signal(signals.SIGKILL);
    await noise.exit();
  });

  it('keep what an ended process has left until there is credit', async () => {
    const session = agent.exec(request(['echo', 'hello']), { creditBytes: 2, holdsCredit: true });
    await session.until(() => session.text(1) === 'he');
    await until(() => !isAlive(session.pid!));
    expect(await agent.ping()).toBe('ping');
    expect(session.end).toBeUndefined();
    await session.give(1, 100);
    await session.exit();
    expect(session.text(1)).toBe('hello\n');
  });

  it('take input for a command that reads later, up to the credit', async () => {
    const go = join(directory, 'go');
    const session = sh(`while ! [ -e ${go} ]; do sleep 0.01; done; cksum`);
    await session.until(() => session.pid !== undefined);
    const bytes = randomBytes(5 << 20);
    const written = session.write(bytes).then(() => session.eof());
    expect((await sh(`printf '' > ${go}`).exit()).code).toBe(0);
    await written;
    await session.exit();
    expect(session.text(1)).toMatch(new RegExp(` ${bytes.length}\n`));
  });

  it('do not stall on a command that closes its input early', async () => {
    const session = sh('exec <&-; echo closed; exec sleep 1000');
    await session.until(() => session.text(1) === 'closed\n');
    await session.write(Buffer.alloc(3 << 20));
    await session.signal(signals.SIGTERM);
    expect((await session.exit()).signal).toBe(signals.SIGTERM);
    const head = sh('head -c 5; exec <&-; exec sleep 1000');
    await head.until(() => head.pid !== undefined);
    await head.write(Buffer.alloc(3 << 20, 'x'));
    await head.signal(signals.SIGKILL);
    await head.exit();
    expect(head.text(1)).toBe('xxxxx');
  });

  it('wait for a host that does not read, and lose nothing', async () => {
    const session = sh('i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done');
    await session.until(() => session.pid !== undefined);
    agent.pause();
    await until(() => true);
    agent.resume();
    expect((await session.exit()).code).toBe(0);
    expect(session.text(1).trimEnd().split('\n').length).toBe(20000);
  });
});

describe('the end', () => {
  it('does not wait for others that hold the output', async () => {
    const session = sh('sleep 1000 & echo $!');
    expect((await session.exit()).code).toBe(0);
    const pid = Number(session.text(1));
    expect(isAlive(pid)).toBe(true);
    process.kill(pid, 'SIGKILL');
  });

  it('does not wait for others that write without end', async () => {
    const session = sh('yes & echo $! >&2');
    expect((await session.exit()).code).toBe(0);
    await until(() => !isAlive(Number(session.text(2))));
  });

  it('comes for the whole group by a signal', async () => {
    const session = sh('sleep 1000 & echo $!; wait');
    await session.until(() => session.text(1).endsWith('\n'));
    await session.signal(signals.SIGTERM);
    expect(await session.exit()).toEqual({ code: 0, signal: signals.SIGTERM });
    await until(() => !isAlive(Number(session.text(1))));
  });

  it('comes by CLOSE, even for those that do not heed SIGHUP', async () => {
    const session = sh('trap "" HUP; (sleep 1000 & echo $!; wait) & echo $!; wait');
    await session.until(() => session.text(1).trim().split('\n').length === 2);
    const pids = session.text(1).trim().split('\n').map(Number);
    await session.frame(frameTypes.CLOSE);
    expect((await session.exit()).signal).toBe(signals.SIGKILL);
    await until(() => pids.every((pid) => !isAlive(pid)));
  });

  it('by CLOSE also reaches those that outlive the leader', async () => {
    const session = sh('(trap "" HUP; echo $$; exec sleep 1000) & sleep 1000');
    await session.until(() => session.text(1) !== '');
    await session.frame(frameTypes.CLOSE);
    expect((await session.exit()).signal).toBe(signals.SIGHUP);
    const left = () => readFileSync('/proc/self/stat', 'utf8') && existsSync(`/proc/${session.pid}`);
    await until(() => !left());
  });

  it('of a stopped command comes by CLOSE', async () => {
    const session = sh('kill -STOP $$');
    await session.until(() => session.pid !== undefined);
    await session.frame(frameTypes.CLOSE);
    expect((await session.exit()).signal).toBe(signals.SIGHUP);
  });

  it('of everything comes when the host is gone', async () => {
    const session = sh('trap "" HUP; echo ready; sleep 1000');
    await session.until(() => session.text(1) !== '');
    await agent.stop();
    await until(() => !isAlive(session.pid!));
  });
});

describe('a terminal', () => {
  const terminal = { rows: 24, columns: 80 };

  it('has its size, and a new one when told', async () => {
    const session = agent.exec(
      request(
        [
          'sh',
          '-c',
          'tty; stty size; trap "stty size; exit 3" WINCH; echo ready; while :; do sleep 0.01; done',
        ],
        { terminal },
      ),
    );
    await session.until(() => session.text(1).includes('ready'));
    const size = Buffer.alloc(4);
    size.writeUInt16LE(50, 0);
    size.writeUInt16LE(132, 2);
    await session.frame(frameTypes.RESIZE, size);
    expect((await session.exit()).code).toBe(3);
    expect(session.text(1)).toMatch(/^\/dev\/pts\/\d+\r\n24 80\r\nready\r\n50 132\r\n$/);
    expect(session.ended).toEqual([false, true, false]);
  });

  it('ends a file with the end of input, in the middle of a line too', async () => {
    for (const [input, output] of [
      ['a line\n', 'a line\r\n'],
      ['half', 'half'],
      ['', ''],
    ] as const) {
      const session = agent.exec(request(['sh', '-c', 'stty -echo; echo; exec cat'], { terminal }));
      await session.until(() => session.text(1) === '\r\n');
      await session.write(Buffer.from(input));
      await session.eof();
      expect((await session.exit()).code).toBe(0);
      expect(session.text(1)).toBe(`\r\n${output}`);
    }
  });

  it('turns Ctrl-C into a signal', async () => {
    const session = agent.exec(request(['sh', '-c', 'echo ready; exec cat'], { terminal }));
    await session.until(() => session.text(1).includes('ready'));
    await session.write(Buffer.from('\x03'));
    expect((await session.exit()).signal).toBe(signals.SIGINT);
  });

  it('gives all output of a process that has ended', async () => {
    const session = agent.exec(request(['seq', '100000'], { terminal }));
    await session.exit();
    expect(session.text(1).trimEnd().split('\r\n').length).toBe(100_000);
  });

  it('may be let go and opened again', async () => {
    const script = 'exec <&- >&- 2>&-; sleep 0.3; echo again > /dev/tty';
    const session = agent.exec(request(['sh', '-c', script], { terminal }));
    await session.exit();
    expect(session.text(1)).toBe('again\r\n');
  });
});

describe('steps', () => {
  it('make directories, files and links', async () => {
    const at = (name: string): string => join(directory, name);
    const done = await agent.configure(
      ['mkdir', at('a/b/c'), '1777'],
      ['write', at('a/file'), '0640', 'one\ntwo\n'],
      ['write', at('a/file'), '0600', 'three'],
      ['append', at('a/file'), 'four\n'],
      ['append', at('a/file'), 'five\n'],
      ['append', at('a/new'), 'one\n'],
      ['symlink', 'file', at('a/link')],
      ['symlink', 'b', at('a/link')],
      ['wait', at('a/b/c'), '0'],
    );
    expect(done).toEqual({ error: 0, index: 0, text: '' });
    expect(statSync(at('a/b/c')).mode & 0o7777).toBe(0o1777);
    expect(statSync(at('a/b')).mode & 0o7777).toBe(0o755);
    expect(readFileSync(at('a/file'), 'utf8')).toBe('three\nfour\nfive\n');
    expect(readFileSync(at('a/new'), 'utf8')).toBe('one\n');
    expect(statSync(at('a/file')).mode & 0o7777).toBe(0o600);
    expect(readlinkSync(at('a/link'))).toBe('b');
  });

  it.each([
    [[['mkdir', '/proc/no/such', '755']], errno.ENOENT, 0, 'mkdir /proc/no/such'],
    [
      [
        ['mkdir', '/tmp', '755'],
        ['symlink', 'x', '/no/such/link'],
      ],
      errno.ENOENT,
      1,
      'symlink /no/such/link',
    ],
    [[['wait', '/', '0'], ['wait', '/no/such', '30'], ['nonsense']], errno.ETIMEDOUT, 1, 'wait /no/such'],
    [[['nonsense']], errno.EINVAL, 0, 'unknown step nonsense'],
    [[['mkdir', '/tmp/x', '9']], errno.EINVAL, 0, 'mkdir /tmp/x'],
    [[['mkdir', '/tmp']], errno.EINVAL, 0, 'mkdir'],
    [
      [
        ['mkdir', '/tmp', '755'],
        ['hostname', 'x'],
      ],
      errno.EPERM,
      1,
      'hostname x',
    ],
    [[['symlink', 'x', '/tmp']], errno.EEXIST, 0, 'symlink /tmp'],
  ])('%j fail with errno %d', async (steps, error, index, text) => {
    expect(await agent.configure(...steps)).toEqual({ error, index, text });
  });

  it('that wait hold up what comes after them, and nothing else', async () => {
    const path = join(directory, 'late');
    const running = sh('cat; echo done');
    await running.until(() => running.pid !== undefined);
    await agent.send(encodeFrame(frameTypes.CONFIGURE, 0, encodeTexts(['wait', path, '60000'])));
    expect(await agent.ping('first')).toBe('first');
    await agent.send(encodeFrame(frameTypes.CONFIGURE, 0, encodeTexts(['nonsense'])));
    writeFileSync(path, '');
    expect((await agent.next(frameTypes.CONFIGURED)).payload.readUInt32LE(0)).toBe(0);
    expect((await agent.next(frameTypes.CONFIGURED)).payload.readUInt32LE(0)).toBe(errno.EINVAL);
    await running.eof();
    await running.exit();
  });

  it('are forgotten when a new host comes', async () => {
    await agent.send(encodeFrame(frameTypes.CONFIGURE, 0, encodeTexts(['wait', '/no/such', '60000'])));
    await agent.sync();
    expect(await agent.configure(['wait', '/', '0'])).toEqual({ error: 0, index: 0, text: '' });
  });
});

describe('READ', () => {
  const read = async (...texts: string[]): Promise<{ error: number; bytes: Buffer }> => {
    await agent.send(encodeFrame(frameTypes.READ, 0, encodeTexts(texts)));
    const { payload } = await agent.next(frameTypes.CONTENT);
    return { error: payload.readUInt32LE(0), bytes: payload.subarray(4) };
  };

  it('gives files, those of the kernel too, up to the limit', async () => {
    const path = join(directory, 'file');
    const bytes = randomBytes(maxPayloadBytes + 50_000);
    writeFileSync(path, bytes);
    const [first, second] = [await read(path), await read(path, String(maxPayloadBytes - 4))];
    expect([first.error, second.error]).toEqual([0, 0]);
    // As a matcher compares bytes, this takes seconds.
    expect(first.bytes.equals(bytes.subarray(0, maxPayloadBytes - 4))).toBe(true);
    expect(second.bytes.equals(bytes.subarray(maxPayloadBytes - 4))).toBe(true);
    expect(await read(path, String(bytes.length))).toEqual({ error: 0, bytes: Buffer.alloc(0) });
    expect((await read('/proc/version')).bytes.toString()).toBe(readFileSync('/proc/version', 'utf8'));
  });

  it('says what is wrong', async () => {
    expect(await read('/no/such')).toEqual({ error: errno.ENOENT, bytes: Buffer.alloc(0) });
    expect((await read('/tmp')).error).toBe(errno.EISDIR);
    expect((await read('x'.repeat(5000))).error).toBe(errno.ENAMETOOLONG);
    expect((await read('/proc/version', '-1')).error).toBe(errno.EINVAL);
  });
});

describe('HALT', () => {
  const halt = (mode: number, graceMs: number): Promise<void> =>
    agent.send(encodeFrame(frameTypes.HALT, 0, encodeU32(mode, graceMs)));

  it('asks every command to end, tells its end, and goes', async () => {
    const session = sh('trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.01; done');
    await session.until(() => session.text(1) === 'ready\n');
    await halt(0, 60_000);
    expect(await session.exit()).toEqual({ code: 5, signal: 0 });
    expect(session.text(1)).toBe('ready\nbye\n');
    await agent.next(frameTypes.HALTED);
    expect(await agent.exited()).toBe(0);
  });

  it('does not ask for ever', async () => {
    const session = sh('trap "" TERM; echo ready; while :; do sleep 0.01; done');
    await session.until(() => session.text(1) === 'ready\n');
    await halt(1, 50);
    expect((await session.exit()).signal).toBe(signals.SIGKILL);
    await agent.next(frameTypes.HALTED);
    expect(await agent.exited()).toBe(0);
  });

  it('starts nothing any more', async () => {
    const session = sh('trap "" TERM; echo ready; while :; do sleep 0.01; done');
    await session.until(() => session.text(1) === 'ready\n');
    await halt(0, 60_000);
    expect((await sh('true').refusal()).error).toBe(108 /* ESHUTDOWN */);
    await session.signal(signals.SIGKILL);
    await agent.next(frameTypes.HALTED);
    expect(await agent.exited()).toBe(0);
  });

  it('can do no more than write everything', async () => {
    await halt(2, 0);
    await agent.next(frameTypes.HALTED);
    expect(await agent.ping()).toBe('ping');
  });
});
