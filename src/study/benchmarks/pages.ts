/** Puts a benchmark's own memory on pages of the size that a cell asks for. Pure. */

import { join } from 'node:path';
import type { PageSize } from '../cells.ts';
import type { BenchmarkCommand, RunInput } from './benchmark.ts';

export interface PageEnvironment {
  /** For the benchmark's processes, not for what launches them: each process under it takes huge pages of its own. */
  env: Record<string, string>;
  /** Whether the kernel must be kept from using transparent huge pages unasked. */
  disablesTransparentPages: boolean;
}

/**
 * How memory that a program allocates comes to lie in pages of one size.
 *
 * Pools: the C library maps all of malloc's memory with MAP_HUGETLB and the size given (glibc >= 2.35, "Memory
 * Allocation Tunables"), and pages of the usual size stand in when the pool is used up. The paper's way, libhugetlbfs
 * in place of malloc's `morecore`, ended with glibc 2.34. One arena, because each takes huge pages for itself.
 * Transparent pages: large blocks are advised by a library of ours (study-side/advise.c says why not by glibc).
 * @param programsDir where lodge's own programs are
 */
export function pageEnvironment(pages: PageSize, programsDir: string): PageEnvironment {
  switch (pages) {
    case '4K':
      return { env: {}, disablesTransparentPages: true };
    case 'thp':
      return { env: { LD_PRELOAD: join(programsDir, 'advise.so') }, disablesTransparentPages: false };
    case '2M':
      return { env: poolOf(2 ** 21), disablesTransparentPages: false };
    case '1G':
      return { env: poolOf(2 ** 30), disablesTransparentPages: false };
  }
}

function poolOf(pageBytes: number): Record<string, string> {
  const tunables = {
    hugetlb: pageBytes,
    arena_max: 1,
    // A block from this size on begins on a page of its own. Smaller ones share, or a few would use up 1G pages.
    mmap_threshold: Math.max(pageBytes, 2 ** 25),
  };
  const settings = Object.entries(tunables).map(([name, value]) => `glibc.malloc.${name}=${value}`);
  return { GLIBC_TUNABLES: settings.join(':') };
}

/** The words before a command that set `env` for it alone. */
export function withEnv(env: Record<string, string>): string[] {
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return settings.length === 0 ? [] : ['env', ...settings];
}

/** The command under the yardstick's switch against transparent huge pages, where its pages ask for that. */
export function keptOffTransparentPages(command: BenchmarkCommand, input: RunInput): BenchmarkCommand {
  if (!pageEnvironment(input.pages.own, input.programsDir).disablesTransparentPages) return command;
  return { ...command, argv: [join(input.programsDir, 'yardstick'), '-x', '-t', '--', ...command.argv] };
}
