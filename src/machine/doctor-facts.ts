/** The facts the doctor judges: the machine, and what is installed on it. Gathered here, judged in `doctor-checks/`. */

import { packageOfProgram } from '../process.ts';
import type { AcceleratorVerdict } from './accelerators.ts';
import { probeLimits } from './basics.ts';
import type { MachineBasics, Topology } from './machine.ts';
import { probeTopology, probeUserNamespaces } from './probe.ts';
import type { Access, MachineSource } from './source.ts';
import { proveVirtiofsd, type VirtiofsdVerdict } from './virtiofsd.ts';

export interface DoctorFacts {
  machine: MachineBasics;
  /** Absent when hwloc is not installed or failed. */
  topology?: Topology;
  userNamespaces: { usable: boolean; reason: string };
  verdicts: AcceleratorVerdict[];
  virtiofs: VirtiofsdVerdict;
  /** Programs that were found, with their full path. */
  programs: Record<string, string>;
  /** The first line each program says of its version. */
  qemuVersion?: string;
  slurmVersion?: string;
  /** UEFI firmware for guests. */
  ovmfPath?: string;
  kernels: { path: string; readable: boolean }[];
  devices: { vhostVsock: Access; vhostNet: Access; tun: Access };
  /** The host is itself a guest. */
  virtualised: boolean;
  space: { what: 'data' | 'runtime'; path: string; freeBytes?: number }[];
}

export interface DoctorPlaces {
  dataDir: string;
  runtimeDir: string;
}

/** Debian package of programs that only the doctor asks for. */
export const packageOfOptionalProgram: Readonly<Record<string, string>> = {
  passt: 'passt',
  hpcc: 'hpcc',
  'mpiexec.openmpi': 'openmpi-bin',
  NPopenmpi: 'netpipe-openmpi',
  'rsvg-convert': 'librsvg2-bin',
};

const slurmPrograms = ['srun', 'sbatch', 'slurmd'];

/** Where distributions put OVMF: Debian and Ubuntu, Fedora and RHEL, Arch. */
const ovmfPaths = [
  '/usr/share/OVMF/OVMF_CODE_4M.fd',
  '/usr/share/OVMF/OVMF_CODE.fd',
  '/usr/share/edk2/ovmf/OVMF_CODE.fd',
  '/usr/share/edk2/x64/OVMF_CODE.4m.fd',
];

/** Gathers the facts. Never fails for something that is missing: that it is missing is the fact. */
export async function gatherDoctorFacts(
  source: MachineSource,
  places: DoctorPlaces,
  verdicts: AcceleratorVerdict[],
): Promise<DoctorFacts> {
  const machine = probeLimits(source);
  const programs: Record<string, string> = {};
  const wanted = [
    ...Object.keys(packageOfProgram),
    ...Object.keys(packageOfOptionalProgram),
    ...slurmPrograms,
  ];
  for (const name of wanted) {
    const path = source.findProgram(name);
    if (path !== undefined) programs[name] = path;
  }
  const firstLine = async (argv: string[]): Promise<string | undefined> =>
    (await source.run(argv))?.stdout.split('\n')[0]?.trim();
  const [topology, userNamespaces, virtiofs, qemuVersion, slurmVersion] = await Promise.all([
    probeTopology(source, machine).catch(() => undefined),
    probeUserNamespaces(source),
    proveVirtiofsd(machine.user, source),
    programs['qemu-system-x86_64'] === undefined ? undefined : firstLine(['qemu-system-x86_64', '--version']),
    programs.srun === undefined ? undefined : firstLine(['srun', '--version']),
  ]);
  const ovmfPath = ovmfPaths.find((path) => source.access(path).readable);
  return {
    machine,
    ...(topology === undefined ? {} : { topology }),
    userNamespaces,
    verdicts,
    virtiofs,
    programs,
    ...(qemuVersion === undefined ? {} : { qemuVersion }),
    ...(slurmVersion === undefined ? {} : { slurmVersion }),
    ...(ovmfPath === undefined ? {} : { ovmfPath }),
    kernels: source
      .listDirectory('/boot')
      .filter((name) => name.startsWith('vmlinuz-'))
      .map((name) => ({ path: `/boot/${name}`, readable: source.access(`/boot/${name}`).readable })),
    devices: {
      vhostVsock: source.access('/dev/vhost-vsock'),
      vhostNet: source.access('/dev/vhost-net'),
      tun: source.access('/dev/net/tun'),
    },
    virtualised: /^flags\s*:.*\bhypervisor\b/m.test(source.readText('/proc/cpuinfo', 4096) ?? ''),
    space: [spaceAt(source, 'data', places.dataDir), spaceAt(source, 'runtime', places.runtimeDir)],
  };
}

/** Free space where a directory is or will be: of the nearest directory above it that exists. */
function spaceAt(
  source: MachineSource,
  what: 'data' | 'runtime',
  path: string,
): DoctorFacts['space'][number] {
  for (let at = path; ; at = at.slice(0, at.lastIndexOf('/'))) {
    const freeBytes = source.freeBytes(at === '' ? '/' : at);
    if (freeBytes !== undefined) return { what, path, freeBytes };
    if (at === '' || !at.includes('/')) return { what, path };
  }
}
