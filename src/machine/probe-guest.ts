/**
 * Probe guests: the least that must boot before an accelerator is believed.
 *
 * - A Linux kernel with no root: it has run its whole start when it panics for want of one. A bare firmware
 *   program is not enough for KVM: there are hosts where that runs and where a kernel hangs for ever.
 * - A firmware of a few bytes that writes to QEMU's debug-exit port: enough for TCG, which is a program like any
 *   other and needs no kernel to be proved, and the best that can be done for KVM where no kernel is at hand.
 */

import { spawn } from 'node:child_process';
import { lstatSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { environmentWith, temporaryPlace } from '../temporary-place.ts';
import { formatTime } from '../units.ts';

/** How a probe guest is started and told to have booted. */
export interface ProbeGuest {
  argv: string[];
  /** It has booted when it ends with this exit code … */
  bootedExit?: number;
  /** … or when its output has this. */
  bootedOutput?: RegExp;
  /** Files to put in the directory it is started in, which is removed with it. */
  files?: Record<string, Uint8Array>;
  /** How long it may take, where that is not {@link defaultTimeLimits}. */
  timeLimits?: ProbeTimeLimits;
}

export interface ProbeTimeLimits {
  /** Without a word from the guest. */
  silentMs: number;
  /** In all. */
  totalMs: number;
}

export interface ProbeOutcome {
  booted: boolean;
  reason: string;
  seconds: number;
  /** It used up its time. */
  hung?: true;
}

/**
 * A guest slowed down by debugging or by a host that is itself emulated still writes to its console, so silence
 * is what tells a hang; the total bounds a guest that talks for ever.
 */
export const defaultTimeLimits: ProbeTimeLimits = { silentMs: 20_000, totalMs: 60_000 };

/** Time for a killed guest to be gone; one stuck in the host's kernel may never be. */
const killWaitMs = 1000;

/** `(value << 1) | 1` is what isa-debug-exit makes QEMU exit with; the value is arbitrary but not 0. */
const debugExitPort = 0xf4;
const debugExitValue = 0x2a;

/** The end of start-up in a kernel that was given nothing to go on with. */
const noRootMarker = /Kernel panic - not syncing: (?:VFS|No working init|Requested init)/;

const quietQemu = ['-nodefaults', '-no-user-config', '-display', 'none'];

/** A probe for QEMU that boots a kernel (vmlinux with a PVH entry, or bzImage), as guests are booted for real. */
export function kernelProbe(qemu: string, accelerator: 'kvm' | 'tcg', kernelPath: string): ProbeGuest {
  const cpu = accelerator === 'kvm' ? ['-cpu', 'host'] : [];
  return {
    argv: [
      ...[qemu, '-accel', accelerator, ...cpu, '-M', 'q35', '-m', '256M', ...quietQemu, '-no-reboot'],
      ...['-serial', 'stdio', '-kernel', kernelPath],
      ...['-append', 'console=ttyS0 earlyprintk=ttyS0 loglevel=6 panic=-1'],
    ],
    bootedOutput: noRootMarker,
  };
}

/** A probe for QEMU that needs no kernel. */
export function firmwareProbe(qemu: string, accelerator: 'kvm' | 'tcg'): ProbeGuest {
  const cpu = accelerator === 'kvm' ? ['-cpu', 'host'] : [];
  return {
    argv: [
      ...[qemu, '-accel', accelerator, ...cpu, '-M', 'q35', '-m', '16M', ...quietQemu, '-no-reboot'],
      ...['-device', `isa-debug-exit,iobase=${debugExitPort},iosize=4`, '-bios', 'firmware.bin'],
    ],
    bootedExit: (debugExitValue << 1) | 1,
    files: { 'firmware.bin': firmwareImage() },
  };
}

/** A probe for user-mode Linux. `umlDirectory` is taken in the directory it is started in. */
export function umlProbe(uml: string): ProbeGuest {
  return {
    argv: [
      ...[uml, 'mem=128M', 'con=null', 'con0=null,fd:1', 'ssl=null'],
      ...['uml_dir=.', 'umid=probe', 'root=/dev/none', 'panic=1'],
    ],
    // Said just before the panic, on which user-mode Linux aborts and might dump core.
    bootedOutput: /VFS: Cannot open root device|Kernel panic - not syncing: VFS/,
    // It says nothing before it is up: on a host with ten times as much to do as it can, that took 15 s.
    timeLimits: { ...defaultTimeLimits, silentMs: defaultTimeLimits.totalMs },
  };
}

/**
 * A probe for namespaces: the keeper says `pid` when the agent runs in them, with a network interface. It has no
 * lifeline, so that it ends all of it at once.
 */
export function namespaceProbe(keeper: string, agent: string, layered: boolean): ProbeGuest {
  const way = layered ? '--netns' : '--netns-as-is';
  const line = `exec "$0" --lifeline --relay ${way} --wire 02:4c:00:00:00:00 --dir "$PWD" -- "$1" --namespaces 3 "$PWD/"`;
  return { argv: ['sh', '-c', line, keeper, agent], bootedOutput: /^\{"pid":\d+/ };
}

/**
 * A firmware of 64 KiB whose first instruction, at the reset vector 16 bytes below its end, ends the machine:
 * `mov ax, value; out port, ax; hlt; jmp back`.
 */
function firmwareImage(): Uint8Array {
  const image = new Uint8Array(0x10000).fill(0xff);
  image.set([0xb8, debugExitValue, 0x00, 0xe7, debugExitPort, 0xf4, 0xeb, 0xfd], image.length - 16);
  return image;
}

/**
 * Boots a probe guest and waits until it has booted, ended or used up its time. Never throws, and comes back even
 * when the guest's process cannot be killed.
 */
export function bootProbe(
  guest: ProbeGuest,
  limits: ProbeTimeLimits = guest.timeLimits ?? defaultTimeLimits,
): Promise<ProbeOutcome> {
  const { path: place } = temporaryPlace();
  const parent = place ?? '/tmp';
  try {
    clearLeftovers(parent);
  } catch {
    // It may not be read, or somebody else removes it just now: nothing that a probe would have to wait for.
  }
  const directory = mkdtempSync(join(parent, directoryPrefix));
  for (const [name, bytes] of Object.entries(guest.files ?? {})) writeFileSync(join(directory, name), bytes);
  const started = process.hrtime.bigint();
  const seconds = (): number => Number(process.hrtime.bigint() - started) / 1e9;
  return new Promise((resolve) => {
    // If lodge is killed meanwhile, timeout(1) still ends the guest.
    const orphanLimitS = Math.ceil(limits.totalMs / 1000) + 2;
    const child = spawn('timeout', ['-s', 'KILL', String(orphanLimitS), ...guest.argv], {
      cwd: directory,
      // Messages are searched and shown: they are to be plain ASCII.
      env: { ...environmentWith(place), LC_ALL: 'C' },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let errors = '';
    let verdict: Omit<ProbeOutcome, 'seconds'> | undefined;
    let killTimer: NodeJS.Timeout | undefined;

    const finish = (): void => {
      clearTimeout(silence);
      clearTimeout(total);
      clearTimeout(killTimer);
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.unref();
      try {
        // What was killed may be at its last file still.
        rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
      } catch (cause) {
        verdict!.reason += `; ${directory} was left behind: ${(cause as Error).message}`;
      }
      resolve({ ...verdict!, seconds: Number(seconds().toFixed(2)) });
    };
    const decide = (booted: boolean, reason: string, hung?: true): void => {
      if (verdict !== undefined) return;
      verdict = { booted, reason, ...(hung === true ? { hung } : {}) };
      killGroup(child.pid);
      killTimer = setTimeout(() => {
        verdict!.reason += `; its process ${child.pid} cannot be killed and was left behind`;
        finish();
      }, killWaitMs);
    };
    const hung = (ms: number): void =>
      decide(false, `the probe guest hung: ${lastWords(output)} within ${formatTime(ms)}`, true);
    const silence = setTimeout(() => hung(limits.silentMs), limits.silentMs);
    const total = setTimeout(() => hung(limits.totalMs), limits.totalMs);

    child.on('error', (cause) => {
      verdict ??= { booted: false, reason: `the probe guest could not be started: ${cause.message}` };
      finish();
    });
    // Without a file descriptor to spare, a child has no streams at all.
    child.stdout?.on('data', (piece: Buffer) => {
      silence.refresh();
      output = (output + piece.toString('latin1')).slice(-16_384);
      if (guest.bootedOutput?.test(output)) decide(true, 'a probe guest booted');
      else if (/Kernel panic - not syncing: .*\n/.test(output)) decide(false, lastWords(output));
    });
    child.stderr?.on('data', (piece: Buffer) => {
      errors = (errors + piece.toString('latin1')).slice(-16_384);
    });
    child.on('close', (code, signal) => {
      if (verdict === undefined && guest.bootedExit !== undefined && code === guest.bootedExit) {
        verdict = { booted: true, reason: 'a probe guest booted' };
      }
      const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
      verdict ??= { booted: false, reason: `the probe guest ended ${how}: ${complaint(errors, output)}` };
      // Helpers of the guest may have outlived it.
      killGroup(child.pid);
      finish();
    });
  });
}

const directoryPrefix = 'lodge-probe-';
/** Longer than any probe takes. */
const leftoverAgeMs = 3_600_000;

/** Removes what a lodge of ours has left there that was killed while it probed. */
function clearLeftovers(place: string): void {
  for (const name of readdirSync(place)) {
    if (!name.startsWith(directoryPrefix)) continue;
    const path = join(place, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    const isLeft = stats?.uid === process.getuid!() && Date.now() - stats.mtimeMs > leftoverAgeMs;
    if (isLeft) rmSync(path, { recursive: true, force: true });
  }
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it is gone already.
  }
}

function lines(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/** The last thing the guest wrote, or its panic. */
function lastWords(output: string): string {
  const said = lines(output);
  const panic = said.find((line) => line.includes('Kernel panic'));
  const last = panic ?? said.at(-1);
  return last === undefined ? 'it wrote nothing on its console' : `its last words were '${last}'`;
}

/** What the VMM complained of: its first error is the cause, what follows are consequences. */
function complaint(errors: string, output: string): string {
  const said = lines(errors).filter((line) => !/warning:/i.test(line));
  const line = said.find((candidate) => /error|fail|could not|cannot|must be/i.test(candidate)) ?? said[0];
  return line?.replace(/^\S*qemu-system-\w+: (?:error: )?/, '') ?? lastWords(output);
}
