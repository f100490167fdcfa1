import { describe, expect, it } from 'vitest';
import { stream } from '../../../src/study/benchmarks/stream.ts';
import { recorded, replaced, runInput } from './run-input.ts';

const one = recorded('stream-1.txt');

describe('what stream prints', () => {
  it('is read for one thread and for two', () => {
    expect(stream.parse(one, runInput())).toEqual({
      'stream-copy-mbps': 29664.76,
      'stream-scale-mbps': 27715.37,
      'stream-add-mbps': 25906.05,
      'stream-triad-mbps': 25345.6,
    });
    const measured = stream.parse(recorded('stream-2.txt'), runInput({ cores: 2, cpus: [0, 1] }));
    expect(measured).toMatchObject({ 'stream-triad-mbps': 41114.09 });
  });

  it.each<[string, string | RegExp, string, RegExp]>([
    ['a failed validation', '"valid":true', '"valid":false', /do not hold what they must/],
    ['an error that is no number', /"maxRelativeError":[^,]*/, '"maxRelativeError":null', /do not hold/],
    ['a bare NaN', /"maxRelativeError":[^,]*/, '"maxRelativeError":nan', /JSON/],
    ['other threads', '"threads":1', '"threads":2', /2 threads, not 1/],
    ['other elements', '"elements":2000000', '"elements":1000000', /1000000 elements, not 2000000/],
    ['too few rounds', '"iterations":10', '"iterations":9', /iterations/],
    ['a rate of nothing', '"bestMBps":29664.76', '"bestMBps":0', /copy\.bestMBps/],
    ['too coarse a clock', /"timerTickUs":[^,]*/, '"timerTickUs":4000', /steps of the clock/],
    ['a missing kernel', '"triad"', '"quartet"', /understand/],
    ['words before', /^/, 'OMP: warning\n', /JSON/],
    ['its end cut off', '"valid":true}', '"valid":t', /JSON/],
  ])('is refused with %s', (_, pattern, by, message) => {
    expect(() => stream.parse(replaced(one, pattern, by), runInput())).toThrow(
      expect.objectContaining({ code: 'benchmark-output', message: expect.stringMatching(message) }),
    );
  });

  it('must have taken twenty steps of the clock in each kernel', () => {
    // The shortest time in the recorded run is that of copy.
    const copyUs = 1078.721;
    const withTick = (timerTickUs: number): string =>
      replaced(one, /"timerTickUs":[^,]*/, `"timerTickUs":${timerTickUs}`);
    expect(() => stream.parse(withTick(copyUs / 19.9), runInput())).toThrow(/copy took 19.9 steps/);
    expect(stream.parse(withTick(copyUs / 20.1), runInput())).toHaveProperty('stream-copy-mbps');
  });

  it('is refused when there is none', () => {
    expect(() => stream.parse('', runInput())).toThrow(expect.objectContaining({ code: 'benchmark-output' }));
  });
});

describe('how stream is run', () => {
  it('has one place for each thread', () => {
    const { argv, env } = stream.command(runInput({ cores: 2, pages: { own: '1G' } }));
    expect(argv).toEqual(['/opt/lodge/programs/stream', '2000000']);
    expect(env).toMatchObject({ OMP_NUM_THREADS: '2', OMP_PLACES: '{4},{6}', OMP_PROC_BIND: 'true' });
    expect(env.GLIBC_TUNABLES).toContain('glibc.malloc.hugetlb=1073741824');
  });

  it('binds nothing when its place is free', () => {
    const { env } = stream.command(runInput({ placement: 'free' }));
    expect(env).toMatchObject({ OMP_NUM_THREADS: '1', OMP_PROC_BIND: 'false' });
    expect(env).not.toHaveProperty('OMP_PLACES');
  });
});
