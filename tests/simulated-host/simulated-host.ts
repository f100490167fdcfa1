/**
 * A host that this machine is not: two sockets, two NUMA nodes, huge-page pools and a KVM that works, emulated by QEMU.
 * It runs this machine's own programs: its root is this machine's, read-only, under a throw-away layer.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Kernel } from '../../src/image/image.ts';
import { buildInitramfs } from '../../src/image/initramfs.ts';
import { defaultKernel } from '../../src/image/kernel.ts';
import { openStore, sha256Of } from '../../src/image/store.ts';
import { installationDir } from '../../src/installation.ts';
import { runProgram } from '../../src/process.ts';
import { checkAlive, type JobOptions, type JobResult, runJob } from './jobs.ts';
import { defaultShape, type HostBoot, type HostShape, qemuArguments, stateFiles } from './qemu.ts';

/** Loaded before the root is there: what the root and the talk with outside need, KVM, and what guests may use. */
const hostModules = [
  ...['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay'],
  ...['kvm_amd', 'virtio_rng', 'tun'],
];
const vfioModules = ['vfio_pci', 'vfio_iommu_type1'];

export interface StartOptions extends Partial<HostShape> {
  /** From {@link makeStateDirectory}; default: a new one. Removed by `stop` and by a start that fails. */
  directory?: string;
  /** Default: the one that guests get by default. */
  kernel?: Kernel;
  /** A guard against hanging. Default: 4 minutes. */
  timeoutMs?: number;
}

/** A simulated host that runs; who owns it is another matter. */
export class SimulatedHost {
  readonly directory: string;

  /** @param directory state of a simulated host that is ready */
  constructor(directory: string) {
    this.directory = directory;
  }

  /** Runs a shell line, or the words of a command, in the simulated host; any number at once. */
  run(command: string | readonly string[], options: JobOptions = {}): Promise<JobResult> {
    return runJob(this.directory, command, options);
  }

