import { describe, expect, it } from 'vitest';
import { Congestion } from '../../../src/fabric/uplink/congestion.ts';

const segmentBytes = 1460;
const headerBytes = 54;
/** Sequence numbers begin where they soon go round. */
const firstSeq = 2 ** 32 - 100_000;

interface Path {
  bytesPerMs: number;
  queueBytes: number;
  delayMs: number;
  connections: number;
}

interface Outcome {
  /** Of the link's rate, by what the guests have got in order. */
  share: number;
  /** Bytes that were sent for each that was got. */
  sentForEach: number;
}

/** Connections of what passt is, to guests behind one link, for so long; in simulated time. */
function simulate({ bytesPerMs, queueBytes, delayMs, connections }: Path, lastMs: number): Outcome {
  const congestion = new Congestion(segmentBytes);
  const events: { ms: number; order: number; act: () => void }[] = [];
  let nowMs = 0;
  let order = 0;
  const later = (ms: number, act: () => void): void => {
    const event = { ms: nowMs + ms, order: order++, act };
    let at = events.length;
    while (at > 0 && events[at - 1]!.ms > event.ms) at--;
    events.splice(at, 0, event);
  };
  let freeMs = 0;
  let [sentBytes, gotBytes] = [0, 0];
  const flows = Array.from({ length: connections }, (_, flow) => {
    let [una, next, window, timer] = [0, 0, segmentBytes * 10, 0];
    let got = 0;
    const early = new Set<number>();
    const seqOf = (offset: number): number => (firstSeq + offset) % 2 ** 32;

    const receive = (offset: number): void => {
      if (offset >= got) early.add(offset);
      while (early.delete(got)) {
        got += segmentBytes;
        gotBytes += segmentBytes;
      }
      const ack = got;
      later(delayMs, () => {
        const told = congestion.acknowledged(flow, seqOf(ack), 4 << 20, true, nowMs);
        const times = congestion.isTwice ? 2 : 1;
        for (let i = 0; told >= 0 && i < times; i++) acknowledge(ack, told);
      });
    };
    const send = (): void => {
      for (; next + segmentBytes <= una + window; next += segmentBytes) {
        if (!congestion.sent(flow, seqOf(next), seqOf(next + segmentBytes), nowMs)) continue;
        sentBytes += segmentBytes;
        const length = segmentBytes + headerBytes;
        if (Math.max(0, freeMs - nowMs) * bytesPerMs + length > queueBytes) continue;
        freeMs = Math.max(nowMs, freeMs) + length / bytesPerMs;
        const offset = next;
        later(freeMs - nowMs + delayMs, () => receive(offset));
      }
    };
    const goBack = (): void => {
      next = una;
      send();
    };
    /** As passt of 2023 does it: what comes again is a loss, each time. */
    const acknowledge = (ack: number, told: number): void => {
      const isAgain = ack === una && told === window;
      window = told;
      if (ack > una) timer = nowMs;
      una = Math.max(una, ack);
      next = Math.max(next, una);
      if (isAgain) goBack();
      else send();
    };
    const watch = (): void => {
      if (next > una && nowMs - timer >= 2000) {
        timer = nowMs;
        goBack();
      }
      later(500, watch);
    };
    return () => {
      congestion.begin(flow);
      congestion.sent(flow, seqOf(-1), seqOf(0), nowMs);
      acknowledge(0, congestion.acknowledged(flow, seqOf(0), 4 << 20, true, nowMs));
      watch();
    };
  });
  for (const [i, begin] of flows.entries()) later(i * 7, begin);
  for (let event = events.shift(); event !== undefined && event.ms < lastMs; event = events.shift()) {
    nowMs = event.ms;
    event.act();
  }
  return {
    share: (gotBytes * (1 + headerBytes / segmentBytes)) / (bytesPerMs * lastMs),
    sentForEach: sentBytes / gotBytes,
  };
}

