/** Sizes and times as people write them (`512M`, `10ms`); inside lodge they are numbers with the unit in their name. */

import { LodgeError } from './errors.ts';

/** As sizes and the like are written; the schemas for editors have them, too, and know no flags. */
export const patterns = {
  size: /^(\d+(?:\.\d+)?)\s*([KMGTkmgt])(?:[Ii]?[Bb])?$|^(\d+)\s*B$/,
  time: /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/,
  bandwidth: /^(\d+(?:\.\d+)?)\s*([KMGTkmgt]?)[Bb][Ii][Tt](?:\/[Ss])?$/,
  delay: /^(\d+(?:\.\d+)?)\s*(us|ms|s)$/,
  percentage: /^(\d+(?:\.\d+)?)\s*%$/,
} as const;

const sizeUnits: Record<string, number> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const timeUnits: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/**
 * Reads a size in bytes: a number with K, M, G or T (powers of 1024; `KiB`, `MiB`, … mean the same).
 * A bare number is refused unless it is followed by `B`, so that `4` is never taken for 4 bytes.
 */
export function parseSizeBytes(text: string, where?: string): number {
  const match = patterns.size.exec(text);
  if (match === null) {
    throw new LodgeError('spec-value', `'${text}' is not a size`, {
      ...(where === undefined ? {} : { where }),
      fix: 'write a number with its unit: 512M, 4G',
    });
  }
  const [, count, unit = '', wholeBytes] = match;
  const bytes = Number(count ?? wholeBytes) * sizeUnits[unit.toUpperCase()]!;
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
  const match = patterns.time.exec(text);
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

/** Decimal, as networks count; the letters are those of tc(8). */
const bandwidthUnits: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

/** At the least rate a frame of 65 kB is on its way for most of a day; the most is beyond any link. */
export const bandwidthBounds = { least: 8, most: 1e15 } as const;

/** Reads a bandwidth in bits per second: a number with `bit`, `kbit`, `Mbit`, `Gbit` or `Tbit`, powers of 1000. */
export function parseBandwidthBitsPerSecond(text: string, where?: string): number {
  const match = patterns.bandwidth.exec(text);
  const at = where === undefined ? {} : { where };
  if (match === null) {
    throw new LodgeError('spec-value', `'${text}' is not a bandwidth`, {
      ...at,
      fix: 'write a number of bits per second with its unit: 100Mbit, 10Gbit',
    });
  }
  const bits = Math.round(Number(match[1]) * bandwidthUnits[match[2]!.toLowerCase()]!);
  const { least, most } = bandwidthBounds;
  if (bits < least || bits > most) {
    throw new LodgeError('spec-value', `'${text}' is too ${bits < least ? 'slow' : 'fast'} for a link`, {
      ...at,
      fix: `from ${formatBandwidth(least)} to ${formatBandwidth(most)}`,
    });
  }
  return bits;
}

const delayUnits: Record<string, number> = { us: 1e-3, ms: 1, s: 1000 };

/** Frames that wait are kept in memory: no network delays them for longer. */
const longestDelayMs = 60_000;

/** Reads a delay in milliseconds, with a fraction for microseconds: a number with `us`, `ms` or `s`, up to 60s. */
export function parseDelayMs(text: string, where?: string): number {
  const match = patterns.delay.exec(text);
  // Whole nanoseconds: 0.1us times 1e-3 is not what it seems.
  const ms = match === null ? 0 : Math.round(Number(match[1]) * delayUnits[match[2]!]! * 1e6) / 1e6;
  if (match === null || ms > longestDelayMs) {
    throw new LodgeError(
      'spec-value',
      match === null ? `'${text}' is not a delay` : `'${text}' is longer than a frame can wait`,
      {
        ...(where === undefined ? {} : { where }),
        fix: match === null ? 'write a number with its unit: 50us, 10ms, 1s' : 'at most 60s',
      },
    );
  }
  return ms;
}

/** Reads a probability from 0 to 1, written as a percentage: `0.1%`. A bare number is refused. */
export function parsePercentage(text: string, where?: string): number {
  const match = patterns.percentage.exec(text);
  const share = match === null ? 2 : Number(match[1]) / 100;
  if (share > 1) {
    throw new LodgeError('spec-value', `'${text}' is not a percentage from 0% to 100%`, {
      ...(where === undefined ? {} : { where }),
      fix: 'write a number with its sign: 0.1%, 5%',
    });
  }
  return share;
}

/** A bandwidth for people, exact: `10Gbit`, `1.5Mbit`. */
export function formatBandwidth(bitsPerSecond: number): string {
  for (const unit of ['T', 'G', 'M', 'k']) {
    const value = bitsPerSecond / bandwidthUnits[unit.toLowerCase()]!;
    if (value >= 1) return `${Number(value.toPrecision(12))}${unit}bit`;
  }
  return `${bitsPerSecond}bit`;
}

/** A delay for people: `50us`, `10ms`, `1.5s`. */
export function formatDelay(ms: number): string {
  const short = (value: number): number => Number(value.toPrecision(12));
  if (ms > 0 && ms < 1) return `${short(ms * 1000)}us`;
  return ms < 1000 ? `${short(ms)}ms` : `${short(ms / 1000)}s`;
}

/** A probability for people: `0.1%`. */
export function formatPercentage(share: number): string {
  return `${Number((share * 100).toPrecision(9))}%`;
}

/** `1 core`, `2 cores`. */
export function formatCount(count: number, one: string, plural = `${one}s`): string {
  return `${count} ${count === 1 ? one : plural}`;
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

/** A time for people, by its two largest units: `850ms`, `12.3s`, `4m`, `1m30s`, `2h5m`, `3d1h`. */
export function formatTime(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 59_950) return `${Number((ms / 1000).toFixed(1))}s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return twoUnits(seconds, 60, 'm', 's');
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return twoUnits(minutes, 60, 'h', 'm');
  return twoUnits(Math.round(minutes / 60), 24, 'd', 'h');
}

function twoUnits(count: number, factor: number, large: string, small: string): string {
  const rest = count % factor;
  return `${Math.floor(count / factor)}${large}${rest === 0 ? '' : `${rest}${small}`}`;
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
