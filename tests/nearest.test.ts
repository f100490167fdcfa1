import { describe, expect, it } from 'vitest';
import { nearest, suggestGuest } from '../src/nearest.ts';

describe('the nearest word', () => {
  it('is found when one is near', () => {
    expect(nearest('memroy', ['memory', 'cpus'])).toBe('memory');
    expect(nearest('zzz', ['memory', 'cpus'])).toBeUndefined();
  });
});

it('guests are suggested by the nearest name, or all in a line that is bounded', () => {
  const names = Array.from({ length: 1000 }, (_, i) => `lab.v${i + 1}`);
  expect(suggestGuest('lab.w1', names)).toBe("did you mean 'lab.v1'?");
  expect(suggestGuest('nosuchguest', names)).toBe('guests: lab.v[1-1000]');
  const unlike = Array.from({ length: 1000 }, (_, i) => `g-${'abcdefghij'[i % 10]}${i}x`);
  expect(suggestGuest('nosuchguest', unlike).length).toBeLessThan(220);
});