  /** As {@link run}; gives standard output, and rejects when the exit code is not 0. */
  async output(command: string | readonly string[], options: JobOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, options);
    if (code !== 0) throw new Error(`${String(command)}: exit code ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** A directory that both sides read and write, by its name out here; inside it is `/run/simulated-host/results`. */
  get resultsPath(): string {
    return join(this.directory, stateFiles.share, 'results');
  }
}

/** A simulated host and the QEMU it lives in, which ends with this process however this process ends. */
export class OwnedSimulatedHost extends SimulatedHost {
  /** Time from the start to the first command, in milliseconds. */
  readonly bootMs: number;
  readonly #end: () => void;

  constructor(directory: string, bootMs: number, end: () => void) {
    super(directory);
    this.bootMs = bootMs;
    this.#end = end;
  }

  /** Ends it and removes its state; nothing in it is worth a clean shutdown. */
  async stop(): Promise<void> {
    this.#end();
  }
}

const directoryPrefix = 'lodge-simulated-host-';
const sourcePath = join(installationDir, 'tests/simulated-host');
const readyFile = join(stateFiles.share, 'ready');
const ownerFile = 'owner';

/** Boots a simulated host that this process owns. To be called on the main thread: its end is the host's end. */
export async function startSimulatedHost(options: StartOptions = {}): Promise<OwnedSimulatedHost> {
  const startedAt = performance.now();
  const shape = { ...defaultShape, ...options };
  await removeAbandoned();
  const directory = options.directory ?? (await makeStateDirectory());
  let qemu: ChildProcess | undefined;
  const end = (): void => {
    process.off('exit', end);
    qemu?.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  };
  process.on('exit', end);
  try {
    const boot = await prepare(directory, options.kernel ?? (await defaultKernel(openStore())), shape);
    qemu = await spawnQemu(directory, qemuArguments(directory, boot, shape));
    await untilReady(directory, options.timeoutMs);
  } catch (cause) {
    end();
    throw cause;
  }
  return new OwnedSimulatedHost(directory, performance.now() - startedAt, end);
}

/** A directory for {@link startSimulatedHost} that is removed by a later one if this process cannot. */
export async function makeStateDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), directoryPrefix));
  await writeFile(join(directory, ownerFile), `${process.pid} ${await startTicks(process.pid)}`);
  return directory;
}

/** Puts everything that QEMU and the simulated host read in place. */
async function prepare(directory: string, kernel: Kernel, shape: HostShape): Promise<HostBoot> {
  const { vmlinuxPath, modulesPath } = kernel;
  if (modulesPath === undefined) throw new Error(`the kernel ${vmlinuxPath} has no modules`);
  const share = join(directory, stateFiles.share);
  await mkdir(join(share, 'jobs'), { recursive: true });
  await mkdir(join(share, 'results'));
  await copyFile(join(sourcePath, 'server.sh'), join(share, 'server.sh'));
  const control = join(directory, stateFiles.control);
  await mustRun(['mkfifo', '-m', '600', `${control}.in`, `${control}.out`]);

  const init = join(directory, 'init');
  await compileStatic(join(sourcePath, 'init.c'), init);
  const { path: initramfsPath } = await buildInitramfs({
    agentPath: init,
    agentId: `init of the simulated host ${sha256Of(await readFile(init))}`,
    kernel,
    modules: shape.iommu ? [...hostModules, ...vfioModules] : hostModules,
  });
  return { vmlinuxPath, modulesPath, initramfsPath };
}

/** Compiles a C program that needs nothing but a kernel. */
export async function compileStatic(source: string, program: string): Promise<void> {
  await mustRun(['musl-gcc', '-static', '-Os', '-s', '-Wall', '-Wextra', '-Werror', '-o', program, source]);
}

/**
 * QEMU, which ends when the thread that calls this does. All of it has one CPU: QEMU 7.2 translates code while another
 * of its threads writes it, which wedged one guest in 15 or the whole host when they really ran at once, and none of 35
 * when they took turns, at 1.4 times the time.
 */
async function spawnQemu(directory: string, args: readonly string[]): Promise<ChildProcess> {
  const log = await open(join(directory, stateFiles.qemuLog), 'a');
  const cpu = lastAllowedCpu(await readFile('/proc/self/status', 'utf8'));
  const argv = ['--pdeathsig', 'KILL', 'taskset', '-c', cpu, 'qemu-system-x86_64', ...args];
  const qemu = spawn('setpriv', argv, { stdio: ['ignore', log.fd, log.fd] });
  // It does not keep this process from ending.
  qemu.unref();
  await new Promise<void>((resolve, reject) => qemu.on('spawn', resolve).on('error', reject));
  await log.close();
  await writeFile(join(directory, stateFiles.qemuPid), `${qemu.pid}`);
  return qemu;
}

/** The last CPU of the list that `/proc/PID/status` gives, like `0-3,8`. */
function lastAllowedCpu(status: string): string {
  const cpu = /^Cpus_allowed_list:.*?(\d+)$/m.exec(status)?.[1];
  if (cpu === undefined) throw new Error('/proc/self/status has no Cpus_allowed_list');
  return cpu;
}

async function mustRun(argv: readonly string[]): Promise<void> {
  const { code, stderr } = await runProgram(argv);
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}\n${stderr}`);
}

/** Whether commands can be run in the simulated host of this state directory. */
export function isReady(directory: string): boolean {
  return existsSync(join(directory, readyFile));
}

async function untilReady(directory: string, timeoutMs = 240_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!isReady(directory)) {
    await checkAlive(directory);
    if (Date.now() > deadline) throw new Error(`the simulated host is not up within ${timeoutMs} ms`);
    await delay(100);
  }
}

/** Removes what owners that were killed have left; their QEMUs died with them. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(directoryPrefix)) continue;
    const directory = join(tmpdir(), name);
    const owner = await readFile(join(directory, ownerFile), 'utf8').catch(() => undefined);
    // One without the file is being made this moment.
    if (owner === undefined) continue;
    const [pid = '', ticks] = owner.split(' ');
    if ((await startTicks(Number(pid))) === ticks) continue;
    await rm(directory, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** When a process started: with the process id, this names one process for ever. Empty if there is none. */
async function startTicks(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
