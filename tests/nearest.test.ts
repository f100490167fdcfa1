import { describe, expect, it } from 'vitest';
import { nearest } from '../src/nearest.ts';

describe('the nearest word', () => {
  it('is found when one is near', () => {
    expect(nearest('memroy', ['memory', 'cpus'])).toBe('memory');
    expect(nearest('zzz', ['memory', 'cpus'])).toBeUndefined();
  });
});
