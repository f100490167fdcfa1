import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TrafficMatrix } from '../../src/fabric/traffic-matrix.ts';

const second = 1e9;

function read(matrix: TrafficMatrix, timeNs: number, window?: string) {
  return [...matrix.read(timeNs, window)].map(({ source, destination, frames, bytes }) => [
    source,
    destination,
    frames,
    bytes,
  ]);
}

describe('the traffic matrix', () => {
  it('adds up what each pair sent', () => {
    const sends = fc.array(fc.tuple(fc.nat(30), fc.integer({ min: -1, max: 30 }), fc.nat(1500)), {
      maxLength: 500,
    });
    fc.assert(
      fc.property(sends, (all) => {
        const matrix = new TrafficMatrix();
        const model = new Map<string, number[]>();
        for (const [time, [source, destination, bytes]] of all.entries()) {
          matrix.add(matrix.row(source, destination), 1, bytes, time);
          const cell = model.get(`${source} ${destination}`) ?? [source, destination, 0, 0];
          model.set(`${source} ${destination}`, [source, destination, cell[2]! + 1, cell[3]! + bytes]);
        }
        expect(read(matrix, all.length)).toEqual([...model.values()]);
      }),
    );
  });

  it('holds a thousand endpoints that each speak with each', () => {
    const matrix = new TrafficMatrix();
    for (let source = 0; source < 1000; source++) {
      for (let destination = 0; destination < 1000; destination++) {
        if (source !== destination) matrix.add(matrix.row(source, destination), 1, source + 1, 0);
      }
    }
    expect(matrix.rows).toBe(999_000);
    const row = matrix.row(999, 3);
    expect(matrix.rows).toBe(999_000);
    expect(row).toBe(999 * 999 + 3);
  });

  it('shows a steady rate, and half of it a half-life after the end', () => {
    const matrix = new TrafficMatrix(2000);
    const row = matrix.row(0, 1);
    // 100 kB/s in pieces of 1 ms, for 60 s.
    for (let at = 0; at < 60_000; at++) matrix.add(row, 1, 100, at * 1e6);
    const rate = (timeNs: number) => [...matrix.read(timeNs)][0]!.bytesPerSecond;
    expect(rate(60 * second)).toBeCloseTo(100_000, -2);
    expect(rate(62 * second)).toBeCloseTo(50_000, -2);
    expect(rate(66 * second)).toBeCloseTo(12_500, -2);
  });

  it('survives times between frames that no number could scale over', () => {
    const matrix = new TrafficMatrix(10);
    const row = matrix.row(0, 1);
    for (const at of [0, 3, 1000, 10_000, 1_000_000]) {
      matrix.add(row, 1, 1000, at * second);
      const [cell] = [...matrix.read(at * second)];
      expect(cell!.bytesPerSecond).toBeCloseTo((1000 * Math.LN2) / 0.01, 3);
    }
    expect(read(matrix, 1e7 * second)).toEqual([[0, 1, 5, 5000]]);
  });

  it('counts in windows of their own, and leaves out what was silent', () => {
    const matrix = new TrafficMatrix(1);
    matrix.add(matrix.row(0, 1), 5, 500, 0);
    expect(matrix.reset('a', second)).toBe(true);
    matrix.add(matrix.row(0, 1), 1, 60, 2 * second);
    matrix.add(matrix.row(0, 2), 1, 70, 2 * second);
    expect(matrix.reset('b', 3 * second)).toBe(true);
    matrix.add(matrix.row(0, 2), 1, 80, 4 * second);
    expect(matrix.sinceNs('a')).toBe(second);
    expect(read(matrix, 100 * second, 'a')).toEqual([
      [0, 1, 1, 60],
      [0, 2, 2, 150],
    ]);
    expect(read(matrix, 100 * second, 'b')).toEqual([[0, 2, 1, 80]]);
    expect(read(matrix, 100 * second)).toEqual([
      [0, 1, 6, 560],
      [0, 2, 2, 150],
    ]);
    for (const name of ['c', 'd', 'e', 'f', 'g', 'h']) expect(matrix.reset(name, 0)).toBe(true);
    expect(matrix.reset('i', 0)).toBe(false);
    expect(matrix.reset('a', 5)).toBe(true);
  });

  it('goes on from what it was restored to', () => {
    const matrix = new TrafficMatrix();
    matrix.add(matrix.row(3, 4), 2, 5000, second);
    const again = new TrafficMatrix();
    again.restore(matrix.read(2 * second), 50 * second);
    matrix.add(matrix.row(3, 4), 1, 10, 3 * second);
    again.add(again.row(3, 4), 1, 10, 51 * second);
    const [a, b] = [[...matrix.read(4 * second)][0]!, [...again.read(52 * second)][0]!];
    expect({ ...b, bytesPerSecond: 0 }).toEqual({ ...a, bytesPerSecond: 0 });
    expect(b.bytesPerSecond).toBeCloseTo(a.bytesPerSecond, 6);
  });
});
