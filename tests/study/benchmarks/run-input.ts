import { readFileSync } from 'node:fs';
import type { RunInput } from '../../../src/study/benchmarks/benchmark.ts';
import { parseCpuList } from '../../../src/units.ts';

/** A run of one core at the sizes that the fixtures were recorded with, or as `changes` say. */
export function runInput(changes: Partial<RunInput> = {}): RunInput {
  return {
    cores: 1,
    pages: { own: '4K' },
    placement: 'mirror',
    cpus: [4, 6],
    sizes: {
      rule: 'for tests',
      hpl: { 1: { n: 600, nb: 64, p: 1, q: 1 }, 2: { n: 400, nb: 64, p: 1, q: 2 } },
      streamElements: 2_000_000,
      guestMemoryBytes: {},
    },
    programsDir: '/opt/lodge/programs',
    ...changes,
  };
}

/** What a program really printed, recorded. */
export function recorded(name: string): string {
  return readFileSync(new URL(`../../fixtures/study/${name}`, import.meta.url), 'utf8');
}

/** `text` with one occurrence replaced; a pattern that is not there is a fault of the test. */
export function replaced(text: string, pattern: string | RegExp, by: string): string {
  const changed = text.replace(pattern, () => by);
  if (changed === text) throw new Error(`${pattern} is not in the text`);
  return changed;
}

/** A CPU that this process may run on. */
export function firstCpu(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)![1]!)[0]!;
}
