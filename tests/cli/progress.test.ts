import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { plainProgress } from '../../src/cli/progress.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('progress in a log', () => {
  it('is told at once, then no more often than asked, and only the newest', () => {
    const lines: string[] = [];
    const progress = plainProgress((text) => lines.push(text), 1000);
    for (const text of ['a', 'b', 'c']) progress.show(text);
    expect(lines).toEqual(['a']);
    vi.advanceTimersByTime(1000);
    expect(lines).toEqual(['a', 'c']);
    progress.show('d');
    vi.advanceTimersByTime(999);
    expect(lines).toEqual(['a', 'c']);
    vi.advanceTimersByTime(1);
    expect(lines).toEqual(['a', 'c', 'd']);
  });

  it('repeats itself while nothing changes, but seldom, and not when there is nothing to tell', () => {
    const lines: string[] = [];
    const progress = plainProgress((text) => lines.push(text), 1000);
    progress.show('a long run');
    vi.advanceTimersByTime(9999);
    expect(lines).toEqual(['a long run']);
    vi.advanceTimersByTime(10_001);
    expect(lines).toEqual(['a long run', 'a long run', 'a long run']);
    progress.clear();
    vi.advanceTimersByTime(100_000);
    expect(lines).toHaveLength(3);
  });
});
