/** Where on the host a confined program may write (host-side/write-limits.c). Pure. */

/**
 * The paths that no other of them holds, each once, sorted.
 * @returns undefined when all of the host is among them, so that there is nothing to confine
 */
export function outermost(paths: readonly string[]): string[] | undefined {
  const sorted = [...new Set(paths)].sort();
  if (sorted.includes('/')) return undefined;
  return sorted.filter((path) => !sorted.some((other) => path.startsWith(`${other}/`)));
}
