import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { capturePath, leastFileBytes, openCapture } from '../../../src/fabric/capture/capture.ts';
import { compileFilter } from '../../../src/fabric/capture/filter.ts';
import type { CapturePlan } from '../../../src/fabric/plan.ts';
import { hasProgram } from '../../image/samples.ts';
import { temporaryDirectory, tshark } from '../frames.ts';
import { ethernet, ipv4, udp } from '../packets.ts';

const root = temporaryDirectory();
let directories = 0;

function plan(changes: Partial<CapturePlan> = {}): CapturePlan {
  const directory = join(root, String(directories++));
  return { directory, snapLengthBytes: 65_535, files: 1, fileBytes: 64 << 20, ...changes };
}

function neverFails(error: Error): void {
  throw error;
}

const data = udp({
  from: '10.1.0.1',
  to: '10.1.0.2',
  fromPort: 1000,
  toPort: 2000,
  data: Buffer.from('hello'),
});
const frame = ethernet('02:4c:00:00:00:02', '02:4c:00:00:00:01', 0x0800, data);
const large = ethernet(
  '02:4c:00:00:00:01',
  '02:4c:00:00:00:02',
  0x0800,
  ipv4({ protocol: 253, from: '10.1.0.2', to: '10.1.0.1', payload: Buffer.alloc(1480, 7) }),
);

/** Types of the blocks of a file, which is whole: each block ends with its length again. */
function blockTypes(path: string): number[] {
  const bytes = readFileSync(path);
  const types: number[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = bytes.readUInt32LE(at + 4);
    expect(bytes.readUInt32LE(at + length - 4)).toBe(length);
    types.push(bytes.readUInt32LE(at));
    at += length;
  }
  expect(at).toBe(bytes.length);
  return types;
}

/** Counts of the last statistics block of an interface. */
function statistics(path: string, interfaceId: number): { seen: number; dropped: number; accepted: number } {
  const bytes = readFileSync(path);
  let found = { seen: -1, dropped: -1, accepted: -1 };
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) !== 5 || bytes.readUInt32LE(at + 8) !== interfaceId) continue;
    const count = (index: number) => Number(bytes.readBigUInt64LE(at + 24 + 12 * index));
    found = { seen: count(0), dropped: count(1), accepted: count(2) };
  }
  return found;
}

