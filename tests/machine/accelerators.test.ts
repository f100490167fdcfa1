import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type AcceleratorOptions,
  type AcceleratorVerdict,
  proveAccelerator,
  readVerdict,
  usableAccelerators,
  verdictFileName,
  writeVerdict,
} from '../../src/machine/accelerators.ts';
import { bootProbe, type ProbeGuest, type ProbeOutcome, umlProbe } from '../../src/machine/probe-guest.ts';
import type { MachineSource } from '../../src/machine/source.ts';
import { recorded, sourceOf } from './recorded.ts';

let stateDir: string;
let booted: ProbeGuest[];
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'lodge-accelerators-'));
  booted = [];
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

/** Options whose probe guests are not booted but end as told. */
function options(source: MachineSource, outcome: Partial<ProbeOutcome> = {}): AcceleratorOptions {
  return {
    stateDir,
    source,
    boot: async (guest) => {
      booted.push(guest);
      return { booted: true, reason: 'a probe guest booted', seconds: 0.5, ...outcome };
    },
  };
}

const kernel = async () => ({ path: '/k/vmlinux' });

describe('what needs no boot to be known', () => {
  it.each([
    ['two-socket-smt', 'EACCES', 'usermod -aG kvm "$(id -un 20001)"'],
    ['confined-job', 'device cgroup', 'AllowedDevices'],
  ] as const)('%s: KVM is not usable (%s)', async (name, reason, fix) => {
    const verdict = await proveAccelerator('kvm', options(recorded(name)));
    expect(verdict).toMatchObject({ usable: false, proof: 'nothing' });
    expect(verdict.reason).toContain(reason);
    expect(verdict.fix).toContain(fix);
    expect(booted).toEqual([]);
    expect(readdirSync(stateDir)).toEqual([]);
  });

  it('tells a missing module from a CPU without virtualisation', async () => {
    const withPrograms = (flags: string): MachineSource => ({
      ...sourceOf({ '/proc/cpuinfo': `flags\t: fpu ${flags}\n` }),
      findProgram: (name) => `/usr/bin/${name}`,
    });
    expect((await proveAccelerator('kvm', options(withPrograms('svm')))).fix).toContain('modprobe');
    expect((await proveAccelerator('kvm', options(withPrograms('sse2')))).fix).toContain('firmware');
  });

  it('says which package a missing VMM is in', async () => {
    const verdicts = await usableAccelerators(options(sourceOf({})));
    expect(verdicts.map((verdict) => [verdict.accelerator, verdict.usable, verdict.fix])).toEqual([
      ['kvm', false, 'apt-get install qemu-system-x86'],
      ['uml', false, 'apt-get install user-mode-linux'],
      ['tcg', false, 'apt-get install qemu-system-x86'],
      // Its programs are lodge's own.
      ['netns', true, undefined],
    ]);
  });
});

describe('what is booted', () => {
  it('is a kernel for KVM where there is one, with the CPU that guests get', async () => {
    const verdict = await proveAccelerator('kvm', { ...options(recorded('laptop')), kernel });
    expect(verdict).toMatchObject({ accelerator: 'kvm', usable: true, proof: 'kernel', seconds: 0.5 });
    const argv = booted[0]!.argv.join(' ');
    expect(argv).toContain('-accel kvm -cpu host');
    expect(argv).toContain('-kernel /k/vmlinux');
  });

  it('is firmware for KVM without a kernel, and a kernel as soon as there is one', async () => {
    const first = await proveAccelerator('kvm', options(recorded('laptop')));
    expect(first).toMatchObject({ usable: true, proof: 'firmware' });
    expect(first.reason).toContain('no kernel was at hand');
    const none = await proveAccelerator('kvm', {
      ...options(recorded('laptop')),
      kernel: async () => undefined,
    });
    expect(none).toEqual(first);
    const second = await proveAccelerator('kvm', { ...options(recorded('laptop')), kernel });
    expect(second.proof).toBe('kernel');
    expect(booted).toHaveLength(2);
  });

  it('is firmware for TCG, whose last word is the debug-exit port', async () => {
    await proveAccelerator('tcg', { ...options(recorded('laptop')), kernel });
    const image = booted[0]!.files!['firmware.bin']!;
    expect(image).toHaveLength(0x10000);
    expect([...image.slice(-16, -8)]).toEqual([0xb8, 0x2a, 0, 0xe7, 0xf4, 0xf4, 0xeb, 0xfd]);
    expect(booted[0]!.bootedExit).toBe(85);
  });
});

