/** The doctor: findings out of facts, how they are shown, and what would mend them. */

import { checkAccelerators } from './doctor-checks/accelerators.ts';
import { checkBenchmarks } from './doctor-checks/benchmarks.ts';
import { checkCpus } from './doctor-checks/cpus.ts';
import { aptLine, describeFix, type Finding, findingGroups, type Severity } from './doctor-checks/finding.ts';
import { checkImages } from './doctor-checks/images.ts';
import { checkMemory } from './doctor-checks/memory.ts';
import { checkNetwork } from './doctor-checks/network.ts';
import { checkSlurm } from './doctor-checks/slurm.ts';
import type { DoctorFacts } from './doctor-facts.ts';

/** Everything there is to say about a machine, in the order of {@link findingGroups}. */
export function diagnose(facts: DoctorFacts): Finding[] {
  return [
    ...checkAccelerators(facts),
    ...checkMemory(facts),
    ...checkCpus(facts),
    ...checkNetwork(facts),
    ...checkImages(facts),
    ...checkBenchmarks(facts),
    ...checkSlurm(facts),
  ];
}

/** 1 when something failed, else 0: warnings are no reason for a script to stop. */
export function doctorExitCode(findings: readonly Finding[]): number {
  return findings.some((finding) => finding.severity === 'fail') ? 1 : 0;
}

/**
 * The command lines, to be run as root, that mend what can be mended without a decision: one that installs all
 * missing packages, then the others. Which packages: of everything found missing.
 */
export function fixCommands(findings: readonly Finding[]): string[] {
  const mendable = findings.filter((finding) => finding.severity !== 'pass');
  const packages = mendable.flatMap((finding) => finding.fix?.packages ?? []);
  const commands = mendable
    .filter((finding) => finding.fix?.automatic === true)
    .flatMap((finding) => finding.fix?.command ?? []);
  return [...(packages.length === 0 ? [] : [aptLine(packages)]), ...new Set(commands)];
}

/** How many there are of each severity. */
export function countFindings(findings: readonly Finding[]): Record<Severity, number> {
  const counts = { pass: 0, note: 0, warn: 0, fail: 0 };
  for (const finding of findings) counts[finding.severity]++;
  return counts;
}

/** What `lodge doctor --json` prints. */
export interface DoctorReport {
  hostname: string;
  findings: Finding[];
  counts: Record<Severity, number>;
  /** See {@link fixCommands}. */
  fixCommands: string[];
  exitCode: number;
}

/** @param others found beyond this machine; the last group is theirs */
export function doctorReport(facts: DoctorFacts, others: readonly Finding[] = []): DoctorReport {
  const findings = [...diagnose(facts), ...others];
  return {
    hostname: facts.machine.hostname,
    findings,
    counts: countFindings(findings),
    fixCommands: fixCommands(findings),
    exitCode: doctorExitCode(findings),
  };
}

/** SGR colours: green, none, yellow, red. */
const colours: Readonly<Record<Severity, string>> = { pass: '32', note: '36', warn: '33', fail: '31' };

/**
 * The report as lines for a terminal: what was found, and for all but PASS what it means and the fix.
 * @param colour whether to colour the severities
 * @param all whether to say what a PASS means, too
 */
export function renderReport(
  report: DoctorReport,
  { colour = false, all = false }: { colour?: boolean; all?: boolean } = {},
): string {
  const lines: string[] = [];
  const paint = (severity: Severity): string => {
    const word = severity.toUpperCase();
    return colour ? `\u001b[${colours[severity]}m${word}\u001b[0m` : word;
  };
  for (const group of findingGroups) {
    const findings = report.findings.filter((finding) => finding.group === group);
    if (findings.length === 0) continue;
    if (lines.length > 0) lines.push('');
    lines.push(group);
    for (const finding of findings) {
      lines.push(`  ${paint(finding.severity)}  ${finding.found}`);
      if (finding.severity === 'pass' && !all) continue;
      lines.push(`        ${finding.meaning}`);
      if (finding.fix !== undefined && finding.severity !== 'pass') {
        lines.push(`        fix: ${describeFix(finding.fix)}`);
      }
    }
  }
  const { pass, note, warn, fail } = report.counts;
  lines.push('', `${pass} pass, ${note} note, ${warn} warn, ${fail} fail`);
  if (report.fixCommands.length > 0) {
    lines.push('', 'to mend what can be mended at once, as root (or `lodge doctor --fix`):');
    lines.push(...report.fixCommands.map((command) => `  ${command}`));
  }
  return `${lines.join('\n')}\n`;
}