describe('what passt sends over a link with a short queue', () => {
  const mbit = 125;
  it.each<[string, Path]>([
    ['10 Mbit/s, 16 KiB', { bytesPerMs: 10 * mbit, queueBytes: 16 << 10, delayMs: 0.2, connections: 1 }],
    ['10 Mbit/s, 64 KiB', { bytesPerMs: 10 * mbit, queueBytes: 64 << 10, delayMs: 0.2, connections: 1 }],
    [
      '10 Mbit/s, 32 KiB, four',
      { bytesPerMs: 10 * mbit, queueBytes: 32 << 10, delayMs: 0.2, connections: 4 },
    ],
    ['100 Mbit/s, 32 KiB', { bytesPerMs: 100 * mbit, queueBytes: 32 << 10, delayMs: 0.2, connections: 1 }],
    [
      '10 Mbit/s, 32 KiB, 10 ms',
      { bytesPerMs: 10 * mbit, queueBytes: 32 << 10, delayMs: 10, connections: 1 },
    ],
  ])('%s: uses the link, and sends little again', (_, path) => {
    const { share, sentForEach } = simulate(path, 20_000);
    expect(share).toBeGreaterThan(0.9);
    expect(sentForEach).toBeLessThan(1.1);
  });
});

describe('an acknowledgement', () => {
  const begun = (): Congestion => {
    const congestion = new Congestion(1000);
    congestion.begin(5);
    congestion.sent(5, 99, 100, 0);
    expect(congestion.acknowledged(5, 100, 60_000, true, 0)).toBe(10_000);
    for (let seq = 100; seq < 10_100; seq += 1000) congestion.sent(5, seq, seq + 1000, 1);
    return congestion;
  };

  it('lets more be sent for what has arrived', () => {
    const congestion = begun();
    expect(congestion.acknowledged(5, 5100, 60_000, true, 2)).toBe(15_000);
    expect(congestion.acknowledged(5, 10_100, 3000, true, 2)).toBe(3000);
  });

  it('that comes again is passed on once, as a loss', () => {
    const congestion = begun();
    congestion.acknowledged(5, 2100, 60_000, true, 2);
    const told = [3, 4, 5, 6, 7, 400].map((ms) => congestion.acknowledged(5, 2100, 60_000, true, ms));
    expect(told).toEqual([-1, -1, 2000, -1, -1, 2000]);
  });

  it('that comes again after all has arrived is no loss', () => {
    const congestion = begun();
    congestion.acknowledged(5, 10_100, 60_000, true, 2);
    expect([3, 4, 5, 6].map((ms) => congestion.acknowledged(5, 10_100, 60_000, true, ms))).toEqual([
      -1, -1, -1, -1,
    ]);
    // A guest that asks whether anybody is there is answered.
    expect(congestion.acknowledged(5, 10_100, 60_000, true, 1000)).toBe(20_000);
  });

  it('with data, or of another window, is always passed on', () => {
    const congestion = begun();
    congestion.acknowledged(5, 2100, 60_000, true, 2);
    expect(congestion.acknowledged(5, 2100, 60_000, false, 3)).toBe(12_000);
    expect(congestion.acknowledged(5, 2100, 0, true, 3)).toBe(0);
    expect(congestion.acknowledged(5, 2100, 60_000, true, 3)).toBe(12_000);
  });
});

it('a segment that the guest has is not sent to it again, but where passt goes on asking', () => {
  const congestion = new Congestion(1000);
  congestion.begin(0);
  congestion.sent(0, 99, 100, 0);
  congestion.acknowledged(0, 100, 60_000, true, 0);
  expect(congestion.sent(0, 100, 1100, 1)).toBe(true);
  congestion.acknowledged(0, 1100, 60_000, true, 2);
  expect(congestion.sent(0, 100, 1100, 3)).toBe(false);
  expect(congestion.sent(0, 1100, 1100, 3)).toBe(true);
  expect(congestion.sent(0, 100, 1100, 400)).toBe(true);
});