describe('what is remembered', () => {
  it('holds until the boot is asked for again', async () => {
    const first = await proveAccelerator('tcg', options(recorded('laptop')));
    expect(await proveAccelerator('tcg', options(recorded('laptop')))).toEqual(first);
    expect(booted).toHaveLength(1);
    await proveAccelerator('tcg', { ...options(recorded('laptop')), reprobe: true });
    expect(booted).toHaveLength(2);
    expect(readdirSync(stateDir)).toHaveLength(1);
  });

  it('is waited for in silence, while a boot is told before it begins', async () => {
    const told: string[] = [];
    const telling = {
      ...options(recorded('laptop')),
      onProbe: (name: string) => told.push(`${name} ${booted.length}`),
    };
    await proveAccelerator('tcg', telling);
    await proveAccelerator('tcg', telling);
    expect(told).toEqual(['tcg 0']);
  });

  it('holds for one kernel and user only', async () => {
    await proveAccelerator('tcg', options(recorded('laptop')));
    await proveAccelerator('tcg', options(recorded('two-socket-smt')));
    expect(booted).toHaveLength(2);
    expect(readdirSync(stateDir)).toHaveLength(2);
  });

  it('holds for one VMM binary only', () => {
    const key = {
      accelerator: 'kvm',
      kernelRelease: '6.1.0',
      cpuModel: 'A (R) B/C @ 2GHz',
      uid: 1000,
      vmmBytes: 100,
      vmmModifiedMs: 5,
    } as const;
    expect(verdictFileName(key)).toBe('kvm--6.1.0--A_R_B_C_2GHz--uid1000--2s-5.json');
    const others = [
      { ...key, accelerator: 'tcg' as const },
      { ...key, kernelRelease: '6.1.1' },
      { ...key, cpuModel: 'B' },
      { ...key, uid: 1 },
      { ...key, vmmBytes: 101 },
      { ...key, vmmModifiedMs: 6 },
    ];
    expect(new Set([key, ...others].map(verdictFileName)).size).toBe(7);
  });

  describe('of an unusable accelerator', () => {
    const [bootId, provedMs] = ['boot-1', Date.parse('2024-01-01T00:00:00.000Z')];
    const verdict: AcceleratorVerdict = {
      accelerator: 'uml',
      usable: false,
      reason: 'the probe guest ended with exit code 1',
      proof: 'kernel',
      provedAt: new Date(provedMs).toISOString(),
      seconds: 0.5,
    };
    const holds = (one: AcceleratorVerdict, afterSeconds: number, boot = bootId): boolean => {
      const file = join(stateDir, 'deep', 'verdict.json');
      writeVerdict(file, one, bootId);
      expect(readdirSync(join(stateDir, 'deep'))).toEqual(['verdict.json']);
      return readVerdict(file, boot, provedMs + afterSeconds * 1000) !== undefined;
    };

    it('holds until asking again takes but a hundredth of the time, or the host boots', () => {
      expect([0, 49, 51, -1].map((seconds) => holds(verdict, seconds))).toEqual([true, true, false, false]);
      expect(holds({ ...verdict, hung: true, seconds: 60 }, 5999)).toBe(true);
      expect(holds({ ...verdict, hung: true, seconds: 60 }, 6001)).toBe(false);
      expect(holds(verdict, 0, 'boot-2')).toBe(false);
      expect(holds({ ...verdict, usable: true }, 1e9, 'boot-2')).toBe(true);
    });

    it('holds until the host boots where a guest hung under KVM, which may not be killed', () => {
      const hung: AcceleratorVerdict = { ...verdict, accelerator: 'kvm', hung: true, seconds: 20 };
      expect([holds(hung, 1e9), holds(hung, 0, 'boot-2')]).toEqual([true, false]);
    });

    it('is found anew when what stood in the way is gone', async () => {
      const unlucky = options(recorded('laptop'), { booted: false, reason: 'no memory', seconds: 0 });
      expect(await proveAccelerator('tcg', unlucky)).toMatchObject({
        usable: false,
        fix: expect.stringContaining('lodge doctor'),
      });
      expect(await proveAccelerator('tcg', options(recorded('laptop')))).toMatchObject({ usable: true });
    });
  });

  it.each(['', '{', 'null', '{"format":"lodge-accelerator-1"}', '{"format":"x","verdict":{"usable":true}}'])(
    'is not believed when it reads %j',
    (text) => {
      const file = join(stateDir, 'bad.json');
      writeFileSync(file, text);
      expect(readVerdict(file, '')).toBeUndefined();
    },
  );

  it('is not needed: a state directory that cannot be written is no obstacle', async () => {
    const blocked = join(stateDir, 'file');
    writeFileSync(blocked, '');
    const verdict = await proveAccelerator('tcg', { ...options(recorded('laptop')), stateDir: blocked });
    expect(verdict.usable).toBe(true);
    expect(readFileSync(blocked, 'utf8')).toBe('');
  });
});

