/** Running the programs of the host: one place that starts them, so that failures read alike. */

import { spawn } from 'node:child_process';
import { LodgeError } from './errors.ts';

export interface ProgramResult {
  /** Exit code, or 128 + n for signal n as a shell reports it. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface ProgramOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Sent to standard input; without it, standard input is empty. */
  input?: string;
  /** After this many milliseconds the program is killed and {@link LodgeError} `host-io` is thrown. */
  timeoutMs?: number;
  /** Called with each piece of standard error as it comes, for progress on long work. */
  onStderr?: (text: string) => void;
}

/** Names of programs, and the Debian package that brings each; used by errors and by the doctor. */
export const packageOfProgram: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  'qemu-img': 'qemu-utils',
  'linux.uml': 'user-mode-linux',
  'lstopo-no-graphics': 'hwloc-nox',
  'musl-gcc': 'musl-tools',
  mmdebstrap: 'mmdebstrap',
  mksquashfs: 'squashfs-tools',
  sqfstar: 'squashfs-tools',
  unsquashfs: 'squashfs-tools',
  tcpdump: 'tcpdump',
  passt: 'passt',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  ip: 'iproute2',
  tc: 'iproute2',
  bridge: 'iproute2',
  setpriv: 'util-linux',
  newuidmap: 'uidmap',
  'mkfs.erofs': 'erofs-utils',
  'fsck.erofs': 'erofs-utils',
  skopeo: 'skopeo',
  umoci: 'umoci',
  xz: 'xz-utils',
  zstd: 'zstd',
  lz4: 'lz4',
  'dpkg-deb': 'dpkg',
  numactl: 'numactl',
  munged: 'munge',
  srun: 'slurm-client',
  sinfo: 'slurm-client',
  slurmd: 'slurmd',
  slurmctld: 'slurmctld',
  taskset: 'util-linux',
  bzip2: 'bzip2',
  'apt-get': 'apt',
};

/** The error for a program that is not installed. */
export function missingProgram(program: string, cause?: unknown): LodgeError {
  const debianPackage = packageOfProgram[program];
  return new LodgeError('missing-program', `the program '${program}' is not installed`, {
    fix: debianPackage === undefined ? `install '${program}'` : `apt-get install ${debianPackage}`,
    cause,
  });
}

/**
 * Runs a program to its end and gives its exit code and output.
 * @throws LodgeError `missing-program` when it does not exist.
 */
export function runProgram(argv: readonly string[], options: ProgramOptions = {}): Promise<ProgramResult> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            child.kill('SIGKILL');
            reject(
              new LodgeError('host-io', `'${argv.join(' ')}' did not end within ${options.timeoutMs} ms`),
            );
          }, options.timeoutMs);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout!.on('data', (piece: Buffer) => out.push(piece));
    child.stderr!.on('data', (piece: Buffer) => {
      err.push(piece);
      options.onStderr?.(piece.toString());
    });
    child.on('error', (cause: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(cause.code === 'ENOENT' ? missingProgram(program, cause) : cause);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const signalNumber = signal === null ? 0 : (signalNumbers[signal] ?? 0);
      resolve({
        code: code ?? 128 + signalNumber,
        stdout: Buffer.concat(out).toString(),
        stderr: Buffer.concat(err).toString(),
      });
    });
    if (options.input !== undefined) {
      // A program may end without reading its input; that is its right.
      child.stdin!.on('error', () => {});
      child.stdin!.end(options.input);
    }
  });
}

/** Signal numbers on Linux x86-64 (signal(7)), for exit codes and for the channel. */
export const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGWINCH: 28,
};
