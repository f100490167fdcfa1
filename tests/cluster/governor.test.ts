import { describe, expect, it } from 'vitest';
import {
  bootCost,
  bootRoom,
  type GovernedTask,
  parsePressure,
  runGoverned,
} from '../../src/cluster/governor.ts';

/** Tasks that end when they are told to, and the most that ran at once. */
function tasks(costs: readonly number[]) {
  const begun: number[] = [];
  const ends: (() => void)[] = [];
  const made = costs.map(
    (cost, i): GovernedTask => ({
      cost,
      run: () => {
        begun.push(i);
        return new Promise((resolve) => {
          ends[i] = resolve;
        });
      },
    }),
  );
  return { made, begun, end: (i: number) => ends[i]!() };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

describe('the boot governor', () => {
  it('has as many boots at once as there are CPUs, and many namespaces', () => {
    expect([bootCost('tcg'), bootCost('uml'), bootCost('kvm'), bootCost('netns')]).toEqual([1, 1, 1, 1 / 16]);
    expect(bootRoom(8, {})).toBe(8);
    expect(bootRoom(8, { cpuSome: 60 })).toBe(8);
  });
  it('holds back while the machine is choking, and never for good', () => {
    expect(bootRoom(8, { cpuSome: 99.5 })).toBe(4);
    expect(bootRoom(1, { cpuSome: 99.5 })).toBe(1);
    expect(bootRoom(8, { memoryFull: 20 })).toBeLessThan(1);
  });
  it('reads the pressure as the kernel tells it', () => {
    const text =
      'some avg10=92.19 avg60=87.30 avg300=67.82 total=440396609\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=0\n';
    expect([
      parsePressure(text, 'some'),
      parsePressure(text, 'full'),
      parsePressure(undefined, 'some'),
    ]).toEqual([92.19, 0.5, undefined]);
  });
  it('begins the next when one has ended, in order', async () => {
    const { made, begun, end } = tasks([1, 1, 1, 1 / 16]);
    const all = runGoverned(made, () => 2);
    await settled();
    expect(begun).toEqual([0, 1]);
    end(1);
    await settled();
    expect(begun).toEqual([0, 1, 2]);
    end(0);
    await settled();
    expect(begun).toEqual([0, 1, 2, 3]);
    end(2);
    end(3);
    await all;
  });
  it('runs one even where there is no room for it', async () => {
    const { made, begun, end } = tasks([4, 4]);
    const all = runGoverned(made, () => 0.1);
    await settled();
    expect(begun).toEqual([0]);
    end(0);
    await settled();
    expect(begun).toEqual([0, 1]);
    end(1);
    await all;
  });
  it('begins no more after it was told to stop', async () => {
    const { made, begun, end } = tasks([1, 1]);
    const stop = new AbortController();
    const all = runGoverned(made, () => 1, stop.signal);
    await settled();
    stop.abort();
    end(0);
    await all;
    expect(begun).toEqual([0]);
  });
});
