/** What images can be built, imported and booted, and whether there is room for them. */

import { packageOfProgram } from '../../process.ts';
import { formatSize } from '../../units.ts';
import type { DoctorFacts } from '../doctor-facts.ts';
import { type Finding, findingMaker, type Severity } from './finding.ts';

const finding = findingMaker('images');

interface Toolset {
  id: string;
  programs: string[];
  /** When one is missing. */
  severity: Severity;
  purpose: string;
}

const toolsets: readonly Toolset[] = [
  {
    id: 'guest-side',
    programs: ['musl-gcc'],
    severity: 'warn',
    purpose: "lodge's programs inside the guest are built with it; without, no command can be run in one",
  },
  {
    id: 'decompressors',
    programs: ['xz', 'zstd', 'lz4'],
    severity: 'warn',
    purpose: 'kernels are unpacked with them',
  },
  {
    id: 'packages',
    programs: ['dpkg-deb'],
    severity: 'warn',
    purpose: "Debian's kernels are unpacked with it where the host's own cannot be used",
  },
  {
    id: 'recipes',
    programs: ['mmdebstrap'],
    severity: 'note',
    purpose: 'images are built from recipes with it',
  },
  {
    id: 'filesystems',
    programs: ['mksquashfs', 'mkfs.erofs'],
    severity: 'note',
    purpose: 'read-only images are made with one of them',
  },
  { id: 'disks', programs: ['qemu-img'], severity: 'note', purpose: 'disk images are checked with it' },
  {
    id: 'oci',
    programs: ['skopeo', 'umoci'],
    severity: 'note',
    purpose: 'container images are imported with them',
  },
];

/** Below these, an image or a guest's state will not fit. */
const leastBytes = { data: 2 * 2 ** 30, runtime: 64 * 2 ** 20 } as const;

export function checkImages(facts: DoctorFacts): Finding[] {
  return [
    checkKernels(facts),
    ...toolsets.map((toolset) => checkToolset(facts, toolset)),
    facts.ovmfPath === undefined
      ? finding('note', 'uefi', 'no UEFI firmware', 'disks and ISOs that boot by UEFI cannot be run', {
          packages: ['ovmf'],
        })
      : finding('pass', 'uefi', `UEFI firmware: ${facts.ovmfPath}`, 'disks and ISOs can boot by UEFI'),
    ...checkSpace(facts),
  ];
}

function checkKernels({ kernels, machine }: DoctorFacts): Finding {
  const readable = kernels.filter((kernel) => kernel.readable);
  const running = readable.find((kernel) => kernel.path.endsWith(`vmlinuz-${machine.kernelRelease}`));
  const chosen = running ?? readable.at(-1);
  if (chosen !== undefined) {
    return finding(
      'pass',
      'kernel',
      `a kernel of the host can be read: ${chosen.path}`,
      'guests can boot it',
    );
  }
  const locked = kernels.at(-1);
  return locked === undefined
    ? finding(
        'note',
        'kernel',
        'the host has no kernel in /boot',
        "lodge brings Debian's generic kernel instead",
      )
    : finding(
        'note',
        'kernel',
        `${locked.path} may be read by root only`,
        "lodge brings Debian's generic kernel instead",
        { command: `chmod +r ${locked.path}` },
      );
}

function checkToolset(
  { programs }: DoctorFacts,
  { id, programs: wanted, severity, purpose }: Toolset,
): Finding {
  const missing = wanted.filter((name) => programs[name] === undefined);
  if (missing.length === 0) return finding('pass', id, `${wanted.join(', ')}: installed`, purpose);
  return finding(severity, id, `not installed: ${missing.join(', ')}`, purpose, {
    packages: missing.map((name) => packageOfProgram[name]!),
  });
}

function checkSpace({ space }: DoctorFacts): Finding[] {
  return space.map(({ what, path, freeBytes }) => {
    const id = `${what}-space`;
    const use = what === 'data' ? 'images are kept there' : 'the state of running guests is kept there';
    const other = `LODGE_${what.toUpperCase()}_DIR`;
    if (freeBytes === undefined) {
      return finding('warn', id, `the ${what} directory ${path} cannot be made`, use, {
        advice: `point ${other} at a directory you may write`,
      });
    }
    const found = `${formatSize(freeBytes)} free for the ${what} directory ${path}`;
    return freeBytes < leastBytes[what]
      ? finding('warn', id, found, `${use}: too little for one`, {
          advice: `free some, or point ${other} elsewhere`,
        })
      : finding('pass', id, found, use);
  });
}
