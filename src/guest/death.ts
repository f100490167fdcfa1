/** Why a guest ended that nobody asked to end, from what it left behind. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ErrorCode, LodgeError, largeFileFix } from '../errors.ts';
import { type Fix, fixWith, key } from '../fix.ts';
import { parseResourceLimit } from '../machine/kernel-text.ts';
import { consoleTail, vmmTail } from './keeper.ts';
import { type GuestPlan, guestFiles } from './plan.ts';

/** How long after its channel broke a guest's process may take to be seen dead: a busy host takes seconds to free its memory. */
export const deathNoticeMs = 5000;

/** Lines of the boot log that are shown, and that are searched for what went wrong. */
const shownLines = 20;
const searchedLines = 400;

/** Where the kernel begins to tell what is wrong (lib/bug.c, kernel/panic.c, arch/x86/kernel/dumpstack.c). */
const troubleStarts =
  /^(?:\[[ 0-9.]+\] )?(?:BUG: |Oops|Kernel panic - |general protection fault|Unable to handle)/;

/**
 * The error for a guest that died, with the end of its boot log.
 * @param instead an error that is known already and only lacks the log
 */
export function deathOf(plan: GuestPlan, instead?: LodgeError): LodgeError {
  const all = consoleTail(plan.dir, searchedLines);
  const log = shownPart(all.split('\n'));
  const complaints = vmmTail(plan.dir, 10);
  const detail = [complaints, log].filter((text) => text !== '').join('\n');
  const details = detail === '' ? {} : { detail };
  if (instead !== undefined) {
    const fix =
      instead.code === 'boot-timeout'
        ? fixWith`give it more time with ${key('boot-timeout')}, or see why it hangs: ${key('append', 'loglevel=7')}`
        : instead.fixWords;
    return new LodgeError(instead.code, instead.message, {
      ...(fix === undefined ? {} : { fix }),
      ...details,
    });
  }
  const end = readExit(plan.dir);
  const { code, message, fix } = explain(plan, end, all, complaints);
  return new LodgeError(code, message, { fix, ...details });
}

/** The end of a log; where the kernel told of trouble, the beginning of that as well. */
function shownPart(lines: readonly string[]): string {
  const trouble = lines.findIndex((line) => troubleStarts.test(line));
  if (trouble < 0 || lines.length - trouble <= shownLines) return lines.slice(-shownLines).join('\n');
  const half = shownLines / 2;
  return [...lines.slice(trouble, trouble + half), '…', ...lines.slice(-half)].join('\n');
}

/** The error for a guest without an agent, whose end is its own affair unless it crashed or was killed. */
export function crashOf(plan: GuestPlan): LodgeError | undefined {
  const end = readExit(plan.dir);
  const death = deathOf(plan);
  return end === 'code 0' && death.code !== 'guest-panicked' ? undefined : death;
}

function explain(
  plan: GuestPlan,
  end: string | undefined,
  log: string,
  complaints: string,
): { code: ErrorCode; message: string; fix: Fix } {
  const lost = /^lost (\d+) code (\d+)$/.exec(end ?? '');
  if (lost !== null) {
    const code = Number(lost[2]);
    const what = plan.beside[Number(lost[1])]?.what ?? 'a program beside the guest';
    return {
      code: 'guest-died',
      message: `the guest was ended, because what gave it ${what} ${code > 128 ? `was killed by signal ${code - 128}` : `ended with code ${code}`}`,
      fix: fixWith`see its complaint, if there is one above; without ${key('mount-type')}, directories come over 9p`,
    };
  }
  const ofMemory = plan.driver === 'uml' ? memoryPlaceFix(`${log}\n${complaints}`) : undefined;
  if (/Kernel panic - not syncing/.test(log)) {
    const reason = /Kernel panic - not syncing: (.*)/.exec(log)?.[1] ?? '';
    const fix =
      ofMemory ??
      (/memory|OOM/i.test(reason)
        ? fixWith`give the guest more memory: ${key('memory', 'SIZE')}`
        : fixWith`see the boot log; ${key('append', 'loglevel=7')} shows all of it`);
    return { code: 'guest-panicked', message: `the guest's kernel panicked: ${reason}`, fix };
  }
  if (end === 'signal 25') {
    return {
      code: 'guest-died',
      message:
        'the virtual machine was killed by signal 25 (SIGXFSZ): one of its files would have become too large',
      // Of user-mode Linux, its memory is a file.
      fix: fixWith`${largeFileFix}${plan.accelerator === 'uml' ? fixWith`; the guest's memory is a file, too (${key('memory', 'SIZE')})` : ''}`,
    };
  }
  const cpuSeconds = cpuLimit();
  if (end === 'signal 24' || (end === 'signal 9' && cpuSeconds !== undefined)) {
    const limit = `your processes may use ${cpuSeconds === undefined ? 'only so much' : `${cpuSeconds} s of`} CPU time each (ulimit -t)`;
    const raise = 'raise that where you start lodge, or have it raised: `ulimit -t unlimited`';
    return {
      code: 'guest-died',
      message: `the virtual machine was killed by ${end === 'signal 24' ? 'signal 24 (SIGXCPU)' : end}: ${limit}`,
      fix:
        end === 'signal 24'
          ? raise
          : fixWith`${raise}; if it had not used that much, the host or job ran out of memory: see dmesg, or give the guest less (${key('memory', 'SIZE')})`,
    };
  }
  if (end === 'signal 9') {
    return {
      code: 'guest-died',
      message: 'the virtual machine was killed by signal 9',
      fix: fixWith`if nobody killed it, the host or job ran out of memory: see dmesg, or give the guest less (${key('memory', 'SIZE')})`,
    };
  }
  if (
    end !== undefined &&
    end !== 'code 0' &&
    plan.driver === 'qemu' &&
    (complaints !== '' || end !== 'code 1')
  ) {
    const what = end.startsWith('signal') ? `died of ${end}` : `ended with ${end}`;
    return {
      code: 'vmm-failed',
      message: `QEMU ${what}`,
      fix: 'its complaint is above; `lodge run --dry-run` shows its command line',
    };
  }
  return {
    code: 'guest-died',
    message: `the guest went down${end === undefined || end === 'code 0' ? '' : ` (${end})`}`,
    fix: ofMemory ?? fixWith`see the boot log; ${key('append', 'loglevel=7')} shows more of it`,
  };
}

/** Seconds of CPU time after which a process that this one starts is killed; undefined when there is no such limit. */
function cpuLimit(): number | undefined {
  const { soft, hard } = parseResourceLimit(readFileSync('/proc/self/limits', 'utf8'), 'Max cpu time');
  return soft ?? hard;
}

/** User-mode Linux has the guest's memory in a file, and says itself what is wrong with its place (arch/um/os-Linux/). */
function memoryPlaceFix(words: string): Fix | undefined {
  const place = "the guest's memory is a file in TMPDIR, where that is set, else in /dev/shm";
  if (words.includes('must be not mounted noexec')) return `${place}: have TMPDIR name one without noexec`;
  if (!/\/dev\/shm or \/tmp mount likely just ran out of space/.test(words)) return undefined;
  return `${place}: free space there, or have TMPDIR name another`;
}

function readExit(dir: string): string | undefined {
  try {
    return readFileSync(join(dir, guestFiles.exit), 'utf8').trim();
  } catch {
    return undefined;
  }
}
