import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkValue } from '../../src/check-value.ts';
import { LodgeError } from '../../src/errors.ts';
import { type PlanInput, planGuest } from '../../src/guest/planner.ts';
import { type GuestSpecInput, guestSpecSchema } from '../../src/guest/spec.ts';
import { colonFix } from '../../src/guest/volumes.ts';
import type { Image } from '../../src/image/image.ts';
import { probeMachine } from '../../src/machine/probe.ts';
import { readMachineRecord, recordedSource } from '../../src/machine/record.ts';

const machine = await probeMachine(
  recordedSource(
    readMachineRecord(new URL('../fixtures/machines/two-socket-smt.json', import.meta.url).pathname),
  ),
);

const host: Image = { kind: 'linux', name: 'host', id: 'host', root: { kind: 'host' } };
const packed: Image = {
  kind: 'linux',
  name: 'packed',
  id: 'a'.repeat(64),
  root: { kind: 'block', filesystem: 'squashfs', path: '/store/root,with comma.squashfs' },
};
const kernel = {
  id: 'k',
  release: '6.1',
  vmlinuxPath: '/store/vmlinux',
  modulesPath: '/store/modules',
  source: 'debian',
} as const;

function inputOf(asked: GuestSpecInput, more: Partial<PlanInput> = {}): PlanInput {
  return {
    spec: checkValue(asked, guestSpecSchema, () => 'spec'),
    name: 'v01',
    id: '0123456789abcdef',
    dir: '/run/lodge/guests/v01',
    image: host,
    accelerator: 'tcg',
    passedOver: [],
    boot: { kernel, initramfsPath: '/store/initramfs' },
    basics: machine,
    machine,
    user: { name: 'ada', uid: 1000, gid: 1000, groups: [1000], home: '/home/ada', shell: '/bin/bash' },
    cwd: '/scratch/run',
    takenCpus: [],
    objects: [],
    ...more,
  };
}

function refusalOf(input: PlanInput): LodgeError {
  try {
    planGuest(input);
  } catch (error) {
    if (error instanceof LodgeError) return error;
    throw error;
  }
  throw new Error('it was planned');
}

it('gives a multiboot kernel the module that was meant, or none', () => {
  const withInitrd = (format: 'multiboot' | 'bzimage', initrdPath: string): PlanInput =>
    inputOf({}, { image: { kind: 'kernel', name: 'k', kernelPath: '/k', format, initrdPath } });
  expect(planGuest(withInitrd('multiboot', '/a,b')).argv).toContain('/a,,b');
  expect(planGuest(withInitrd('bzimage', '/a, b')).argv).toContain('/a, b');
  expect(refusalOf(withInitrd('multiboot', '/a b'))).toMatchObject({ code: 'driver-cannot' });
});

