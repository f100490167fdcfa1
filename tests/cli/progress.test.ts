import { afterEach, expect, it, vi } from 'vitest';
import { openProgress } from '../../src/cli/progress.ts';

const wasTerminal = process.stderr.isTTY;

afterEach(() => {
  vi.restoreAllMocks();
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
