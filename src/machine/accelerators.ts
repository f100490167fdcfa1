/**
 * Which accelerators are usable here: those on which a probe guest booted. What was found is remembered, so that
 * a run pays one read of a small file.
 *
 * A verdict is one file of JSON in the state directory, named after what it holds for: the accelerator, the
 * kernel and CPU of the host, the user, and the VMM by size and time of its binary. Any of these changing asks
 * for a new probe. One file each, so that two runs that probe at once never undo one another's work.
 */

import { readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { hostIoError, otherPlaceFix } from '../errors.ts';
import { installationDir } from '../installation.ts';
import { makeDirectory } from '../make-directory.ts';
import type { ProbeGuest, ProbeOutcome, ProbeTimeLimits } from './probe-guest.ts';
import { liveSource, type MachineSource } from './source.ts';

/** What runs virtual machines, and `netns`, which runs a guest as namespaces of the host. */
export type Accelerator = VirtualAccelerator | 'netns';
export type VirtualAccelerator = 'kvm' | 'uml' | 'tcg';

/** In the order they are to be tried when nobody says which: the fastest first. No virtual machine is never tried. */
export const accelerators: readonly VirtualAccelerator[] = ['kvm', 'uml', 'tcg'];

export interface AcceleratorVerdict {
  accelerator: Accelerator;
  usable: boolean;
  /** Why, as part of a sentence: `a probe guest booted`, `/dev/kvm may not be opened (EACCES)`. */
  reason: string;
  /** What a person can do about an unusable one. */
  fix?: string;
  /** What was booted; `nothing` when it was clear without. */
  proof: 'kernel' | 'firmware' | 'namespaces' | 'nothing';
  /** When it was found out, as ISO 8601. */
  provedAt: string;
  /** How long the probe took. */
  seconds: number;
  /** The probe guest used up its time. */
  hung?: true;
}

export interface AcceleratorOptions {
  /** Where verdicts are remembered; made when it is not there. */
  stateDir: string;
  /** Paths of the VMMs; without, they are looked for in PATH, and the keeper where lodge lies. */
  vmms?: { qemu?: string; uml?: string; keeper?: string };
  /** The kernel to prove KVM with; asked for only when a probe must be booted. */
  kernel?: () => Promise<{ path: string } | undefined>;
  /** Boots even when a verdict is remembered. */
  reprobe?: boolean;
  timeLimits?: ProbeTimeLimits;
  /** Told before a probe guest is booted, which takes seconds. */
  onProbe?: (accelerator: Accelerator) => void;
  source?: MachineSource;
  /** Stands in for a real boot in tests. */
  boot?: (guest: ProbeGuest, limits?: ProbeTimeLimits) => Promise<ProbeOutcome>;
}

/** What a verdict holds for. */
export interface VerdictKey {
  accelerator: Accelerator;
  kernelRelease: string;
  cpuModel: string;
  uid: number;
  vmmBytes: number;
  vmmModifiedMs: number;
}

/** A verdict as it is remembered. */
interface RememberedVerdict {
  format: 'lodge-accelerator-1';
  bootId: string;
  verdict: AcceleratorVerdict;
}

/** Verdicts on all accelerators, the fastest first. */
export async function usableAccelerators(options: AcceleratorOptions): Promise<AcceleratorVerdict[]> {
  const verdicts: AcceleratorVerdict[] = [];
  // One after the other: probes that compete for the CPUs would take each other's time.
  for (const accelerator of [...accelerators, 'netns'] as const) {
    verdicts.push(await proveAccelerator(accelerator, options));
  }
  return verdicts;
}

/**
 * The verdict on one accelerator: remembered, or by booting a probe guest.
 * Never throws for an accelerator that does not work; a verdict that cannot be written is given all the same.
 */
export async function proveAccelerator(
  accelerator: Accelerator,
  options: AcceleratorOptions,
): Promise<AcceleratorVerdict> {
  const source = options.source ?? liveSource();
  const vmm = vmmOf(accelerator, source, options.vmms);
  const obstacle = obstacleTo(accelerator, source, vmm);
  if (obstacle !== undefined) return unusableNow(accelerator, obstacle);
  const key = keyOf(accelerator, source, vmm!);
  const file = join(options.stateDir, verdictFileName(key));
  const bootId = source.readText('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
  const remembered = options.reprobe === true ? undefined : readVerdict(file, bootId);
  if (remembered !== undefined && !needsKernelProof(remembered, options)) return remembered;
  const kernel = accelerator === 'kvm' ? await options.kernel?.() : undefined;
  if (remembered !== undefined && kernel === undefined) return remembered;
  const verdict = await probe(accelerator, vmm!, kernel?.path, options);
  try {
    writeVerdict(file, verdict, bootId);
  } catch {
    // A full disk must not stop a run that could go on: it is probed again next time.
  }
  return verdict;
}

/** What was proved by firmware alone is proved again as soon as there is a kernel to do it with. */
function needsKernelProof(verdict: AcceleratorVerdict, options: AcceleratorOptions): boolean {
  return (
    verdict.accelerator === 'kvm' &&
    verdict.usable &&
    verdict.proof === 'firmware' &&
    options.kernel !== undefined
  );
}

async function probe(
  accelerator: Accelerator,
  vmm: string,
  kernelPath: string | undefined,
  options: AcceleratorOptions,
): Promise<AcceleratorVerdict> {
  const { guest, proof } = await probeGuestOf(accelerator, vmm, kernelPath, options);
  // Loaded late: a run with a remembered verdict boots nothing.
  options.onProbe?.(accelerator);
  const { bootProbe } = await import('./probe-guest.ts');
  const outcome = await (options.boot ?? bootProbe)(guest, options.timeLimits);
  const doubt =
    accelerator === 'kvm' && proof === 'firmware' ? ' (firmware only: no kernel was at hand)' : '';
  const fix = outcome.booted ? undefined : `${fixAfterProbe[accelerator]}; \`lodge doctor\` tries it again`;
  return {
    accelerator,
    usable: outcome.booted,
    reason: outcome.reason + doubt,
    ...(fix === undefined ? {} : { fix }),
    proof,
    provedAt: new Date().toISOString(),
    seconds: outcome.seconds,
    ...(outcome.hung === true ? { hung: true } : {}),
  };
}

async function probeGuestOf(
  accelerator: Accelerator,
  vmm: string,
  kernelPath: string | undefined,
  { source = liveSource() }: AcceleratorOptions,
): Promise<{ guest: ProbeGuest; proof: AcceleratorVerdict['proof'] }> {
  const { firmwareProbe, kernelProbe, namespaceProbe, umlProbe } = await import('./probe-guest.ts');
  if (accelerator === 'uml') return { guest: umlProbe(vmm), proof: 'kernel' };
  if (accelerator === 'netns') {
    const guest = namespaceProbe(vmm, join(dirname(vmm), 'agent'), mayLayerRoot(source));
    return { guest, proof: 'namespaces' };
  }
  return kernelPath === undefined
    ? { guest: firmwareProbe(vmm, accelerator), proof: 'firmware' }
    : { guest: kernelProbe(vmm, accelerator, kernelPath), proof: 'kernel' };
}

/**
 * Whether this process may do to the host's mounts what a guest of namespaces needs for a root that it can write to:
 * it has CAP_SYS_ADMIN (capabilities(7), bit 21 of `CapEff` in proc(5)).
 */
export function mayLayerRoot(source: MachineSource = liveSource()): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(source.readText('/proc/self/status') ?? '')?.[1] ?? '0';
  return ((BigInt(`0x${effective}`) >> 21n) & 1n) === 1n;
}

const fixAfterProbe: Readonly<Record<Accelerator, string>> = {
  kvm: "this host's KVM does not run guests: use uml or tcg; `lodge doctor` tries it again",
  uml: 'see that /dev/shm (or TMPDIR) is not mounted noexec and that ptrace is allowed',
  tcg: 'reinstall QEMU: apt-get install --reinstall qemu-system-x86',
  netns:
    'it wants user namespaces (sysctl user.max_user_namespaces), /dev/net/tun for everyone (modprobe tun && chmod 666 /dev/net/tun) and Linux 5.12',
};

interface Obstacle {
  reason: string;
  fix: string;
}

/** Program of an accelerator, and the Debian package that brings it. */
const vmmPrograms: Readonly<Record<VirtualAccelerator, { program: string; debianPackage: string }>> = {
  kvm: { program: 'qemu-system-x86_64', debianPackage: 'qemu-system-x86' },
  tcg: { program: 'qemu-system-x86_64', debianPackage: 'qemu-system-x86' },
  uml: { program: 'linux.uml', debianPackage: 'user-mode-linux' },
};

function vmmOf(
  accelerator: Accelerator,
  source: MachineSource,
  vmms: AcceleratorOptions['vmms'],
): string | undefined {
  if (accelerator === 'netns') return vmms?.keeper ?? join(installationDir, 'dist', 'keeper');
  const given = accelerator === 'uml' ? vmms?.uml : vmms?.qemu;
  return given ?? source.findProgram(vmmPrograms[accelerator].program);
}

/** What forbids an accelerator so plainly that nothing need be booted. Cheap, so it is never remembered. */
function obstacleTo(
  accelerator: Accelerator,
  source: MachineSource,
  vmm: string | undefined,
): Obstacle | undefined {
  if (accelerator === 'netns') return undefined;
  const { program, debianPackage } = vmmPrograms[accelerator];
  if (vmm === undefined) {
    return { reason: `'${program}' is not installed`, fix: `apt-get install ${debianPackage}` };
  }
  return accelerator === 'kvm' ? kvmObstacle(source) : undefined;
}

function kvmObstacle(source: MachineSource): Obstacle | undefined {
  const { exists, readable, writable, error } = source.access('/dev/kvm');
  if (!exists) {
    const flags = source.readText('/proc/cpuinfo', 4096) ?? '';
    return /\b(?:vmx|svm)\b/.test(flags)
      ? { reason: '/dev/kvm does not exist', fix: 'as root: modprobe kvm_intel || modprobe kvm_amd' }
      : {
          reason: '/dev/kvm does not exist, and the CPU shows no virtualisation extension',
          fix: 'turn on VT-x or AMD-V in the firmware of the host (or nested virtualisation, if it is itself a guest)',
        };
  }
  if (readable && writable) return undefined;
  if (error === undefined || error === 'EACCES') {
    return {
      reason: '/dev/kvm may not be opened by this user (EACCES)',
      fix: `as root: usermod -aG kvm "$(id -un ${effectiveUid(source)})", then log in again`,
    };
  }
  if (error === 'EPERM') {
    return {
      reason: '/dev/kvm may not be opened in this job (EPERM: a device cgroup forbids it)',
      fix: 'ask the administrator to allow /dev/kvm in jobs (cgroup.conf: AllowedDevices, or ConstrainDevices=no)',
    };
  }
  return {
    reason: `/dev/kvm cannot be opened (${error})`,
    fix: 'see the log of the host: dmesg | grep -i kvm',
  };
}

function unusableNow(accelerator: Accelerator, { reason, fix }: Obstacle): AcceleratorVerdict {
  const provedAt = new Date().toISOString();
  return { accelerator, usable: false, reason, fix, proof: 'nothing', provedAt, seconds: 0 };
}

function keyOf(accelerator: Accelerator, source: MachineSource, vmm: string): VerdictKey {
  const binary = statSync(vmm, { throwIfNoEntry: false });
  return {
    accelerator,
    kernelRelease: source.readText('/proc/sys/kernel/osrelease')?.trim() ?? '',
    cpuModel: /^model name\s*:\s*(.*)$/m.exec(source.readText('/proc/cpuinfo', 2048) ?? '')?.[1] ?? '',
    uid: effectiveUid(source),
    vmmBytes: binary?.size ?? 0,
    vmmModifiedMs: Math.trunc(binary?.mtimeMs ?? 0),
  };
}

function effectiveUid(source: MachineSource): number {
  return Number(/^Uid:\s+\d+\s+(\d+)/m.exec(source.readText('/proc/self/status') ?? '')?.[1] ?? 0);
}

/** A name that tells a person what the file is about; different for every different key but for odd characters. */
export function verdictFileName(key: VerdictKey): string {
  const parts = [key.accelerator, key.kernelRelease, key.cpuModel, `uid${key.uid}`];
  const readable = parts.map((part) => part.replaceAll(/[^\w.+-]+/g, '_')).join('--');
  return `${readable.slice(0, 180)}--${key.vmmBytes.toString(36)}-${key.vmmModifiedMs.toString(36)}.json`;
}

/** An unusable accelerator is tried again when that takes a hundredth of the time since it was. */
const triesApart = 100;

/** A remembered verdict, or undefined when there is none, or none that still holds. */
export function readVerdict(
  file: string,
  bootId: string,
  nowMs: number = Date.now(),
): AcceleratorVerdict | undefined {
  try {
    const remembered = JSON.parse(readFileSync(file, 'utf8')) as Partial<RememberedVerdict>;
    const verdict = remembered.verdict;
    if (remembered.format !== 'lodge-accelerator-1' || typeof verdict?.usable !== 'boolean') return undefined;
    return verdict.usable || (remembered.bootId === bootId && isFresh(verdict, nowMs)) ? verdict : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whether it is too early to try an unusable accelerator again. What stood in its way may have been a busy host or a
 * limit of one shell. But each guest that hangs under KVM may be one that the host cannot kill.
 */
function isFresh({ accelerator, hung, provedAt, seconds }: AcceleratorVerdict, nowMs: number): boolean {
  if (accelerator === 'kvm' && hung === true) return true;
  const ageMs = nowMs - Date.parse(provedAt);
  return ageMs >= 0 && ageMs < triesApart * seconds * 1000;
}

/**
 * Remembers a verdict; readers see the whole of it or nothing.
 * @throws LodgeError `host-io` or `disk-full`
 */
export function writeVerdict(file: string, verdict: AcceleratorVerdict, bootId: string): void {
  const remembered: RememberedVerdict = { format: 'lodge-accelerator-1', bootId, verdict };
  const temporary = `${file}.${process.pid}-${process.hrtime.bigint().toString(36)}.tmp`;
  try {
    makeDirectory(join(file, '..'), 0o700);
    writeFileSync(temporary, `${JSON.stringify(remembered)}\n`);
    renameSync(temporary, file);
  } catch (cause) {
    throw hostIoError('remembering which accelerators are usable', file, cause, otherPlaceFix);
  }
}
