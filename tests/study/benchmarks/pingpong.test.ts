import { describe, expect, it } from 'vitest';
import { pingpong } from '../../../src/study/benchmarks/pingpong.ts';
import type { SweepPoint } from '../../../src/study/samples.ts';
import { recorded, replaced, runInput } from './run-input.ts';

const output = recorded('netpipe.txt');
const input = runInput({ cores: 2 });

describe('what NetPIPE writes', () => {
  it('is read as a sweep, a latency and a bandwidth', () => {
    const measured = pingpong.parse(output, input);
    const sweep = measured.pingpong as SweepPoint[];
    expect(sweep).toHaveLength(44);
    expect(sweep[0]!.messageBytes).toBe(1);
    const last = sweep.at(-1)!;
    // The last line: 4194304 bytes in 0.00195759 s.
    expect(last.messageBytes).toBe(4_194_304);
    expect(last.latencyUs).toBeCloseTo(1957.59, 1);
    expect(last.bandwidthMBps).toBeCloseTo(4_194_304 / 1957.59, 1);
    expect(measured['pingpong-latency-us']).toBe(sweep.find((point) => point.messageBytes === 8)!.latencyUs);
    expect(measured['pingpong-bandwidth-mbps']).toBe(
      sweep.map((point) => point.bandwidthMBps).reduce((a, b) => Math.max(a, b)),
    );
  });

  it.each<[string, string | RegExp, string, RegExp]>([
    ['its last line missing', /\n *4194304.*\n$/, '\n', /do not go from 1 to 4194304/],
    ['its first line missing', /^.*\n/, '', /do not go from 1/],
    ['no message of 8 bytes', /^ *8 .*\n/m, '', /no message of 8 bytes/],
    ['its end cut off', /\n$/, '', /cut off/],
    ['a rate that is no number', /^ *64 +\S+/m, '      64 nan', /not a line/],
    ['a rate of nothing', /^ *64 +\S+/m, '      64 0.000000', /0 Mbps/],
    ['time and rate at odds', /^( *64 +\S+ +).*$/m, '      64 1000.000000   0.00000018', /do not agree/],
    ['a size twice', /^( *64 .*)$/m, '      48 2719.532139   0.00000018', /do not go up/],
    ['other words', /^/, 'mpiexec: something\n', /not a line/],
  ])('is refused with %s', (_, pattern, by, message) => {
    expect(() => pingpong.parse(replaced(output, pattern, by), input)).toThrow(
      expect.objectContaining({ code: 'benchmark-output', message: expect.stringMatching(message) }),
    );
  });

  it('is refused when there is nothing', () => {
    expect(() => pingpong.parse('', input)).toThrow(expect.objectContaining({ code: 'benchmark-output' }));
    expect(() => pingpong.parse('\n', input)).toThrow(expect.objectContaining({ code: 'benchmark-output' }));
  });
});

describe('how NetPIPE is run', () => {
  it('has its two ranks on the first and the last CPU', () => {
    const { argv } = pingpong.command(
      runInput({ cores: 4, cpus: [0, 2, 32, 34], pages: { host: '2M', own: 'thp' } }),
    );
    expect(argv.slice(-3)).toEqual(['rank', '0', '34']);
    expect(argv.slice(argv.indexOf('-n'), argv.indexOf('-n') + 2)).toEqual(['-n', '2']);
    expect(argv.at(-4)).toMatch(/LD_PRELOAD=\/opt\/lodge\/programs\/advise\.so NPopenmpi .*-u 4194304 -p 0/);
  });

  it('is refused for one core', () => {
    expect(() => pingpong.command(runInput())).toThrow(
      expect.objectContaining({ code: 'spec-value', message: expect.stringContaining('two cores') }),
    );
  });
});
