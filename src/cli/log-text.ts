/** What `lodge logs` shows of a log. Pure. */

import { printable } from '../printable.ts';

export interface LogLook {
  /** As the guest wrote it; else without control characters. */
  raw?: boolean;
  /** A value on each line, as of `fabric events`. */
  json?: boolean;
  /** Each line has the guest's name before it. */
  isOneOfMany?: boolean;
}

export function logText(guest: string, log: Buffer, look: LogLook): Buffer | string {
  if (log.length === 0) return '';
  if (look.raw === true && look.json !== true && look.isOneOfMany !== true) return log;
  const text = look.raw === true ? log.toString() : printable(log.toString());
  if (look.json === true) {
    const lines = text.replace(/\n$/, '').split('\n');
    return lines.map((line) => `${JSON.stringify({ guest, line })}\n`).join('');
  }
  return look.isOneOfMany === true ? text.trimEnd().replaceAll(/^/gm, `${guest}: `).concat('\n') : text;
}