describe.skipIf(!hasProgram('tshark'))('a capture that tshark reads', () => {
  const fields = ['frame.time_epoch', 'frame.interface_name', 'frame.packet_flags_direction', 'frame.len'];

  it('has the time, the direction and the length of each frame', async () => {
    const asked = plan();
    const capture = openCapture(asked, 'lan/v01', neverFails);
    capture.out.observe(1_700_000_000, 0, frame, 0, frame.length);
    capture.in.observe(1_700_000_000, 1, large, 0, large.length);
    capture.out.observe(1_800_000_001, 999_999_999, frame, 0, frame.length);
    capture.out.observe(4_294_967_295, 123_456_789, frame, 0, frame.length);
    await capture.close();
    const path = capturePath(asked.directory, 'lan/v01');
    expect(tshark(path, fields)).toEqual([
      ['1700000000.000000000', 'lan/v01/out', '0x00000002', '47'],
      ['1700000000.000000001', 'lan/v01/in', '0x00000001', '1514'],
      ['1800000001.999999999', 'lan/v01/out', '0x00000002', '47'],
      ['4294967295.123456789', 'lan/v01/out', '0x00000002', '47'],
    ]);
    expect(tshark(path, ['udp.dstport', 'data.data'])[0]).toEqual(['2000', '68656c6c6f']);
    expect(blockTypes(path)).toEqual([0x0a0d0d0a, 1, 1, 6, 6, 6, 6, 5, 5]);
    expect(statistics(path, 0)).toEqual({ seen: 3, dropped: 0, accepted: 3 });
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('keeps the snap length and tells the whole one', async () => {
    const asked = plan({ snapLengthBytes: 37 });
    const capture = openCapture(asked, 'lan/v01', neverFails);
    capture.in.observe(1, 2, large, 0, large.length);
    await capture.close();
    const path = capturePath(asked.directory, 'lan/v01');
    expect(tshark(path, ['frame.len', 'frame.cap_len'])).toEqual([['1514', '37']]);
  });

  it('takes a frame from the middle of a buffer, and any length of padding', async () => {
    const asked = plan();
    const capture = openCapture(asked, 'lan/v01', neverFails);
    const buffer = Buffer.alloc(500, 0xaa);
    frame.copy(buffer, 3);
    for (let length = 14; length < 47; length++) capture.out.observe(5, length, buffer, 3, length);
    await capture.close();
    const path = capturePath(asked.directory, 'lan/v01');
    const read = tshark(path, ['frame.cap_len', 'eth.src', 'eth.dst']);
    expect(read).toEqual(
      Array.from({ length: 33 }, (_, i) => [String(i + 14), '02:4c:00:00:00:01', '02:4c:00:00:00:02']),
    );
    blockTypes(path);
  });

  it('goes on in a file that is there, as a section of its own, after a writer that was killed', async () => {
    const asked = plan();
    const path = capturePath(asked.directory, 'lan/v01');
    const first = openCapture(asked, 'lan/v01', neverFails);
    for (let i = 0; i < 3; i++) first.out.observe(10, i, frame, 0, frame.length);
    await first.close();
    // As if the last blocks had been on their way: the third packet is torn.
    truncateSync(path, statSync(path).size - 2 * 76 - 20);
    expect(tshark(path, ['frame.time_epoch'])).toHaveLength(2);
    const second = openCapture(asked, 'lan/v01', neverFails);
    second.in.observe(20, 0, frame, 0, frame.length);
    await second.close();
    expect(blockTypes(path)).toEqual([0x0a0d0d0a, 1, 1, 6, 6, 0x0a0d0d0a, 1, 1, 6, 5, 5]);
    expect(tshark(path, ['frame.time_epoch']).flat()).toEqual([
      '10.000000000',
      '10.000000001',
      '20.000000000',
    ]);
  });

  it('leaves a file that tshark reads when its process is killed', async () => {
    const asked = plan();
    const path = capturePath(asked.directory, 'lan/v01');
    const source = new URL('../../../src/fabric/capture/capture.ts', import.meta.url).pathname;
    const script = join(root, 'writer.ts');
    writeFileSync(
      script,
      `import { openCapture } from ${JSON.stringify(source)};
       const capture = openCapture(${JSON.stringify(asked)}, 'lan/v01', (error) => { throw error; });
       const frame = Buffer.alloc(1000);
       let count = 0;
       setInterval(() => {
         for (let i = 0; i < 500; i++) capture.out.observe(1, count++, frame, 0, frame.length);
         if (count > 5000) process.kill(process.pid, 'SIGKILL');
       }, 5);`,
    );
    const bundle = join(root, 'writer.mjs');
    execFileSync(
      'node_modules/.bin/esbuild',
      [script, '--bundle', '--platform=node', '--format=esm', `--outfile=${bundle}`],
      { stdio: 'ignore' },
    );
    expect(() => execFileSync(process.execPath, [bundle], { stdio: 'ignore' })).toThrow(/./);
    const times = tshark(path, ['frame.time_epoch']).flat();
    expect(times.length).toBeGreaterThan(0);
    expect(times.map((time) => Number(time.split('.')[1]))).toEqual(times.map((_, index) => index));
  });
});

describe('a ring', () => {
  it('keeps its size, the newest file without a number', async () => {
    const asked = plan({ files: 3, fileBytes: leastFileBytes });
    const capture = openCapture(asked, 'torus/s1-s2', neverFails);
    for (let i = 0; i < 2000; i++) {
      capture.out.observe(100, i, large, 0, large.length);
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await capture.close();
    const directory = join(asked.directory, 'torus');
    const names = readdirSync(directory).sort();
    expect(names).toEqual(['s1-s2.1.pcapng', 's1-s2.2.pcapng', 's1-s2.pcapng']);
    const times = ['s1-s2.2', 's1-s2.1', 's1-s2'].flatMap((name) => {
      const path = join(directory, `${name}.pcapng`);
      expect(statSync(path).size).toBeLessThanOrEqual(leastFileBytes);
      expect(blockTypes(path).slice(-2)).toEqual([5, 5]);
      return packetTimes(path);
    });
    // The end of what was seen, without a gap.
    expect(times.length).toBeGreaterThan(300);
    expect(times).toEqual(Array.from({ length: times.length }, (_, i) => 2000 - times.length + i));
    expect(statistics(join(directory, 's1-s2.pcapng'), 0)).toEqual({
      seen: 2000,
      dropped: 0,
      accepted: 2000,
    });
  });

  it('of one file ends when it is full, and says so', async () => {
    const asked = plan({ fileBytes: leastFileBytes });
    const ended = await new Promise<Error>((resolve) => {
      const capture = openCapture(asked, 'lan/v01', resolve);
      for (let i = 0; i < 300; i++) capture.out.observe(100, i, large, 0, large.length);
    });
    expect(ended).toMatchObject({ code: 'host-io', message: expect.stringContaining('has ended') });
    const path = capturePath(asked.directory, 'lan/v01');
    expect(statSync(path).size).toBeLessThanOrEqual(leastFileBytes);
    expect(statSync(path).size).toBeGreaterThan(leastFileBytes - 2000);
    const times = packetTimes(path);
    expect(times).toEqual(times.map((_, index) => index));
    expect(() => openCapture(asked, 'lan/v01', neverFails)).toThrow(/full already/);
  });
});

/** Nanoseconds within the second of each packet. */
function packetTimes(path: string): number[] {
  const bytes = readFileSync(path);
  const times: number[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) !== 6) continue;
    const time = (BigInt(bytes.readUInt32LE(at + 12)) << 32n) | BigInt(bytes.readUInt32LE(at + 16));
    times.push(Number(time % 1_000_000_000n));
  }
  return times;
}

describe('what the disk cannot take', () => {
  it('is dropped and counted, where it happened and at the end', async () => {
    const asked = plan();
    const capture = openCapture(asked, 'lan/v01', neverFails);
    // Nothing is written within one turn of the event loop, so memory runs out.
    for (let i = 0; i < 6000; i++) capture.out.observe(100, i, large, 0, large.length);
    await new Promise((resolve) => setTimeout(resolve, 300));
    capture.in.observe(200, 0, frame, 0, frame.length);
    await capture.close();
    const path = capturePath(asked.directory, 'lan/v01');
    const types = blockTypes(path);
    const written = packetTimes(path).length - 1;
    expect(written).toBeGreaterThan(1000);
    expect(written).toBeLessThan(6000);
    expect(statistics(path, 0)).toEqual({ seen: 6000, dropped: 6000 - written, accepted: 6000 });
    expect(statistics(path, 1)).toEqual({ seen: 1, dropped: 0, accepted: 1 });
    // Told before the frame that came after the gap, and again at the end.
    expect(types.slice(-5)).toEqual([5, 5, 6, 5, 5]);
  });

  const small = join(root, 'small');
  mkdirSync(small);
  let isMounted = false;
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', small], { stdio: 'ignore' });
    isMounted = true;
    afterAll(() => execFileSync('umount', [small]));
  } catch {
    // Mounting takes root: as a plain user this is skipped, and shown as such.
  }

  it.skipIf(!isMounted)('ends the capture with a whole file when the disk is full', async () => {
    const asked = plan({ directory: small });
    let observed = 0;
    const failures: Error[] = [];
    const capture = openCapture(asked, 'lan/v01', (error) => failures.push(error));
    while (failures.length === 0) {
      for (let i = 0; i < 50; i++) capture.out.observe(100, observed++, large, 0, large.length);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await capture.close();
    expect(failures).toEqual([expect.objectContaining({ code: 'disk-full' })]);
    const path = capturePath(small, 'lan/v01');
    blockTypes(path);
    const times = packetTimes(path);
    expect(times).toEqual(times.map((_, index) => index));
    expect(times.length).toBeGreaterThan(600);
    const { seen, dropped, accepted } = statistics(path, 0);
    if (seen !== -1) expect(accepted - dropped).toBe(times.length);
  });
});

describe('a capture is refused', () => {
  it.each([
    ['a snap length of nothing', { snapLengthBytes: 0 }],
    ['no files', { files: 0 }],
    ['tiny files', { fileBytes: 1000 }],
    ['an endless filter', { filter: 'x'.repeat(5000) }],
  ])('with %s', (_, changes) => {
    const asked = plan(changes);
    expect(() => openCapture(asked, 'lan/v01', neverFails)).toThrow(
      expect.objectContaining({ code: 'spec-value' }),
    );
    expect(existsSync(asked.directory)).toBe(false);
  });

  it('where another file stands', () => {
    const asked = plan();
    mkdirSync(asked.directory);
    writeFileSync(join(asked.directory, 'lan.pcapng'), 'my thesis');
    expect(() => openCapture(asked, 'lan', neverFails)).toThrow(/not a capture/);
    expect(readFileSync(join(asked.directory, 'lan.pcapng'), 'utf8')).toBe('my thesis');
  });

  it('for a name that leaves its directory', () => {
    for (const link of ['../x', 'a/../../x', '/x', 'a//b', '']) {
      expect(() => openCapture(plan(), link, neverFails)).toThrow(/not the name of a link/);
    }
  });
});

describe.skipIf(!hasProgram('tcpdump'))('a filter', () => {
  it('lets through what it says, and counts what it saw', async () => {
    const asked = plan({ filter: 'udp port 2000', snapLengthBytes: 60 });
    const failed: Error[] = [];
    const capture = openCapture(
      asked,
      'lan/v01',
      (e) => failed.push(e),
      await compileFilter('udp port 2000', 60),
    );
    capture.out.observe(1, 1, frame, 0, frame.length);
    capture.out.observe(1, 2, large, 0, large.length);
    await capture.close();
    const path = capturePath(asked.directory, 'lan/v01');
    expect(packetTimes(path)).toEqual([1]);
    expect(statistics(path, 0)).toEqual({ seen: 2, dropped: 0, accepted: 1 });
    expect(failed).toEqual([]);
  });

  it('that is no expression ends the capture', async () => {
    const failed = await new Promise<Error>((resolve) => {
      openCapture(plan({ filter: 'tcp prot' }), 'lan/v01', resolve);
    });
    expect(failed).toMatchObject({ code: 'spec-value', message: expect.stringContaining('syntax error') });
  });
});
