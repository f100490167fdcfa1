/** Can guests boot here, and on what. */

import { packageOfProgram } from '../../process.ts';
import { formatTime } from '../../units.ts';
import type { AcceleratorVerdict } from '../accelerators.ts';
import type { DoctorFacts } from '../doctor-facts.ts';
import { type Finding, type Fix, findingMaker, type Severity } from './finding.ts';

const finding = findingMaker('accelerators');

const whatFor: Readonly<Record<AcceleratorVerdict['accelerator'], string>> = {
  kvm: 'guests run at the speed of the machine, with any number of vCPUs, large pages and NUMA',
  uml: 'Linux guests of one vCPU compute at native speed, without KVM and without root',
  tcg: 'any guest runs, emulated: many times slower than the machine',
  netns:
    'clusters may have members that are namespaces of this host: no virtual machines, some hundred kB each',
};

export function checkAccelerators(facts: DoctorFacts): Finding[] {
  const { verdicts, machine } = facts;
  const usable = verdicts
    .filter(({ accelerator, usable }) => usable && accelerator !== 'netns')
    .map((verdict) => verdict.accelerator);
  const findings = [
    usable.length > 0
      ? finding('pass', 'any', `guests boot on ${usable.join(', ')}`, 'lodge works on this machine')
      : finding('fail', 'any', 'no guest can boot', 'lodge can do nothing on this machine until one can', {
          packages: ['qemu-system-x86', 'user-mode-linux'],
        }),
    ...verdicts.map((verdict) => checkVerdict(verdict, usable)),
    ...checkQemuVersion(facts),
    checkVirtiofs(facts),
  ];
  if (machine.kvm.nestedPaging !== undefined) {
    findings.push(
      machine.kvm.nestedPaging
        ? finding('pass', 'nested-paging', 'KVM uses nested page tables', 'guest page tables cost no exits')
        : finding(
            'warn',
            'nested-paging',
            'KVM runs without nested page tables (EPT or NPT)',
            'every change a guest makes to its page tables traps: memory-heavy programs lose much',
            { advice: 'as root, load kvm_intel with ept=1 or kvm_amd with npt=1' },
          ),
    );
  }
  findings.push(
    machine.iommuGroups > 0
      ? finding(
          'pass',
          'iommu',
          `${machine.iommuGroups} IOMMU groups`,
          'devices can be given to guests (VFIO), by root or who owns /dev/vfio/GROUP',
        )
      : finding('note', 'iommu', 'no IOMMU', 'no device can be given to a guest (VFIO)', {
          advice:
            'turn on VT-d or AMD-Vi in the firmware, and boot with intel_iommu=on (Intel; AMD needs nothing)',
        }),
  );
  return findings;
}

function checkVerdict(verdict: AcceleratorVerdict, usable: readonly string[]): Finding {
  const { accelerator, reason } = verdict;
  if (verdict.usable) {
    const found = `${accelerator}: ${reason} in ${formatTime(verdict.seconds * 1000)}`;
    return finding('pass', accelerator, found, whatFor[accelerator]);
  }
  // Where KVM works, the others are a second choice.
  const severity: Severity = accelerator !== 'kvm' && usable.includes('kvm') ? 'note' : 'warn';
  return finding(
    severity,
    accelerator,
    `${accelerator} is not usable: ${reason}`,
    `with it, ${whatFor[accelerator]}`,
    verdict.fix === undefined ? undefined : fixOf(verdict.fix),
  );
}

/** Out of the one line of a verdict, what can be done by itself. */
function fixOf(line: string): Fix {
  const debianPackage = /^apt-get install (\S+)$/.exec(line)?.[1];
  if (debianPackage !== undefined) return { packages: [debianPackage] };
  const command = /^as root: ([^,]+)(.*)$/.exec(line);
  return command === null
    ? { advice: line }
    : { command: command[1]! + command[2]!.replace(/^, (.*)$/, '  # $1'), automatic: true };
}

function checkVirtiofs({ virtiofs }: DoctorFacts): Finding {
  const { daemon, reason, fix } = virtiofs;
  if (daemon !== undefined) {
    const found = `virtiofs: ${daemon.path} (${daemon.kind === 'c' ? 'the C one of QEMU' : 'the Rust one'}) works`;
    return finding(
      'pass',
      'virtiofs',
      found,
      'directories can come into guests of QEMU by `--mount-type virtiofs`',
    );
  }
  return finding(
    'note',
    'virtiofs',
    `no virtiofs: ${reason}`,
    'nothing is lost but `--mount-type virtiofs`: directories come into guests over 9p',
    fix === undefined ? undefined : { advice: fix },
  );
}

function checkQemuVersion(facts: DoctorFacts): Finding[] {
  const version = /version (\d+)\.(\d+)(?:\.(\d+))?/.exec(facts.qemuVersion ?? '');
  if (version === null) {
    const id = 'qemu-system-x86_64';
    if (facts.programs[id] !== undefined) {
      return [finding('warn', 'qemu', 'QEMU does not tell its version', 'it may not start at all')];
    }
    return [
      finding('warn', 'qemu', 'QEMU is not installed', 'only user-mode Linux guests can run', {
        packages: [packageOfProgram[id]!],
      }),
    ];
  }
  const [major, minor] = [Number(version[1]), Number(version[2])];
  const text = version[0].replace('version ', '');
  const tooOld = major < 7 || (major === 7 && minor < 2);
  const findings = [
    tooOld
      ? finding(
          'warn',
          'qemu',
          `QEMU ${text}`,
          'older than 7.2, which is the oldest that lodge is tried with',
        )
      : finding('pass', 'qemu', `QEMU ${text}`, 'new enough for all that lodge does'),
  ];
  // Mended upstream in March 2024, which is QEMU 9.0; Debian's 7.2.22 was seen without it.
  if (major < 9) {
    findings.push(
      finding(
        'note',
        'tcg-migration',
        `live migration of emulated guests is not safe with QEMU ${text}`,
        'pre-copy under tcg can corrupt the guest; KVM is not affected. lodge itself does not migrate guests yet',
        { advice: 'QEMU 9.0 or newer mends it' },
      ),
    );
  }
  return findings;
}
