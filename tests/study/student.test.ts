import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { normalReach, studentReach } from '../../src/study/student.ts';

describe("the reach of Student's t", () => {
  // Two-sided values of the usual printed tables.
  it.each([
    [1, 0.95, 12.706],
    [2, 0.95, 4.303],
    [3, 0.95, 3.182],
    [4, 0.95, 2.776],
    [9, 0.95, 2.262],
    [30, 0.95, 2.042],
    [120, 0.95, 1.98],
    [1, 0.99, 63.657],
    [4, 0.99, 4.604],
    [5, 0.9, 2.015],
  ])('with %d degrees of freedom and %d is %d', (degrees, confidence, reach) => {
    expect(studentReach(degrees, confidence)).toBeCloseTo(reach, 3);
  });
  it('leaves off a fraction of a degree, which errs on the wide side', () => {
    expect(studentReach(4.9, 0.95)).toBe(studentReach(4, 0.95));
  });
  it('comes down to that of the normal distribution', () => {
    expect(normalReach(0.95)).toBeCloseTo(1.959964, 6);
    expect(normalReach(0.99)).toBeCloseTo(2.575829, 6);
    expect(studentReach(1e9, 0.95)).toBeGreaterThan(normalReach(0.95));
    expect(studentReach(1e9, 0.95)).toBeCloseTo(normalReach(0.95), 3);
  });
  it.each([0, 1, -0.5, 95, Number.NaN])('refuses %d as confidence', (confidence) => {
    expect(() => studentReach(4, confidence)).toThrow(LodgeError);
    expect(() => normalReach(confidence)).toThrow(LodgeError);
  });
  it('refuses less than one degree of freedom', () => {
    expect(() => studentReach(0, 0.95)).toThrow(LodgeError);
  });
});
