import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { usableAccelerators } from '../../src/machine/accelerators.ts';
import {
  diagnose,
  doctorExitCode,
  doctorReport,
  fixCommands,
  renderReport,
} from '../../src/machine/doctor.ts';
import { type Finding, findingGroups } from '../../src/machine/doctor-checks/finding.ts';
import { type DoctorFacts, gatherDoctorFacts } from '../../src/machine/doctor-facts.ts';
import type { MachineSource } from '../../src/machine/source.ts';
import { type MachineName, machineNames, recorded, sourceOf } from './recorded.ts';

const places = { dataDir: '/home/u/.local/share/lodge', runtimeDir: '/run/user/1000/lodge' };

/** The facts of a source on which every guest boots that nothing forbids. */
async function factsOf(source: MachineSource): Promise<DoctorFacts> {
  const stateDir = mkdtempSync(join(tmpdir(), 'lodge-doctor-'));
  const verdicts = await usableAccelerators({
    stateDir,
    source,
    boot: async () => ({ booted: true, reason: 'a probe guest booted', seconds: 0.8 }),
  });
  rmSync(stateDir, { recursive: true });
  return gatherDoctorFacts(source, places, verdicts);
}

async function findingsOf(name: MachineName): Promise<Map<string, Finding>> {
  const findings = diagnose(await factsOf(recorded(name)));
  return new Map(findings.map((finding) => [finding.id, finding]));
}

const severities = (findings: Map<string, Finding>, ...ids: string[]): (string | undefined)[] =>
  ids.map((id) => findings.get(id)?.severity);

describe.each(machineNames)('%s', (name) => {
  it('gets findings with unique ids, in the order of the groups, all with their meaning', async () => {
    const findings = diagnose(await factsOf(recorded(name)));
    expect(new Set(findings.map((finding) => finding.id)).size).toBe(findings.length);
    const order = findings.map((finding) => findingGroups.indexOf(finding.group));
    expect(order).toEqual(order.toSorted((a, b) => a - b));
    expect(new Set(order).size).toBe(findingGroups.length);
    for (const finding of findings) {
      expect(finding.meaning).not.toBe('');
      expect(`${finding.found}${finding.meaning}`).not.toMatch(/undefined|NaN|null/);
    }
    expect(doctorExitCode(findings)).toBe(0);
  });
});

describe('findings', () => {
  it('of a laptop', async () => {
    const findings = await findingsOf('laptop');
    expect(severities(findings, 'accelerators.kvm', 'accelerators.uml', 'accelerators.tcg')).toEqual([
      'pass',
      'note',
      'pass',
    ]);
    expect(severities(findings, 'accelerators.nested-paging', 'accelerators.tcg-migration')).toEqual([
      'pass',
      'note',
    ]);
    expect(severities(findings, 'cpus.governor', 'cpus.turbo', 'cpus.smt')).toEqual(['note', 'note', 'note']);
    expect(findings.get('images.kernel')?.severity).toBe('pass');
    expect(findings.get('memory.memlock')?.found).toContain('8M');
    expect(findings.get('memory.huge-pages')?.fix?.command).toContain('echo 4096');
    expect(fixCommands([...findings.values()])).toEqual([
      expect.stringMatching(/^apt-get install .*\blz4 .*musl-tools .*user-mode-linux/),
    ]);
  });

  it('of a cluster node without the right to KVM', async () => {
    const findings = await findingsOf('two-socket-smt');
    expect(severities(findings, 'accelerators.kvm', 'network.user-namespaces', 'slurm.client')).toEqual([
      'warn',
      'warn',
      'pass',
    ]);
    expect(findings.get('network.user-namespaces')?.found).toContain('No space left on device');
    expect(findings.get('cpus.numa-balancing')?.fix?.command).toContain('numa_balancing=0');
    expect(findings.get('images.kernel')?.fix?.command).toContain('chmod +r /boot/vmlinuz-4.18.0');
    expect(findings.get('accelerators.tcg-migration')).toBeUndefined();
    expect(fixCommands([...findings.values()])).toContain(
      'usermod -aG kvm "$(id -un 20001)"  # then log in again',
    );
  });

  it('of a machine prepared for guests, but unevenly', async () => {
    const findings = await findingsOf('epyc-eight-numa');
    expect(findings.get('memory.huge-pages')).toMatchObject({ severity: 'warn' });
    expect(findings.get('memory.huge-pages')?.fix?.command).toContain('/node*/hugepages');
    expect(findings.get('cpus.topology')?.found).toBe('2 sockets, 8 NUMA nodes, 64 cores, 128 threads');
    expect(severities(findings, 'network.tap', 'images.uefi', 'benchmarks.netpipe', 'cpus.governor')).toEqual(
      Array(4).fill('pass'),
    );
    expect(fixCommands([...findings.values()])).toEqual([
      'apt-get install -y --no-install-recommends librsvg2-bin',
    ]);
  });

  it('of even pools, and KVM without nested paging', async () => {
    const findings = await findingsOf('sub-numa');
    expect(severities(findings, 'memory.huge-pages', 'accelerators.nested-paging')).toEqual(['pass', 'warn']);
    expect(findings.get('memory.huge-pages')?.found).toContain('node 3: 1000 of 1024 of 2M free');
  });

  it('of a confined job', async () => {
    const findings = await findingsOf('confined-job');
    expect(findings.get('cpus.share')?.found).toBe('this job may use 15 of 64 CPUs: 4-11,36-42');
    expect(findings.get('cpus.split-cores')?.found).toContain('1 core shared');
    expect(severities(findings, 'cpus.quota', 'memory.available', 'slurm.job')).toEqual([
      'warn',
      'note',
      'pass',
    ]);
    expect(findings.get('accelerators.kvm')?.fix?.advice).toContain('AllowedDevices');
  });

  it('of a machine with nothing on it', async () => {
    const findings = diagnose(await factsOf(sourceOf({})));
    const failed = findings.filter((finding) => finding.severity === 'fail');
    expect(failed.map((finding) => finding.id)).toEqual(['accelerators.any']);
    expect(doctorExitCode(findings)).toBe(1);
    const [install] = fixCommands(findings);
    expect(install).toContain('qemu-system-x86');
    expect(install).toContain('hwloc-nox');
    expect(install?.match(/qemu-system-x86/g)).toHaveLength(1);
  });
});

describe('the report', () => {
  it('is grouped, plain unless colours are asked for, and ends with what mends', async () => {
    const report = doctorReport(await factsOf(recorded('laptop')));
    const plain = renderReport(report);
    expect(plain.split('\n')[0]).toBe('accelerators');
    expect(plain).toContain('\n  PASS  kvm: a probe guest booted');
    expect(plain).toMatch(/\d+ pass, \d+ note, \d+ warn, 0 fail\n/);
    expect(plain).not.toContain('\u001b');
    const coloured = renderReport(report, { colour: true, all: true });
    expect(coloured).toContain('\u001b[32mPASS\u001b[0m');
    expect(coloured).toContain('lodge works on this machine');
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    expect(report.counts.pass + report.counts.note + report.counts.warn).toBe(report.findings.length);
  });
});
