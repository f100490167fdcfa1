/**
 * virtiofsd, the program that serves a directory of the host to a guest: which one there is, how it is started for
 * whom, and whether it works. There are two: QEMU's own in C (up to 7.2) and its successor in Rust (from 1.0), with
 * other arguments. Checked against `virtiofsd --help` of QEMU 7.2, and the README of the Rust one's 1.3 and 1.13.
 */

import { builtFile } from '../installation.ts';
import { liveSource, type MachineSource } from './source.ts';

export interface Virtiofsd {
  path: string;
  kind: 'c' | 'rust';
  /** Can translate owners and refuse writes by itself, as the Rust one can from 1.13: an ordinary user needs it. */
  translates: boolean;
}

/** Who serves: owners of files are looked at and set in their name. */
export interface Servant {
  uid: number;
  gid: number;
}

export interface VirtiofsdRequest {
  daemon: Virtiofsd;
  /** `host-side/confine.c`, built. */
  confinePath: string;
  /** A directory of the host, without links. */
  directory: string;
  readOnly: boolean;
  user: Servant;
}

export interface VirtiofsdVerdict {
  /** Where the program is, if there is any. */
  path?: string;
  /** What is known of it; absent when it is not usable. */
  daemon?: Virtiofsd;
  reason: string;
  fix?: string;
}

/** Where distributions put it, outside of PATH: Debian 13, Fedora and RHEL; Debian 12 and Ubuntu; Arch. */
const paths = ['/usr/libexec/virtiofsd', '/usr/lib/qemu/virtiofsd', '/usr/lib/virtiofsd'];

/**
 * The first that is there. Which of the two it is, it tells itself: its own help is read. The C one refuses even
 * that to an ordinary user with groups, unless it is confined.
 * @returns the program, or why it could not be asked; undefined when there is none
 */
async function askVirtiofsd(
  source: MachineSource,
  confine: () => string,
): Promise<Virtiofsd | { path: string; said: string } | undefined> {
  const path = source.findProgram('virtiofsd') ?? paths.find((place) => source.access(place).exists);
  if (path === undefined) return undefined;
  const question = [path, '--help'];
  let said = '';
  for (const argv of [question, [confine(), '--user', '--', ...question]]) {
    const answer = await source.run(argv);
    const help = answer?.stdout ?? '';
    if (help.includes('--shared-dir')) {
      const translates = help.includes('--translate-uid') && help.includes('--readonly');
      return { path, kind: 'rust', translates };
    }
    if (help.includes('-o source=')) return { path, kind: 'c', translates: false };
    said = lastLine(answer?.stderr ?? '');
  }
  return { path, said };
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

/**
 * The command line that serves a directory on the socket it has as descriptor 3. Pure.
 *
 * Who creates files, and whose they are seen to be:
 * - for root, the guest's users are the host's, and both programs change to the user who asks;
 * - for an ordinary user, all that is written is theirs. The Rust one squashes the guest's users to that. The C one
 *   wants capabilities, which it gets in a user namespace of one user: `confine --user`.
 *
 * What the host changes is seen at once where the program can look each time (C: no time-out), and within a second
 * where it cannot (Rust). Not by `cache=none`: without any cache files cannot be mapped for writing.
 * @param labels more arguments for confine
 */
export function virtiofsdArguments(request: VirtiofsdRequest, labels: readonly string[] = []): string[] {
  const { daemon, confinePath, directory, readOnly, user } = request;
  const isRoot = user.uid === 0;
  const isBare = daemon.kind === 'rust' && !isRoot;
  const confined = [
    confinePath,
    ...(isRoot ? [] : [isBare ? '--bare' : '--user']),
    ...(readOnly && !isBare ? ['--read-only', directory] : []),
    ...labels,
    '--',
  ];
  // Of the root there is nothing that it could be shut in, and making it the root fails.
  const sandbox = directory === '/' ? 'sandbox=chroot' : 'sandbox=namespace';
  // Only root may have more than its limit; with less, a guest that knows very many files gets an error.
  const limit = isRoot ? [] : ['--rlimit-nofile=0'];
  if (daemon.kind === 'c') {
    const options = [sandbox, 'cache=auto', 'timeout=0', 'xattr', 'announce_submounts', 'log_level=err'];
    return [
      ...confined,
      ...[daemon.path, '--fd=3', ...limit],
      ...['-o', `source=${directory.replaceAll('\\', '\\\\').replaceAll(',', '\\,')}`],
      ...['-o', options.join(',')],
    ];
  }
  // From, to, how many: all there are.
  const squash = (id: number): string => `squash-guest:0:${id}:4294967295`;
  return [
    ...confined,
    ...[daemon.path, '--fd=3', ...limit, `--shared-dir=${directory}`],
    ...['--cache=auto', '--xattr', '--announce-submounts', '--log-level=error'],
    ...(isBare
      ? [
          '--sandbox=none',
          `--translate-uid=${squash(user.uid)}`,
          `--translate-gid=${squash(user.gid)}`,
          ...(readOnly ? ['--readonly'] : []),
        ]
      : [`--${sandbox}`]),
  ];
}

/**
 * Whether virtiofsd works for this user here: it is started as for a guest, and must end well when nobody comes.
 * @param confine gives the path of lodge's own program
 */
export async function proveVirtiofsd(
  user: Servant,
  source: MachineSource = liveSource(),
  confine = () => builtFile('confine'),
): Promise<VirtiofsdVerdict> {
  const found = await askVirtiofsd(source, confine);
  if (found === undefined) {
    return {
      reason: 'virtiofsd is not installed',
      fix: 'apt-get install virtiofsd; on Debian 12 it is in qemu-system-common',
    };
  }
  const { path } = found;
  const silent = (said: string): VirtiofsdVerdict => ({
    path,
    reason: `${path} does not start${said === '' ? '' : `: ${said}`}`,
    ...(user.uid === 0
      ? {}
      : { fix: 'it needs a user namespace: as root, sysctl -w user.max_user_namespaces=15000; or use 9p' }),
  });
  if ('said' in found) return silent(found.said);
  if (user.uid !== 0 && found.kind === 'rust' && !found.translates) {
    return {
      path,
      reason: `${path} cannot serve an ordinary user: it has no --translate-uid or no --readonly`,
      fix: 'install virtiofsd 1.13 or newer, or use 9p',
    };
  }
  const request = {
    daemon: found,
    confinePath: confine(),
    directory: '/usr',
    readOnly: true,
    user,
  };
  const result = await source.run(virtiofsdArguments(request, ['--try']));
  if (result?.code !== 0) return silent(result === undefined ? 'it did not end' : lastLine(result.stderr));
  return { path, daemon: found, reason: `${path} was started and ended well` };
}
