import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openProgress, plainProgress } from '../../src/cli/progress.ts';

const wasTerminal = process.stderr.isTTY;

beforeEach(() => {
  vi.stubEnv('TERM', 'xterm');
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  process.stderr.isTTY = wasTerminal;
});

function shown(isTerminal: boolean, options: { quiet?: boolean; verbose?: boolean }): string {
  let text = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((piece) => {
    text += piece;
    return true;
  });
  process.stderr.isTTY = isTerminal;
  const progress = openProgress({ quiet: false, verbose: false, ...options });
  progress.show('short');
  progress.show('long', true);
  progress.clear();
  return text;
}

it('shows where there is no terminal what takes long, a plain line each, and nothing when quiet', () => {
  expect(shown(false, {})).toBe('lodge: long\n');
  expect(shown(false, { quiet: true })).toBe('');
  expect(shown(true, { quiet: true })).toBe('');
});

it('shows on a terminal one line that goes away again', () => {
  expect(shown(true, {})).toBe('\r\u001b[Klodge: short…\r\u001b[Klodge: long…\r\u001b[K');
});

it.each(['dumb', ''])("is plain on a terminal that knows nothing ('%s')", (term) => {
  vi.stubEnv('TERM', term);
  expect(shown(true, {})).toBe('lodge: long\n');
});

describe('progress in a log', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

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
