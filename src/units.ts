/** Sizes and times as people write them (`512M`, `10ms`); inside lodge they are numbers with the unit in their name. */

import { LodgeError } from './errors.ts';

const sizeUnits: Record<string, number> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const timeUnits: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * Reads a size in bytes: a number with K, M, G or T (powers of 1024; `KiB`, `MiB`, … mean the same).
 * A bare number is refused unless it is followed by `B`, so that `4` is never taken for 4 bytes.
 */
export function parseSizeBytes(text: string, where?: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT])(?:i?B)?$/i.exec(text) ?? /^(\d+)\s*()B$/.exec(text);
  const unit = match?.[2]?.toUpperCase();
  const factor = unit === undefined ? undefined : sizeUnits[unit];
  if (match === null || factor === undefined) {
    throw new LodgeError('spec-value', `'${text}' is not a size`, {
      ...(where === undefined ? {} : { where }),
      fix: 'write a number with its unit: 512M, 4G',
    });
  }
  const bytes = Number(match[1]) * factor;
  if (!Number.isSafeInteger(bytes)) {
    throw new LodgeError('spec-value', `'${text}' is not a whole number of bytes that lodge can count`, {
      ...(where === undefined ? {} : { where }),
      fix: 'write a whole number of a smaller unit: 1536M for 1.5G',
    });
  }
  return bytes;
}

/** Timers of Node.js go to 2^31 ms; this leaves room for what is added to a limit. */
const longestTimeMs = 500 * 3_600_000;

/** Reads a time in milliseconds: a number with `ms`, `s`, `m` or `h`. */
export function parseTimeMs(text: string, where?: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/.exec(text);
  const factor = timeUnits[match?.[2] ?? ''];
  if (match === null || factor === undefined) {
    throw new LodgeError('spec-value', `'${text}' is not a time`, {
      ...(where === undefined ? {} : { where }),
      fix: 'write a number with its unit: 500ms, 30s, 2m',
    });
  }
  const ms = Math.round(Number(match[1]) * factor);
  if (ms > longestTimeMs) {
    throw new LodgeError('spec-value', `'${text}' is longer than lodge can wait`, {
      ...(where === undefined ? {} : { where }),
      fix: `at most ${longestTimeMs / timeUnits.h!}h`,
    });
  }
  return ms;
}

/** A size for people: the largest unit that keeps it exact or to one decimal, as in `2M` or `1.5G`. */
export function formatSize(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const factor = sizeUnits[unit] ?? 1;
    if (bytes >= factor) {
      const value = bytes / factor;
      return `${Number.isInteger(value) ? value : value.toFixed(1)}${unit}`;
    }
  }
  return `${bytes}B`;
}

/** A time for people: `850ms`, `12.3s`, `4m`. */
export function formatTime(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(1))}s`;
  return ms % 60_000 === 0
    ? `${ms / 60_000}m`
    : `${Math.floor(ms / 60_000)}m${Math.round((ms % 60_000) / 1000)}s`;
}

/**
 * Reads a CPU list in the kernel's form (`0-3,8,10-11`); gives the CPUs in ascending order, each once.
 * Format: Documentation/admin-guide/cputopology.rst of Linux.
 */
export function parseCpuList(text: string, where?: string): number[] {
  const cpus = new Set<number>();
  for (const part of text.trim().split(',')) {
    if (part === '') continue;
    const match = /^(\d+)(?:-(\d+))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first || last > 65_535) {
      throw new LodgeError('spec-value', `'${text}' is not a list of CPUs`, {
        ...(where === undefined ? {} : { where }),
        fix: 'write CPUs and ranges: 0-3,8',
      });
    }
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

/** Writes CPUs in the kernel's list form; the inverse of {@link parseCpuList}. */
export function formatCpuList(cpus: readonly number[]): string {
  const sorted = [...cpus].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let j = i;
    while (sorted[j + 1] === sorted[j]! + 1) j++;
    parts.push(i === j ? `${sorted[i]}` : `${sorted[i]}-${sorted[j]}`);
    i = j + 1;
  }
  return parts.join(',');
}
