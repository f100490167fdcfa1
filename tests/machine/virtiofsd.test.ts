import { describe, expect, it } from 'vitest';
import { recordedSource } from '../../src/machine/record.ts';
import type { MachineSource } from '../../src/machine/source.ts';
import { proveVirtiofsd, type VirtiofsdRequest, virtiofsdArguments } from '../../src/machine/virtiofsd.ts';

const ada = { uid: 1000, gid: 100 };
const root = { uid: 0, gid: 0 };
const cPath = '/usr/lib/qemu/virtiofsd';
const rustPath = '/usr/libexec/virtiofsd';
const c = { path: cPath, kind: 'c', translates: false } as const;
const rust = { path: rustPath, kind: 'rust', translates: true } as const;

/** The words of `--help` that tell them apart. */
const helpOf = {
  c: '    -o source=PATH             shared directory tree\n',
  rustOld: '        --shared-dir <shared-dir>\n',
  rust: '      --shared-dir <SHARED_DIR>\n      --translate-uid <MAP>\n      --readonly\n',
};

function request(more: Partial<VirtiofsdRequest>): VirtiofsdRequest {
  return { daemon: c, confinePath: 'confine', directory: '/data', readOnly: false, user: ada, ...more };
}

/** A host with one virtiofsd, and what command lines give there. */
function hostWith(
  path: string,
  runs: Record<string, { code: number; stdout?: string; stderr?: string }>,
): MachineSource {
  return recordedSource({
    format: 'lodge-machine-1',
    arch: 'x86_64',
    files: {},
    directories: {},
    access: { [path]: { exists: true, readable: true, writable: false } },
    freeBytes: {},
    environment: {},
    programs: {},
    runs: Object.fromEntries(
      Object.entries(runs).map(([line, { code, stdout = '', stderr = '' }]) => [
        line,
        { code, stdout, stderr },
      ]),
    ),
  });
}

const prove = (user: typeof ada, source: MachineSource) => proveVirtiofsd(user, source, () => 'confine');

describe('the command line of virtiofsd', () => {
  it('of QEMU, for an ordinary user: in a user namespace, within the limit of open files', () => {
    expect(virtiofsdArguments(request({ readOnly: true }), ['--for', 'x']).join(' ')).toBe(
      `confine --user --read-only /data --for x -- ${cPath} --fd=3 --rlimit-nofile=0 -o source=/data -o sandbox=namespace,cache=auto,timeout=0,xattr,announce_submounts,log_level=err`,
    );
  });

  it('of QEMU keeps a path with commas and backslashes in one piece', () => {
    expect(virtiofsdArguments(request({ directory: '/a,b\\c' }))).toContain('source=/a\\,b\\\\c');
  });

  it('of the root of the host is one that does not make it the root', () => {
    expect(virtiofsdArguments(request({ directory: '/' })).join(' ')).toContain('sandbox=chroot');
    expect(virtiofsdArguments(request({ directory: '/', daemon: rust, user: root }))).toContain(
      '--sandbox=chroot',
    );
  });

  it('for root has neither', () => {
    const words = virtiofsdArguments(request({ user: root }));
    expect(words.slice(0, 3)).toEqual(['confine', '--', cPath]);
    expect(words.join()).not.toContain('rlimit');
  });

  it('of the Rust one, for an ordinary user: everybody in the guest is that user', () => {
    const words = virtiofsdArguments(request({ daemon: rust, readOnly: true }));
    expect(words.slice(0, 4)).toEqual(['confine', '--bare', '--', rustPath]);
    expect(words).toEqual(
      expect.arrayContaining([
        '--shared-dir=/data',
        '--sandbox=none',
        '--translate-uid=squash-guest:0:1000:4294967295',
        '--translate-gid=squash-guest:0:100:4294967295',
        '--readonly',
      ]),
    );
  });

  it('of the Rust one, for root: users are who they are, and read-only is a mount', () => {
    const words = virtiofsdArguments(request({ daemon: rust, user: root, readOnly: true }));
    expect(words.slice(0, 4)).toEqual(['confine', '--read-only', '/data', '--']);
    expect(words).toContain('--sandbox=namespace');
    expect(words.join()).not.toMatch(/translate|--readonly/);
  });
});

describe('whether virtiofsd works', () => {
  const tried = (daemon: VirtiofsdRequest['daemon'], user: typeof ada): string =>
    virtiofsdArguments(request({ daemon, user, directory: '/usr', readOnly: true }), ['--try']).join(' ');
  const help = { code: 0, stdout: helpOf.c };

  it('is found by starting it', async () => {
    const source = hostWith(cPath, { [`${cPath} --help`]: help, [tried(c, root)]: { code: 0 } });
    expect(await prove(root, source)).toMatchObject({ path: cPath, daemon: c });
  });

  it('is asked in a user namespace where it does not even tell what it is without', async () => {
    const source = hostWith(cPath, {
      [`${cPath} --help`]: { code: 1, stderr: 'setgroups() failed' },
      [`confine --user -- ${cPath} --help`]: help,
      [tried(c, ada)]: { code: 0 },
    });
    expect((await prove(ada, source)).daemon).toEqual(c);
  });

  it('is told with what it said, and what to do', async () => {
    const mute = hostWith(cPath, {
      [`${cPath} --help`]: { code: 1, stderr: 'setgroups() failed' },
      [`confine --user -- ${cPath} --help`]: { code: 125, stderr: 'confine: namespaces: not permitted\n' },
    });
    const verdict = await prove(ada, mute);
    expect(verdict.daemon).toBeUndefined();
    expect(verdict.reason).toContain('namespaces: not permitted');
    expect(verdict.fix).toContain('user namespace');
    const failing = hostWith(cPath, {
      [`${cPath} --help`]: help,
      [tried(c, root)]: { code: 1, stderr: 'mount(/proc): EPERM\n' },
    });
    expect(await prove(root, failing)).toEqual({
      path: cPath,
      reason: `${cPath} does not start: mount(/proc): EPERM`,
    });
  });

  it('is a matter of the version of the Rust one, for an ordinary user', async () => {
    const old = { ...rust, translates: false };
    const runs = { [tried(rust, ada)]: { code: 0 }, [tried(old, root)]: { code: 0 } };
    const oldHost = hostWith(rustPath, {
      ...runs,
      [`${rustPath} --help`]: { code: 0, stdout: helpOf.rustOld },
    });
    expect((await prove(ada, oldHost)).fix).toContain('1.13');
    expect((await prove(root, oldHost)).daemon).toEqual(old);
    const newHost = hostWith(rustPath, { ...runs, [`${rustPath} --help`]: { code: 0, stdout: helpOf.rust } });
    expect((await prove(ada, newHost)).daemon).toEqual(rust);
  });

  it('is no where there is none', async () => {
    const verdict = await prove(root, hostWith('/nowhere', {}));
    expect(verdict.path).toBeUndefined();
    expect(verdict.fix).toContain('install');
  });
});
