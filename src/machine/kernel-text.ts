/** Reading the texts of /proc and /sys: from text to value, with no file opened. */

/**
 * A file of `Name: value` lines, as /proc/self/status, /proc/meminfo and the first processor of /proc/cpuinfo are.
 * Formats: proc(5). Where a name comes twice, the first counts.
 */
export function parseFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const name = line.slice(0, colon).trim();
    if (!fields.has(name)) fields.set(name, line.slice(colon + 1).trim());
  }
  return fields;
}

/** A field of /proc/meminfo (`24684084 kB`) in bytes. */
export function meminfoBytes(fields: Map<string, string>, name: string): number | undefined {
  const match = /^(\d+) kB$/.exec(fields.get(name) ?? '');
  return match === null ? undefined : Number(match[1]) * 1024;
}

/** The chosen word of a sysfs choice: `madvise` of `always [madvise] never`. */
export function chosenWord(text: string | undefined): string | undefined {
  return /\[([^\]]+)\]/.exec(text ?? '')?.[1];
}

/** A soft and a hard limit of /proc/self/limits by its name there; undefined stands for `unlimited`. */
export function parseResourceLimit(
  text: string,
  name: string,
): { soft: number | undefined; hard: number | undefined } {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `)) ?? '';
  const [soft, hard] = line.slice(name.length).trim().split(/\s+/);
  const value = (word: string | undefined): number | undefined =>
    word === undefined || !/^\d+$/.test(word) ? undefined : Number(word);
  return { soft: value(soft), hard: value(hard) };
}

/** A whole number alone in a file; undefined when it is anything else. */
export function parseCount(text: string | undefined): number | undefined {
  const trimmed = text?.trim() ?? '';
  return /^\d+$/.test(trimmed) ? Number(trimmed) : undefined;
}

/** A switch of the kernel: `1`, `Y` or `on` against `0`, `N` or `off`. */
export function parseSwitch(text: string | undefined): boolean | undefined {
  const trimmed = text?.trim().toLowerCase();
  if (trimmed === '1' || trimmed === 'y' || trimmed === 'on') return true;
  if (trimmed === '0' || trimmed === 'n' || trimmed === 'off') return false;
  return undefined;
}

export interface Mount {
  /** The directory of the file system that is mounted; `/` for all of it. */
  root: string;
  path: string;
  type: string;
  /** Options of the mount and of the file system. */
  options: string[];
}

/** The mounts in /proc/self/mountinfo, in its order. Format: proc_pid_mountinfo(5). */
export function parseMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    const words = line.split(' ');
    const separator = words.indexOf('-');
    const [root, path, options] = words.slice(3, 6);
    const type = words[separator + 1];
    if (separator < 6 || root === undefined || path === undefined || type === undefined) continue;
    const superOptions = words[separator + 3] ?? '';
    mounts.push({
      root: unescapeOctal(root),
      path: unescapeOctal(path),
      type,
      options: [...(options ?? '').split(','), ...superOptions.split(',')],
    });
  }
  return mounts;
}

/** The kernel writes blanks and backslashes in paths as `\040`. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/** Capabilities lodge asks for, by their bit. Source: linux/capability.h. */
const capabilityBits: Readonly<Record<string, number>> = {
  CHOWN: 0,
  NET_ADMIN: 12,
  IPC_LOCK: 14,
  SYS_ADMIN: 21,
  SYS_NICE: 23,
  SYS_RESOURCE: 24,
};

/** The capabilities of {@link capabilityBits} in a mask of /proc/self/status (`000001fffeffffff`). */
export function parseCapabilities(mask: string | undefined): string[] {
  if (mask === undefined || !/^[0-9a-f]+$/i.test(mask)) return [];
  const bits = BigInt(`0x${mask}`);
  return Object.entries(capabilityBits)
    .filter(([, bit]) => (bits >> BigInt(bit)) & 1n)
    .map(([name]) => name);
}
