/**
 * The catalogue of everything that can go wrong in a way a person must be told about.
 *
 * Each error has a stable code (what scripts and docs name it by) and the exit code lodge ends with.
 * The reference page `docs/reference/errors.md` is generated from this table.
 */

import { type Fix, type SpecPath, spellFix } from './fix.ts';
import { mountPointOf } from './mount-point.ts';
import { printable } from './printable.ts';
import { shellWord } from './shell-words.ts';

/** Exit codes that are lodge's own; everything else a run returns is its command's. */
export const exitCodes = {
  /** The guest died (panic, crash, killed, closed its channel) before its command ended. */
  guestDied: 123,
  /** A time limit passed: the guest did not come up within its boot time limit, or did not stop in time. */
  timedOut: 124,
  /** lodge could not do what was asked; nothing was run. */
  refused: 125,
  /** The command was found in the guest but could not be started. */
  notExecutable: 126,
  /** The command was not found in the guest. */
  notFound: 127,
} as const;

interface CatalogueEntry {
  readonly exit: number;
  readonly meaning: string;
}

const { guestDied, timedOut, refused, notExecutable, notFound } = exitCodes;

/** Every error code, what it means and the exit code it brings. */
export const catalogue = {
  usage: { exit: refused, meaning: 'The command line is not one lodge understands.' },
  'spec-syntax': { exit: refused, meaning: 'A spec file is not readable YAML.' },
  'spec-unknown-key': { exit: refused, meaning: 'A spec has a key that lodge does not know.' },
  'spec-value': { exit: refused, meaning: 'A value in a spec or flag has the wrong form, unit or range.' },
  'machine-probe': { exit: refused, meaning: 'The host could not be measured.' },
  'missing-program': { exit: refused, meaning: 'A program that lodge needs is not installed on this host.' },
  'accelerator-unusable': {
    exit: refused,
    meaning: 'No guest can be booted with the accelerator asked for on this host.',
  },
  'driver-cannot': {
    exit: refused,
    meaning: 'The driver for this accelerator cannot give what the spec asks for.',
  },
  'placement-unmet': {
    exit: refused,
    meaning: 'A strict placement (pages, pins, NUMA) cannot be met, or was not met.',
  },
  'isolation-unmet': {
    exit: refused,
    meaning: 'A guest with a network cannot be kept apart from the network of the host.',
  },
  'bridge-unmet': {
    exit: refused,
    meaning: 'A network cannot be a bridge of the kernel on this host, or not treat frames there as asked.',
  },
  'not-enough-memory': {
    exit: refused,
    meaning: 'The guest needs more memory than this host or job can give.',
  },
  'image-not-found': { exit: refused, meaning: 'There is no image of that name, and no file at that path.' },
  'image-unreadable': {
    exit: refused,
    meaning: 'An image, kernel or root is damaged, truncated or not of a known format.',
  },
  'image-build': { exit: refused, meaning: 'An image could not be built.' },
  'image-not-allowed': {
    exit: refused,
    meaning: 'An image is not on the list of those that may boot as nodes of a Slurm of a site.',
  },
  'image-in-use': { exit: refused, meaning: 'An image cannot be removed because a guest runs from it.' },
  'kernel-not-found': { exit: refused, meaning: 'No kernel that a guest can boot was found.' },
  'share-unusable': { exit: refused, meaning: 'A directory cannot be shared with the guest.' },
  'pci-unusable': { exit: refused, meaning: 'A PCI function of the host cannot be given to the guest.' },
  'name-taken': { exit: refused, meaning: 'A guest of that name exists already.' },
  'no-such-guest': { exit: refused, meaning: 'There is no guest of that name.' },
  'guest-not-running': { exit: refused, meaning: 'The guest is not running, so this cannot be done to it.' },
  'no-agent-in-guest': {
    exit: refused,
    meaning: 'The guest has no lodge agent: it has a console, logs and power only.',
  },
  'no-such-user': { exit: refused, meaning: 'The guest does not know the user to run a command as.' },
  'host-io': {
    exit: refused,
    meaning: 'A file or directory of lodge on the host could not be read or written.',
  },
  'disk-full': { exit: refused, meaning: 'A filesystem on the host is full.' },
  'host-agent': { exit: refused, meaning: 'The host agent could not be started or reached.' },
  'copy-failed': { exit: refused, meaning: 'Files could not be copied into or out of the guest.' },
  'benchmark-output': {
    exit: refused,
    meaning: 'A benchmark failed its own check of its results, or printed what lodge does not understand.',
  },
  topology: { exit: refused, meaning: 'A network between hosts cannot be read, or is none.' },
  traffic: { exit: refused, meaning: 'A graph of traffic cannot be read, or contradicts itself.' },
  mapping: { exit: refused, meaning: 'A placement cannot be read, or does not fit its traffic and network.' },
  'no-room': { exit: refused, meaning: 'There are more ranks than the places can hold.' },
  'study-directory': {
    exit: refused,
    meaning: 'A study cannot be begun, gone on with or read in this directory.',
  },
  'fabric-unavailable': {
    exit: refused,
    meaning: 'The fabric of a cluster is not running, or cannot do this in the state it is in.',
  },
  'checkpoint-unreadable': {
    exit: refused,
    meaning: 'A checkpoint is damaged, of another version, or not of this cluster.',
  },
  'no-such-cluster': { exit: refused, meaning: 'There is no cluster of that name.' },
  'no-such-link': { exit: refused, meaning: 'There is no link of that name in the fabric.' },
  'cluster-exists': { exit: refused, meaning: 'There is a cluster of that name, made from another file.' },
  'cluster-busy': { exit: refused, meaning: 'Another lodge is changing the cluster at this moment.' },
  'cluster-incomplete': {
    exit: guestDied,
    meaning: 'Some guests of a cluster did not come up or could not be set up; the others run.',
  },
  'guest-setup': {
    exit: guestDied,
    meaning: 'The guest booted but could not be set up (a mount or module failed in it).',
  },
  'guest-died': { exit: guestDied, meaning: 'The guest ended before its command did.' },
  'guest-panicked': { exit: guestDied, meaning: 'The kernel of the guest panicked.' },
  'vmm-failed': {
    exit: guestDied,
    meaning: 'QEMU or the user-mode kernel could not start or stopped by itself.',
  },
  'channel-broken': {
    exit: guestDied,
    meaning: 'The guest closed its channel, or sent what no agent sends.',
  },
  'boot-timeout': { exit: timedOut, meaning: 'The guest did not come up within its boot time limit.' },
  'stop-timeout': { exit: timedOut, meaning: 'The guest did not end within its time limit.' },
  'command-not-executable': {
    exit: notExecutable,
    meaning: 'The command could not be started in the guest.',
  },
  'command-not-found': { exit: notFound, meaning: 'The command does not exist in the guest.' },
  'no-allocation': {
    exit: refused,
    meaning: 'There is no job of Slurm to run guests in, or it has ended.',
  },
  'allocation-too-small': {
    exit: refused,
    meaning: 'The hosts of the job have not room for all the guests.',
  },
  'slurm-unavailable': {
    exit: refused,
    meaning: 'Slurm does not answer, does not believe who we are, or did not start what lodge asked for.',
  },
  'slurm-setup': {
    exit: refused,
    meaning: 'A host, or its Slurm, is not set up for guests as nodes.',
  },
  checkpoint: { exit: refused, meaning: 'A cluster cannot be saved, or cannot go on from what was saved.' },
  internal: { exit: refused, meaning: 'A fault in lodge itself.' },
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;

export interface ErrorDetails {
  /** Where the fault is: a file with line and column, a flag, a path. */
  where?: string;
  /** What the person can do about it. */
  fix?: Fix;
  /** More lines to show, such as the end of a boot log. */
  detail?: string;
  /** What in a guest's spec asked for what cannot be: whoever has read the spec knows its place. */
  asked?: SpecPath;
  cause?: unknown;
}

/** An error that a person is to read: what was wrong, where, and what to do. */
export class LodgeError extends Error {
  readonly code: ErrorCode;
  readonly where: string | undefined;
  /** With keys of a spec as in YAML. */
  readonly fix: string | undefined;
  /** What `fix` is made of. */
  readonly fixWords: Fix | undefined;
  readonly detail: string | undefined;
  readonly asked: SpecPath | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'LodgeError';
    this.code = code;
    this.where = details.where;
    this.fix = details.fix === undefined ? undefined : spellFix(details.fix);
    this.fixWords = details.fix;
    this.detail = details.detail;
    this.asked = details.asked;
  }

  get exitCode(): number {
    return catalogue[this.code].exit;
  }
}

