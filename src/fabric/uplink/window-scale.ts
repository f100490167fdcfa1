/** In which units a TCP connection tells its windows. Pure. */

/** The largest that is allowed (RFC 7323). */
const mostShift = 14;
const option = { end: 0, none: 1, scale: 3 } as const;

/**
 * The window scale option of a SYN: windows count units of 2 to the power of this many bytes, where the other side
 * sends the option too, as passt always does. Format: RFC 9293, 7323.
 * @param at where the TCP header begins in `bytes`, which has all of it
 * @returns 0 without the option, or where it cannot be read
 */
export function windowShiftOf(bytes: Uint8Array, at: number): number {
  const end = at + (bytes[at + 12]! >>> 4) * 4;
  for (let next = at + 20; next + 1 < end; ) {
    const kind = bytes[next]!;
    if (kind === option.none) {
      next++;
      continue;
    }
    const length = bytes[next + 1]!;
    if (kind === option.end || length < 2) return 0;
    if (kind === option.scale) {
      return length === 3 && next + 2 < end ? Math.min(mostShift, bytes[next + 2]!) : 0;
    }
    next += length;
  }
  return 0;
}
