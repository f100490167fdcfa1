import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterwards, type HostEvent, inOrderOfTime } from '../../src/cli/job-events.ts';

const event = (timeNs: string, host = 'a', text = ''): HostEvent => ({
  ...{ time: '', timeNs, kind: 'link-cut', subject: 'lan/v1', text, host },
});

describe('events of several hosts', () => {
  it('come in the order of their times, and of one host in that of its log', () => {
    // Apart by less than a number of JavaScript can tell.
    const one = ['1767323045000006789', '1767323045000006789', '1767323045000006792'];
    const other = ['1767323045000006788', '1767323045000006789', '1767323045000006791'];
    const events = inOrderOfTime([one.map((t) => event(t, 'a')), other.map((t) => event(t, 'b'))]);
    expect(events.map(({ timeNs, host }) => `${timeNs.slice(-2)}${host}`)).toEqual([
      ...['88b', '89a', '89a', '89b', '91b', '92a'],
    ]);
  });

  it('that were told once are not told again when the log is followed', () => {
    const log = fc.array(fc.nat(5), { maxLength: 12 }).map((times) => times.sort((a, b) => a - b));
    fc.assert(
      fc.property(log, fc.nat(12), (times, count) => {
        const whole = times.map((time, i) => event(String(time), 'a', String(i)));
        const told = whole.slice(0, count);
        const { since, isNew } = afterwards(told);
        const followed = whole.filter(({ timeNs }) => since === undefined || BigInt(timeNs) >= BigInt(since));
        expect([...told, ...followed.filter(isNew)]).toEqual(whole);
      }),
    );
  });
});