/** The same error, some of it told otherwise. */
export function retold(error: LodgeError, changes: ErrorDetails & { message?: string }): LodgeError {
  const { code, message, where, fixWords: fix, detail, asked } = error;
  const kept = Object.entries({ where, fix, detail, asked }).filter(([, value]) => value !== undefined);
  const { message: told = message, ...others } = changes;
  return new LodgeError(code, told, { ...Object.fromEntries(kept), cause: error, ...others });
}

/**
 * The error as lines for a terminal, without colour; the last line is the fix. What of it a guest, an image or a file
 * wrote can do nothing to the terminal.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof LodgeError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return printable(`lodge: internal: ${text}`);
  }
  const where = error.where === undefined ? '' : `${error.where}: `;
  const lines = [`lodge: ${where}${error.message} [${error.code}]`];
  if (error.detail !== undefined) lines.push(...error.detail.split('\n').map((line) => `  | ${line}`));
  if (error.fix !== undefined) lines.push(`  fix: ${error.fix}`);
  return printable(lines.join('\n'));
}

/** What helps where lodge cannot write to directories of its own. */
export const otherPlaceFix =
  'see that the place is there and that you may write to it, or point LODGE_DATA_DIR or LODGE_RUNTIME_DIR elsewhere';

/** What helps where a file of a process may not become as large as it must. */
export const largeFileFix =
  'raise the limit of file sizes where you start lodge, or have it raised: `ulimit -f unlimited`';

/**
 * Wraps a file-system failure of the host so that a full disk is told apart from the rest.
 * @param fix what helps against the rest
 */
export function hostIoError(doing: string, path: string, cause: unknown, fix?: string): LodgeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new LodgeError('disk-full', `no space left while ${doing}`, {
      where: path,
      // The path itself may be gone by the time that somebody reads this.
      fix: `free space there (\`df -h ${shellWord(mountPointOf(path))}\`, \`lodge image gc\`), or point LODGE_DATA_DIR or LODGE_RUNTIME_DIR elsewhere`,
      cause,
    });
  }
  const helps = code === 'EFBIG' ? `${largeFileFix}; without one, the filesystem takes no larger files` : fix;
  return new LodgeError('host-io', `${doing} failed: ${reason}`, {
    where: path,
    ...(helps === undefined ? {} : { fix: helps }),
    cause,
  });
}