describe('booting a probe guest', () => {
  const shell = (script: string, more: Partial<ProbeGuest> = {}): ProbeGuest => ({
    argv: ['sh', '-c', script],
    ...more,
  });
  const limits = { silentMs: 800, totalMs: 10_000 };

  it('knows by its output or its exit code that it booted', async () => {
    const byOutput = shell('echo Linux; echo up and running; sleep 60', { bootedOutput: /up and running/ });
    expect(await bootProbe(byOutput)).toMatchObject({ booted: true });
    expect(await bootProbe(shell('exit 85', { bootedExit: 85 }))).toMatchObject({ booted: true });
    const withFile = shell('test "$(cat f)" = x && exit 3', {
      bootedExit: 3,
      files: { f: Buffer.from('x') },
    });
    expect(await bootProbe(withFile)).toMatchObject({ booted: true });
  });

  it('removes what one has left there that was killed long ago', async () => {
    vi.stubEnv('TMPDIR', stateDir);
    try {
      for (const name of ['lodge-probe-old', 'lodge-probe-new', 'other-old']) {
        mkdirSync(join(stateDir, name, 'probe'), { recursive: true });
        const hours = name.endsWith('-old') ? 2 : 0;
        utimesSync(join(stateDir, name), Date.now() / 1000, Date.now() / 1000 - hours * 3600);
      }
      await bootProbe(shell('exit 85', { bootedExit: 85 }));
      expect(readdirSync(stateDir).sort()).toEqual(['lodge-probe-new', 'other-old']);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it('says why it did not', async () => {
    const complaining = shell('echo "qemu-system-x86_64: warning: x" >&2; echo "error: no MSR" >&2; exit 1');
    expect((await bootProbe(complaining)).reason).toBe(
      'the probe guest ended with exit code 1: error: no MSR',
    );
    const panicking = shell('echo "Kernel panic - not syncing: Fatal exception"; sleep 60');
    expect((await bootProbe(panicking)).reason).toContain('Fatal exception');
    expect((await bootProbe({ argv: ['/does/not/exist'] })).reason).toContain('No such file');
  });

  it('does not wait for a silent one, but for one that still talks', async () => {
    const hung = await bootProbe(shell('echo one; sleep 60'), limits);
    expect(hung).toMatchObject({ booted: false, hung: true });
    expect(hung.reason).toBe("the probe guest hung: its last words were 'one' within 800ms");
    const slow = shell('for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done; echo done', {
      bootedOutput: /done/,
    });
    expect(await bootProbe(slow, limits)).toMatchObject({ booted: true });
    const endless = await bootProbe(shell('while :; do echo x; sleep 0.1; done'), {
      ...limits,
      totalMs: 600,
    });
    expect(endless).toMatchObject({ booted: false });
  });

  it('waits as long as the guest itself says it may take', async () => {
    const quick = shell('sleep 60', { timeLimits: { silentMs: 100, totalMs: 10_000 } });
    expect((await bootProbe(quick)).reason).toContain('within 100ms');
    // User-mode Linux is silent until it is up, so that silence says nothing of it.
    expect(umlProbe('linux.uml').timeLimits?.silentMs).toBe(umlProbe('linux.uml').timeLimits?.totalMs);
  });
});