describe('a plan', () => {
  it('is the same value for the same input, and can be written as JSON', () => {
    const plan = planGuest(inputOf({}));
    expect(planGuest(inputOf({}))).toEqual(plan);
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan);
  });

  it('shares the host read-only, and home and working directory at their own paths', () => {
    const plan = planGuest(inputOf({}));
    expect(plan.argv).toContain('local,id=share0,path=/,security_model=none,multidevs=remap,readonly=on');
    expect(plan.volumes.map(({ target }) => target)).toEqual(['/home/ada', '/scratch/run']);
    expect(planGuest(inputOf({ share: false })).volumes).toEqual([]);
  });

  it('shares nothing as a whole: a working directory of / is not made writable', () => {
    expect(planGuest(inputOf({}, { cwd: '/' })).volumes.map(({ target }) => target)).toEqual(['/home/ada']);
  });

  it('keeps a path with a comma in one piece', () => {
    const plan = planGuest(inputOf({}, { image: packed }));
    expect(plan.argv).toContain(
      'if=none,id=root,format=raw,readonly=on,file=/store/root,,with comma.squashfs',
    );
  });

  it('names the directory of the guest in every command line, so that its processes can be found', () => {
    for (const accelerator of ['tcg', 'kvm', 'uml'] as const) {
      const plan = planGuest(inputOf({}, { accelerator }));
      expect(plan.argv.some((word) => word.includes('/run/lodge/guests/v01/'))).toBe(true);
    }
  });

  it('refuses a command line that Linux under QEMU would hang with', () => {
    const bare: Image = { kind: 'kernel', name: 'k', kernelPath: '/k', format: 'bzimage' };
    const multiboot: Image = { ...bare, format: 'multiboot' };
    for (const image of [host, bare]) {
      const lineOf = (append: string): string => {
        const { argv } = planGuest(inputOf({ append }, { image }));
        return argv[argv.indexOf('-append') + 1]!;
      };
      const room = 2047 - lineOf('x').length + 1;
      expect(lineOf('y'.repeat(room)).length).toBe(2047);
      expect(refusalOf(inputOf({ append: 'y'.repeat(room + 3) }, { image }))).toMatchObject({
        code: 'driver-cannot',
        asked: ['append'],
        fix: expect.stringContaining('leave out 3 bytes'),
      });
    }
    expect(() => planGuest(inputOf({ append: 'y'.repeat(5000) }, { image: multiboot }))).not.toThrow();
  });

  it('has user-mode Linux measure no checksums of RAID, unless told which initcalls to leave out', () => {
    const wordsOf = (append: string): string[] =>
      planGuest(inputOf({ append }, { accelerator: 'uml' })).argv.filter((word) =>
        word.startsWith('initcall_blacklist'),
      );
    expect(wordsOf('')).toEqual(['initcall_blacklist=raid6_select_algo,calibrate_xor_blocks']);
    expect(wordsOf('quiet initcall_blacklist=none')).toEqual(['initcall_blacklist=none']);
  });

  it('lets a user-mode guest write its ring and what is shared without :ro, and QEMU be as it is', () => {
    const asked: GuestSpecInput = { volumes: ['/data:/data:ro', '/scratch:/s', '/home/ada/in:/in'] };
    const plan = planGuest(inputOf(asked, { accelerator: 'uml' }));
    expect(plan.writable).toEqual(['/home/ada', '/run/lodge/guests/v01/ring', '/scratch']);
    expect(planGuest(inputOf(asked)).writable).toBeUndefined();
    const whole = planGuest(inputOf({ volumes: ['/:/all'] }, { accelerator: 'uml' }));
    expect(whole.writable).toBeUndefined();
    expect(whole.notes.join('\n')).toContain('write what you can');
  });

  it('takes a directory alone for itself, also read-only, and tells whoever names it otherwise how', () => {
    const { volumes } = planGuest(inputOf({ volumes: ['/data', '/in:ro', '/out:rw'], share: false }));
    expect(volumes).toEqual([
      { source: '/data', target: '/data', readOnly: false },
      { source: '/in', target: '/in', readOnly: true },
      { source: '/out', target: '/out', readOnly: false },
    ]);
    const fixOf = (volume: string): unknown => {
      try {
        return planGuest(inputOf({ volumes: [volume] }));
      } catch (error) {
        return (error as LodgeError).fix;
      }
    };
    expect([fixOf('.'), fixOf('in'), fixOf('/tmp:in')]).toEqual([
      `write ${inputOf({}).cwd}`,
      `write ${inputOf({}).cwd}/in`,
      `write /tmp:/in; ${colonFix}`,
    ]);
  });

  it('refuses two volumes at one path in the guest, and names both', () => {
    const refused = (...volumes: string[]): [string, unknown] => {
      const { message, asked } = refusalOf(inputOf({ volumes }));
      return [message, asked];
    };
    expect(refused('/data:/x', '/in:/y', '/out:/x/')).toEqual([
      'two volumes are at /x in the guest: /data and /out',
      ['volumes', 2],
    ]);
    expect(refused('/data:/x', '/data:/x:ro')).toEqual([
      'two volumes are at /x in the guest: /data writable and /data read-only',
      ['volumes', 1],
    ]);
  });

  it('takes a volume beneath another, the same one twice, and one in the place of what is shared anyway', () => {
    const asked = ['/in:/x/y', '/data:/x', '/data:/x/', '/out:/home/ada', '/out:/scratch/run:ro'];
    const { volumes } = planGuest(inputOf({ volumes: asked }));
    expect(volumes.map(({ source, target }) => `${source}:${target}`)).toEqual([
      '/data:/x',
      '/out:/home/ada',
      '/out:/scratch/run',
      '/in:/x/y',
    ]);
  });

  it('has empty directories in the place of those that its user may only pass through on the way to volumes', () => {
    const unlisted = ['/home', '/scratch', '/scratch/run'];
    const ways = (more: Partial<PlanInput>): string[] =>
      planGuest(inputOf({ volumes: ['/data:/home/ada/in'] }, { unlisted, ...more }))
        .volumeSetup.filter(([, source]) => source === 'way')
        .map(([, , path]) => path!);
    const virtiofs = { daemon: { path: '/v', isC: true }, confinePath: '/c' } as never;
    expect(ways({})).toEqual(['/home']);
    expect(ways({ accelerator: 'uml' })).toEqual([]);
    expect(ways({ image: packed })).toEqual([]);
    expect(ways({ cwd: '/scratch/run/own' })).toEqual(['/home', '/scratch']);
    expect(ways({ virtiofs, cwd: '/scratch/run/own' })).toEqual(['/home', '/scratch']);
  });

  it('shares unasked what its user may list, and by 9p refuses the rest', () => {
    const unlisted = ['/scratch', '/scratch/run'];
    expect(planGuest(inputOf({}, { unlisted })).volumes.map(({ target }) => target)).toEqual(['/home/ada']);
    expect(planGuest(inputOf({}, { unlisted, accelerator: 'uml' })).volumes.length).toBe(2);
    const { code, message, asked } = refusalOf(inputOf({ volumes: ['/scratch:/s'] }, { unlisted }));
    expect([code, message, asked]).toEqual([
      'share-unusable',
      "you may not list '/scratch', so that QEMU cannot share it",
      ['volumes', 0],
    ]);
  });

  it('of a strict mirror starts paused, binds each node to its own, and is verified', () => {
    const plan = planGuest(inputOf({ cpus: 4, memory: '4G', numa: 'mirror' }, { accelerator: 'kvm' }));
    expect(plan.verifyPlacement).toBe(true);
    expect(plan.argv).toContain('-S');
    const backends = plan.argv.filter((word) => word.startsWith('memory-backend-'));
    expect(backends.length).toBe(plan.layout.nodes.length);
    plan.layout.nodes.forEach((node, i) => {
      expect(backends[i]).toContain(`host-nodes=${node.hostNode},policy=bind`);
    });
  });

  it.each<[string, GuestSpecInput, Partial<PlanInput>, string]>([
    ['two vCPUs under uml', { cpus: 2 }, { accelerator: 'uml' }, 'driver-cannot'],
    ['huge pages under uml', { pages: '2M' }, { accelerator: 'uml' }, 'driver-cannot'],
    ['another kernel under uml', { kernel: '/k' }, { accelerator: 'uml' }, 'driver-cannot'],
    [
      'an image with a comma in its path, under uml',
      {},
      { accelerator: 'uml', image: packed },
      'driver-cannot',
    ],
    ['more memory than the host has', { memory: '100T' }, {}, 'not-enough-memory'],
    [
      'pages the pools do not have',
      { pages: '1G', memory: '512G' },
      { accelerator: 'kvm' },
      'placement-unmet',
    ],
    ['a volume over /proc', { volumes: ['/tmp:/proc'] }, {}, 'share-unusable'],
    ['a volume at a relative path', { volumes: ['/tmp:data'] }, {}, 'share-unusable'],
    [
      'volumes in a foreign guest',
      { volumes: ['/tmp:/data'] },
      { image: { kind: 'kernel', name: 'k', kernelPath: '/k', format: 'bzimage' } },
      'driver-cannot',
    ],
    [
      'UEFI without its firmware',
      {},
      { image: { kind: 'disk', name: 'd', path: '/d', format: 'raw', firmware: 'uefi' } },
      'missing-program',
    ],
  ])('is refused for %s', (_, asked, more, code) => {
    const refusal = refusalOf(inputOf(asked, more));
    expect(refusal.code).toBe(code);
    expect(refusal.fix).toBeTruthy();
  });

  it('brings modules by a share of their own, but for those on the root', () => {
    const own = planGuest(inputOf({})).volumeSetup[0]!;
    expect(own.slice(0, 4)).toEqual(['mount', 'share3', `/lib/modules/${kernel.release}`, '9p']);
    const boot = {
      kernel: { ...kernel, modulesPath: '/lib/modules/6.1.0' },
      initramfsPath: '/store/initramfs',
    };
    const { setup, volumeSetup } = planGuest(inputOf({}, { boot }));
    expect(setup.filter(([, source]) => source === '/lodge/lower/lib/modules/6.1.0')).toHaveLength(1);
    expect(volumeSetup.map(([, , target]) => target)).not.toContain(`/lib/modules/${kernel.release}`);
  });

  describe('with virtiofs', () => {
    const virtiofs = {
      daemon: { path: '/usr/lib/qemu/virtiofsd', kind: 'c', translates: false },
      confinePath: '/lodge/dist/confine',
    } as const;
    const asked: GuestSpecInput = { 'mount-type': 'virtiofs', volumes: ['/data:/mnt:ro'] };

    it('has one program beside it for each directory, and the mount and device for each', () => {
      const plan = planGuest(inputOf(asked, { virtiofs }));
      expect(plan.beside.map(({ what }) => what)).toEqual([
        '/mnt by virtiofs',
        '/home/ada by virtiofs',
        '/scratch/run by virtiofs',
      ]);
      plan.beside.forEach(({ socket, argv }, i) => {
        const tag = socket.replace(/\.sock$/, '');
        expect(plan.argv.join(' ')).toContain(
          `-chardev socket,id=${tag},path=${socket} -device vhost-user-fs-pci,chardev=${tag},tag=${tag}`,
        );
        const mounted = plan.volumeSetup.find(([, source]) => source === tag);
        expect(mounted?.slice(0, 4)).toEqual(['mount', tag, plan.volumes[i]!.target, 'virtiofs']);
        expect(argv.slice(0, 2)).toEqual(['/lodge/dist/confine', '--user']);
        expect(argv).toContain(`${plan.dir}/${socket}`);
      });
      expect(plan.beside[0]!.argv).toContain('--read-only');
      expect(plan.beside[1]!.argv).not.toContain('--read-only');
      expect(plan.notes.join()).toContain("the host's root comes over 9p");
      expect(plan.argv).toContain('local,id=share0,path=/,security_model=none,multidevs=remap,readonly=on');
    });

    it('has all its memory where the programs beside it can map it, on any layout', () => {
      const layouts: GuestSpecInput[] = [
        {},
        { pages: '4K' },
        { cpus: 2, pin: true },
        { cpus: 4, memory: '4G', numa: 'mirror' },
        { memory: '1G', pages: '2M', placement: 'prefer' },
      ];
      for (const layout of layouts) {
        const plan = planGuest(inputOf({ ...asked, ...layout }, { virtiofs, accelerator: 'kvm' }));
        const backends = plan.argv.filter((word) => word.startsWith('memory-backend-'));
        expect(backends.length).toBe(plan.layout.nodes.length);
        for (const backend of backends) expect(backend).toMatch(/^memory-backend-memfd,.*share=on/);
      }
    });

    it('keeps the programs beside it off the vCPUs', () => {
      const plan = planGuest(inputOf({ ...asked, cpus: 2, pin: true }, { virtiofs, accelerator: 'kvm' }));
      expect(plan.layout.emulatorCpus.length).toBeGreaterThan(0);
      for (const { argv } of plan.beside) expect(argv.slice(0, 2)).toEqual(['taskset', '-c']);
    });

    it('needs none where nothing is shared', () => {
      expect(planGuest(inputOf({ 'mount-type': 'virtiofs', share: false }, { virtiofs })).beside).toEqual([]);
    });

    it('is refused where shared memory has no transparent huge pages and those are asked for', () => {
      const off = {
        ...machine,
        pages: { ...machine.pages, transparent: { enabled: 'always', shared: 'never' } },
      };
      const thp = { ...asked, pages: 'thp' } as const;
      expect(refusalOf(inputOf(thp, { virtiofs, machine: off })).message).toContain('shared memory');
      expect(planGuest(inputOf({ pages: 'thp' }, { machine: off })).layout.sharedMemory).toBe(false);
    });

    it.each(['9p', 'virtiofs'] as const)('under uml is refused, and %s as well', (type) => {
      const refusal = refusalOf(inputOf({ 'mount-type': type }, { accelerator: 'uml', virtiofs }));
      expect(refusal.code).toBe('driver-cannot');
      expect(refusal.message).toContain('hostfs');
    });

    it('is refused for a guest without an agent', () => {
      const image: Image = { kind: 'kernel', name: 'k', kernelPath: '/k', format: 'bzimage' };
      expect(refusalOf(inputOf({ 'mount-type': 'virtiofs', share: false }, { image })).code).toBe(
        'driver-cannot',
      );
    });
  });

  it('pins no two vCPUs to one CPU, and none to a CPU that is taken', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 16 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 7 })),
        (cpus, takenCpus) => {
          let plan: ReturnType<typeof planGuest>;
          try {
            plan = planGuest(inputOf({ cpus, memory: '1G', pin: true }, { accelerator: 'kvm', takenCpus }));
          } catch (error) {
            expect(error).toMatchObject({ code: 'placement-unmet' });
            return;
          }
          const pinned = plan.layout.vcpus.flatMap(({ hostCpus }) => hostCpus);
          expect(new Set(pinned).size).toBe(cpus);
          expect(pinned.filter((cpu) => takenCpus.includes(cpu))).toEqual([]);
        },
      ),
    );
  });
});
