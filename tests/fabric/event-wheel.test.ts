import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventWheel } from '../../src/fabric/event-wheel.ts';

const tickNs = 2 ** 15;

/** Fires what is due; gives the slots in order. */
function advance(wheel: EventWheel, nowNs: number, budget?: number): number[] {
  const fired: number[] = [];
  wheel.advance(nowNs, (_direction, slot) => fired.push(slot), budget);
  return fired;
}

describe('the event wheel', () => {
  it('fires each event once its tick is over, never early, in order', () => {
    const deadlines = fc.array(fc.integer({ min: 0, max: 3e9 }), { maxLength: 200 });
    const steps = fc.array(fc.integer({ min: 1, max: 7e8 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(deadlines, steps, (all, gaps) => {
        const wheel = new EventWheel();
        for (const [slot, deadline] of all.entries()) wheel.insert(deadline, 0, slot, -1);
        const expected = all
          .map((deadline, slot) => ({ slot, tick: Math.floor(deadline / tickNs) }))
          .sort((a, b) => a.tick - b.tick);
        expect(wheel.events().map(({ slot }) => slot)).toEqual(expected.map(({ slot }) => slot));
        let now = 0;
        for (const gap of [...gaps, 4e9]) {
          now += gap;
          const due = expected.filter(({ tick }) => (tick + 1) * tickNs <= now);
          expected.splice(0, due.length);
          expect(advance(wheel, now)).toEqual(due.map(({ slot }) => slot));
          expect(wheel.count).toBe(expected.length);
        }
      }),
    );
  });

  it('says when it is to be called next: not after the first event, and in the end just when it is due', () => {
    const wheel = new EventWheel();
    expect(wheel.nextNs()).toBe(Number.POSITIVE_INFINITY);
    const deadline = 3_000_000_000;
    wheel.insert(deadline, 0, 7, -1);
    let calls = 0;
    let fired: number[] = [];
    let now = 0;
    while (fired.length === 0) {
      const next = wheel.nextNs();
      expect(next).toBeGreaterThan(now);
      now = next;
      fired = advance(wheel, now);
      calls++;
    }
    expect(now).toBe((Math.floor(deadline / tickNs) + 1) * tickNs);
    expect(calls).toBeLessThan(10);
  });

  it('fires what is put in while it fires, when it is due, and keeps the order', () => {
    const wheel = new EventWheel();
    const fired: number[] = [];
    wheel.insert(10, 0, 1, -1);
    wheel.insert(20, 0, 2, -1);
    wheel.advance(10 * tickNs, (_direction, slot, _root, deadline) => {
      fired.push(slot);
      if (slot < 100) wheel.insert(deadline + slot * tickNs, 0, slot + 100, -1);
    });
    expect(fired).toEqual([1, 2, 101, 102]);
  });

  it('takes what is overdue in the order in which it came', () => {
    const wheel = new EventWheel();
    advance(wheel, 100 * tickNs);
    wheel.insert(50 * tickNs, 0, 1, -1);
    wheel.insert(3, 0, 2, -1);
    expect(wheel.nextNs()).toBe(101 * tickNs);
    expect(advance(wheel, 101 * tickNs)).toEqual([1, 2]);
  });

  it('stops between ticks when its budget is used, and goes on', () => {
    const wheel = new EventWheel();
    for (let slot = 0; slot < 30; slot++) wheel.insert(Math.floor(slot / 10) * tickNs, 0, slot, -1);
    expect(advance(wheel, 10 * tickNs, 5)).toHaveLength(10);
    expect(wheel.advance(10 * tickNs, () => {}, 15)).toBe(true);
    expect(wheel.count).toBe(0);
  });

  it('is full at its limit', () => {
    const wheel = new EventWheel(1500);
    for (let i = 0; i < 1500; i++) expect(wheel.insert(i, 0, i, -1)).toBe(true);
    expect(wheel.insert(1, 0, 1, -1)).toBe(false);
    expect(advance(wheel, tickNs)).toHaveLength(1500);
    expect(wheel.insert(1, 0, 1, -1)).toBe(true);
  });

  it('gives up the events of one direction, and keeps the others in order', () => {
    const wheel = new EventWheel();
    for (let slot = 0; slot < 20; slot++) wheel.insert((20 - slot) * tickNs, slot % 2, slot, slot * 3);
    const taken = wheel.take(1);
    expect(taken.map(({ slot }) => slot)).toEqual([19, 17, 15, 13, 11, 9, 7, 5, 3, 1]);
    expect(taken[0]).toEqual({ direction: 1, slot: 19, root: 57, deadlineNs: tickNs });
    expect(wheel.take(5)).toEqual([]);
    expect(advance(wheel, 100 * tickNs)).toEqual([18, 16, 14, 12, 10, 8, 6, 4, 2, 0]);
  });
});
