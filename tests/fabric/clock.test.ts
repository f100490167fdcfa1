import { describe, expect, it } from 'vitest';
import { FabricClock } from '../../src/fabric/clock.ts';

describe('the clock of a fabric', () => {
  it('stands still while it is frozen, and goes on from there', () => {
    let source = 5e12;
    const clock = new FabricClock(
      () => source,
      () => 0,
    );
    source += 1500;
    expect(clock.now()).toBe(1500);
    clock.freeze();
    source += 1e15;
    clock.freeze();
    expect([clock.now(), clock.isFrozen]).toEqual([1500, true]);
    clock.thaw();
    clock.thaw();
    source += 10;
    expect([clock.now(), clock.isFrozen]).toEqual([1510, false]);
  });

  it('knows the time of day to the nanosecond, after a freeze as well', () => {
    let source = 7;
    let wallMs = 1_700_000_000_999;
    const clock = new FabricClock(
      () => source,
      () => wallMs,
    );
    const at = (timeNs: number) => [clock.seconds(timeNs), clock.nanoseconds(timeNs)];
    expect(at(0)).toEqual([1_700_000_000, 999_000_000]);
    expect(at(1_000_001)).toEqual([1_700_000_001, 1]);
    source += 2_000_000_000;
    clock.freeze();
    source += 60e9;
    wallMs += 62_000;
    clock.thaw();
    expect(at(2_000_000_000)).toEqual([1_700_000_062, 999_000_000]);
    expect(at(2_001_000_005)).toEqual([1_700_000_063, 5]);
  });
});
