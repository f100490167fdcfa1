/**
 * What people get wrong and what goes wrong by itself: each gives one clear error with its code in brackets and the
 * exit code of docs/reference/errors.md, and leaves nothing behind.
 */

import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../src/errors.ts';
import { writeCpio } from '../../src/image/cpio.ts';
import { defaultKernel } from '../../src/image/kernel.ts';
import { openStore } from '../../src/image/store.ts';
import { homeOf, lodgePath, type RunOptions, type RunResult, Runtime, start, until } from './lodge.ts';

let here: Runtime;

beforeAll(() => {
  here = new Runtime();
});

afterEach(() => {
  expect(here.files()).toEqual([]);
  expect(here.processes().filter(({ line }) => !line.endsWith(' agent'))).toEqual([]);
});

afterAll(async () => {
  expect(await here.close()).toEqual([]);
});

/** Runs lodge, which has to end with one error of this code. @returns its standard error */
async function refused(
  code: ErrorCode,
  exit: number,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const { code: got, stdout, stderr } = await here.lodge(args, options);
  expect({ stderr, stdout: stdout.toString(), exit: got }).toEqual({
    stderr: expect.stringContaining(`[${code}]`),
    stdout: '',
    exit,
  });
  expect(stderr).toMatch(/^lodge: /);
  // One error, told once, and no stack of lodge's own.
  expect(stderr.match(/\[[a-z]+(-[a-z]+)*\]$/gm)).toHaveLength(1);
  expect(stderr).not.toMatch(/^ +at .*:\d+:\d+\)?$/m);
  return stderr;
}

/** A disk of a megabyte with nothing on it, in the working directory. @returns its name there */
function smallDisk(filler = 0): string {
  const disk = Buffer.alloc(1 << 20, filler);
  disk.fill(0, 440, 510).writeUInt16LE(0xaa55, 510);
  writeFileSync(join(here.work, 'small.disk.img'), disk);
  return 'small.disk.img';
}

describe('a command line', () => {
  it('whose environment is not UTF-8 is told so, and the rest of it is passed on', async () => {
    const line = `WRONG=$'a\\xffb' RIGHT=yes $LODGE run -a uml -- sh -c 'echo "$RIGHT\${WRONG-none}"'`;
    const { stdout, stderr } = await here.bash(line);
    expect([stdout.toString(), stderr]).toEqual(['yesnone\n', expect.stringContaining('WRONG is not UTF-8')]);
  });

  it('whose directories have names that are not UTF-8 is refused, and none is made in their stead', async () => {
    for (const name of ['LODGE_RUNTIME_DIR', 'LODGE_DATA_DIR', 'XDG_RUNTIME_DIR', 'XDG_DATA_HOME', 'HOME']) {
      const { code, stderr } = await here.bash(`mkdir odd && cd odd && ${name}=$PWD/$'a\\xffb' $LODGE ps`);
      expect([code, stderr]).toEqual([
        125,
        expect.stringMatching(`^lodge: ${name}: .*UTF-8.* \\[usage\\]\n  fix: `),
      ]);
      expect(readdirSync(join(here.work, 'odd'))).toEqual([]);
      rmSync(join(here.work, 'odd'), { recursive: true });
    }
  });

  it('with a umask that shuts out lodge itself is refused, and nothing is made', async () => {
    for (const [umask, helps] of [
      ['777', '0077'],
      ['0222', '0022'],
      ['107', '0007'],
    ]) {
      const line = `umask ${umask} && LODGE_RUNTIME_DIR=$PWD/masked $LODGE ps`;
      const { code, stderr } = await here.bash(line);
      expect([code, stderr]).toEqual([125, expect.stringContaining(`fix: umask ${helps}\n`)]);
      expect(existsSync(join(here.work, 'masked'))).toBe(false);
    }
  });

  it('that shares a directory with a colon in its path is told how, and that works', async () => {
    const odd = join(here.work, 'a:b');
    mkdirSync(odd);
    writeFileSync(join(odd, 'inside'), '');
    const share = (what: string): string[] => ['run', '-a', 'uml', '-v', what, '--', 'ls', '/mnt'];
    for (const what of [`${odd}:/mnt`, `${odd}:/mnt:ro`]) {
      expect(await refused('spec-value', 125, share(what))).toContain(
        '  fix: a directory with a colon in its path',
      );
    }
    expect(await refused('share-unusable', 125, share(odd))).toContain(
      'a directory with a colon in its path',
    );
    symlinkSync(odd, join(here.work, 'link'));
    const { stdout } = await here.lodge(share('./link:/mnt'));
    expect(stdout.toString()).toBe('inside\n');
  });

  it('without a PATH finds programs where the system looks for them', async () => {
    const line = 'env -i LODGE_RUNTIME_DIR="$LODGE_RUNTIME_DIR" $LODGE -q';
    const { stdout, stderr } = await here.bash(`${line} run -a uml -- sh -c 'echo "$PATH"'`);
    expect([stdout.toString(), stderr]).toEqual([
      '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n',
      '',
    ]);
    const planned = await here.bash(`${line} run -a tcg --dry-run -- true`);
    expect([planned.code, planned.stderr]).toEqual([0, '']);
  });

  it('that imports a file without a name names it like the file, and says what it replaces', async () => {
    const env = { LODGE_DATA_DIR: join(here.work, 'data') };
    const first = await here.lodge(['image', 'import', smallDisk()], { env });
    expect([first.stdout.toString(), first.stderr]).toEqual(['small.disk\n', '']);
    const again = await here.lodge(['image', 'import', 'small.disk.img'], { env });
    expect([again.stdout.toString(), again.stderr]).toEqual(['small.disk\n', '']);
    const other = await here.lodge(['image', 'import', smallDisk(1)], { env });
    expect([other.stdout.toString(), other.stderr]).toEqual([
      'small.disk\n',
      expect.stringContaining("'small.disk' named another image"),
    ]);
    // What can be removed is, whatever stands before it.
    const removed = await here.lodge(['image', 'rm', 'nosuch', 'small.disk'], { env });
    expect([removed.code, removed.stderr]).toEqual([125, expect.stringContaining("no image 'nosuch'")]);
    const left = await here.lodge(['--json', 'image', 'ls'], { env });
    expect(JSON.parse(left.stdout.toString())).toEqual([]);
  });

  it('that imports a file whose name can be none of an image asks for one, in words for a shell', async () => {
    const env = { LODGE_DATA_DIR: join(here.work, 'data') };
    const stderr = await refused('spec-value', 125, ['image', 'import', './my disk'], { env });
    expect(stderr).toContain("lodge image import './my disk' --name NAME");
  });

  it('that imports a disk with what does not go with it is refused, and nothing of that is kept', async () => {
    const env = { LODGE_DATA_DIR: join(here.work, 'none') };
    for (const flag of ['--initrd', '--kernel']) {
      const args = ['image', 'import', smallDisk(), flag, '/etc/passwd'];
      expect(await refused('usage', 125, args, { env })).toContain(`leave out ${flag}`);
    }
    expect(existsSync(env.LODGE_DATA_DIR)).toBe(false);
  });

  it.runIf(process.getuid!() === 0)('of a user whom nobody knows by name builds an image', async () => {
    const uid = 61_184;
    const { home, env } = homeOf(uid);
    const become = `cd / && setpriv --reuid=${uid} --regid=${uid} --clear-groups env -u HOME $LODGE`;
    const { code, stdout, stderr } = await here.bash(`${become} image build --closure true --name c`, {
      env,
    });
    expect([code, stdout.toString(), stderr]).toEqual([0, expect.stringMatching(/^c {2}/), '']);
    rmSync(home, { recursive: true });
  });

  it('that exports an image to - writes it to standard output, and nothing else', async () => {
    const env = { LODGE_DATA_DIR: join(here.work, 'data') };
    await here.lodge(['image', 'import', smallDisk()], { env });
    await here.lodge(['image', 'export', 'small.disk', 'whole.tar'], { env });
    const { code, stdout, stderr } = await here.lodge(['image', 'export', 'small.disk', '-'], { env });
    expect([code, stderr, existsSync(join(here.work, '-'))]).toEqual([0, '', false]);
    expect(stdout.equals(readFileSync(join(here.work, 'whole.tar')))).toBe(true);
    // Who stops reading has it end as by SIGPIPE.
    const line = '$LODGE image export small.disk - | head -c 1 >/dev/null; echo "$PIPESTATUS"';
    expect((await here.bash(line, { env })).stdout.toString()).toBe('141\n');
  });

  // For root no directory is shut.
  it.runIf(process.getuid!() === 0)(
    'that imports an archive which shuts its owner out leaves nothing',
    async () => {
      const { home, env } = homeOf(65_534);
      const script = `cd ${home} && mkdir -p image/shut/within && echo '{}' | tee image/oci-layout >image/index.json
      chmod 0 image/shut/within image/shut && tar -C image -cf image.tar . && chmod 755 . image/shut
      cd / && setpriv --reuid=65534 --regid=65534 --clear-groups $LODGE image import ${home}/image.tar`;
      const { code, stderr } = await here.bash(script, { env });
      expect([code, stderr]).toEqual([125, expect.stringContaining('[image-unreadable]')]);
      expect(readdirSync(join(home, 'data/tmp'))).toEqual([]);
      rmSync(home, { recursive: true });
    },
  );

  it('that imports ends when it is interrupted, and leaves nothing', async () => {
    const env = { LODGE_DATA_DIR: join(here.work, 'data') };
    const disk = join(here.work, smallDisk());
    // Nearly all of it is a hole, which takes no room but would take an hour to read.
    truncateSync(disk, 2 ** 42);
    const started = here.startLodge(['image', 'import', disk], { env });
    const making = join(here.work, 'data/tmp');
    await until('something is made', () => existsSync(making) && readdirSync(making).length > 0);
    started.child.kill('SIGINT');
    const { code, stderr } = await started.end;
    expect([code, stderr]).toEqual([125, expect.stringContaining('interrupted')]);
    expect(readdirSync(making)).toEqual([]);
    rmSync(disk);
  });

  it.each([
    { what: 'an unknown verb', args: ['rnu'], says: 'rnu' },
    { what: 'an unknown flag', args: ['run', '--nosuchflag', '--', 'true'], says: '--nosuchflag' },
    { what: 'a flag without its value', args: ['run', '--memory'], says: '--memory' },
    { what: 'a number that is none', args: ['run', '-c', 'two', '--', 'true'], says: 'two' },
    { what: 'exec of nothing', args: ['exec'], says: 'name' },
    { what: 'exec of nothing after --', args: ['exec', 'v01', '--'], says: 'lodge shell v01' },
    {
      what: 'a flag of exec after the name',
      args: ['exec', 'v01', '-u', 'root', '--', 'sh'],
      says: 'lodge exec -u … v01 -- COMMAND',
    },
    { what: 'help of exec after the name', args: ['exec', 'v01', '--help'], says: 'lodge exec --help … v01' },
    { what: 'a bad user, planned', args: ['run', '-n', '-a', 'uml', '-u', ':', '--', 'true'], says: "':'" },
    { what: 'a bad variable, planned', args: ['run', '-n', '-a', 'uml', '-e', '=x'], says: '=x' },
    {
      what: 'a detached command, planned',
      args: ['run', '-nd', '-a', 'uml', '--', 'true'],
      says: 'lodge exec',
    },
    { what: 'a variable without a name', args: ['run', '-a', 'uml', '-e', '=x', '--', 'true'], says: '=x' },
    { what: 'a detached command', args: ['run', '-a', 'uml', '-d', '--', 'true'], says: 'lodge exec' },
    { what: 'a user of no command', args: ['run', '-a', 'uml', '-d', '-u', 'root'], says: '--user' },
    { what: 'an initrd without a kernel', args: ['run', '--initrd', '/x'], says: '--kernel' },
    { what: 'a copy from here to here', args: ['cp', 'a', 'b'], says: 'NAME:' },
    { what: 'a copy to no path of a guest', args: ['cp', 'a', 'v01:'], says: "no path follows 'v01:'" },
    { what: 'a copy of nothing', args: ['cp', '', 'v01:/tmp'], says: 'empty' },
    { what: 'a bad user', args: ['run', '-a', 'uml', '-u', 'a b', '--', 'true'], says: 'a b' },
  ])('with $what is refused', async ({ args, says }) => {
    expect(await refused('usage', 125, args)).toContain(says);
  });

  it('that asks for two formats is refused', async () => {
    const { code, stderr } = await here.lodge(['--json', 'fabric', 'links', '--prometheus']);
    expect(code).toBe(125);
    expect(stderr).toContain('--json and --prometheus');
  });

  it('with a path of an image that user-mode Linux would read as something else is told so before anything is booted', async () => {
    mkdirSync(join(here.work, 'tree'));
    for (const name of ['a b', 'a,b', 'a:b', 'a"b']) {
      const image = `${name}.squashfs`;
      execFileSync('mksquashfs', ['tree', image, '-quiet'], { cwd: here.work, stdio: 'pipe' });
      const args = ['run', '-a', 'uml', '--image', `./${image}`, '--', 'true'];
      expect(await refused('driver-cannot', 125, args)).toContain(join(here.work, image));
    }
  });

  it('with directories whose paths look like parameters of a kernel boots none the less', async () => {
    const odd = join(here.work, 'a"b -- c init=');
    mkdirSync(odd, { mode: 0o700 });
    const env = { LODGE_RUNTIME_DIR: odd };
    const { code, stdout, stderr } = await here.lodge(['run', '-a', 'uml', '--', 'echo', 'up'], { env });
    expect({ code, stdout: stdout.toString(), stderr }).toEqual({ code: 0, stdout: 'up\n', stderr: '' });
    rmSync(odd, { recursive: true });
  });

  it('with bytes that are not UTF-8 is refused, as they would not arrive as they are', async () => {
    const { code, stderr } = await here.bash("$LODGE run -a uml -- cat $'caf\\xe9'");
    expect({ code, stderr }).toEqual({
      code: 125,
      stderr: expect.stringContaining('caf\\xe9: arguments must be UTF-8'),
    });
  });

  it('in a directory whose name is not UTF-8 is refused, unless nothing of it is shared', async () => {
    const cd = "mkdir -p $'caf\\xe9' && cd $'caf\\xe9' || exit 1;";
    const { code, stderr } = await here.bash(`${cd} $LODGE run -a uml -- true`);
    expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining('[share-unusable]') });
    const { stdout } = await here.bash(`${cd} $LODGE run -a uml --no-share --cwd / -- pwd`);
    expect(stdout.toString()).toBe('/\n');
  });

  it('whose input cannot be read is told so, and does not end well', async () => {
    const { code, stderr } = await here.bash('$LODGE run -a uml -- cat < /');
    expect({ code, stderr }).toEqual({
      code: 125,
      stderr: expect.stringMatching(/^lodge: standard input: .*EISDIR.* \[host-io\]/m),
    });
  });

  it.each([
    { what: 'an error of lodge', line: '$LODGE run -m much -- true 2>/dev/full', ends: 125 },
    { what: 'progress', line: "$LODGE -v run -a uml -- sh -c 'exit 3' 2>/dev/full", ends: 3 },
    { what: 'progress that nobody reads', line: "$LODGE -v run -a uml -- sh -c 'exit 3' 2> >(:)", ends: 3 },
    { what: "the command's errors", line: "$LODGE run -a uml -- sh -c 'echo no >&2' 2>/dev/full", ends: 125 },
  ])('whose standard error cannot take $what ends as it should', async ({ line, ends }) => {
    expect((await here.bash(line)).code).toBe(ends);
  });

  it.each([
    { what: 'the data directory', name: 'LODGE_DATA_DIR', path: '/proc/none' },
    { what: 'the runtime directory', name: 'LODGE_RUNTIME_DIR', path: '/proc/none' },
  ])('where $what cannot be is refused, with a way out', async ({ name, path }) => {
    const { code, stderr } = await here.lodge(['run', '-a', 'uml', '--', 'true'], { env: { [name]: path } });
    expect({ code, stderr }).toEqual({
      code: 125,
      stderr: expect.stringMatching(/\[host-io\]\n {2}fix: .*LODGE_DATA_DIR or LODGE_RUNTIME_DIR/),
    });
  });

  it.each([
    { what: 'a bad unit', args: ['-m', '12parsecs'], says: '12parsecs' },
    { what: 'a size without a unit', args: ['-m', '512'], says: '512' },
    { what: 'a time without a unit', args: ['--boot-timeout', '3'], says: '--boot-timeout' },
    { what: 'no time at all', args: ['--boot-timeout', '0s'], says: '--boot-timeout' },
    { what: 'a time longer than a timer', args: ['--boot-timeout', '1000h'], says: '500h' },
    { what: 'no CPUs', args: ['-c', '0'], says: '--cpus' },
    { what: 'an unknown accelerator', args: ['-a', 'xen'], says: 'tcg' },
    { what: 'a bad name', args: ['--name', 'Bad Name'], says: '--name' },
    { what: 'a name that is a path', args: ['--name', '../up'], says: '--name' },
    { what: 'bad CPUs to pin to', args: ['--pin', '0-', '-a', 'tcg'], says: '--pin' },
  ])('with $what is refused', async ({ args, says }) => {
    expect(await refused('spec-value', 125, ['run', ...args, '--', 'true'])).toContain(says);
  });

  it.each([
    { what: 'is missing', volume: '/no/such/place:/x' },
    { what: 'is a file', volume: '/etc/passwd:/x' },
    { what: 'would hide what the guest needs', volume: '/etc:/proc' },
    { what: 'would be hidden by what the guest needs', volume: '/etc:/run/x' },
    { what: 'has a target that is no path', volume: '/etc:there' },
  ])('with a volume that $what is refused', async ({ volume }) => {
    await refused('share-unusable', 125, ['run', '-a', 'uml', '-v', volume, '--', 'true']);
  });

  it('tells errors to scripts too', async () => {
    const { code, stdout } = await here.lodge(['--json', 'run', '-m', 'much', '--', 'true']);
    expect(code).toBe(125);
    expect(JSON.parse(stdout.toString())).toMatchObject({ error: { code: 'spec-value', where: '--memory' } });
  });

  it('that names a program which is not there is told so, whatever verb it is for', async () => {
    await refused('image-build', 125, ['image', 'build', '--closure', 'nosuch-program']);
  });

  it('takes words after -- as they are, and help before it', async () => {
    const { code, stdout } = await here.lodge(['run', '-a', 'uml', '--', 'echo', '--help', '--', '-c', '2']);
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: '--help -- -c 2\n' });
    expect((await here.lodge(['run', '--help'])).stdout.toString()).toContain('--boot-timeout');
  });
});

describe('a spec file', () => {
  async function refusedSpec(code: ErrorCode, yaml: string): Promise<string> {
    writeFileSync(join(here.work, 'spec.yaml'), yaml);
    return refused(code, 125, ['run', '--spec', 'spec.yaml', '--', 'true']);
  }

  it('with an unknown key is refused, with the place of it and the nearest key', async () => {
    const stderr = await refusedSpec('spec-unknown-key', 'cpus: 1\nmemroy: 2G\n');
    expect(stderr).toContain('spec.yaml:2:1');
    expect(stderr).toContain("'memory'");
  });

  it('with a wrong unit is refused, with the place of it', async () => {
    expect(await refusedSpec('spec-value', 'cpus: 1\nmemory: 2 parsecs\n')).toContain('spec.yaml:2:9');
  });

  it('that is not YAML is refused, with the place where it stops being so', async () => {
    expect(await refusedSpec('spec-syntax', 'cpus: [1\n')).toContain('spec.yaml:');
  });

  it('that is not there is refused', async () => {
    expect(await refused('usage', 125, ['run', '--spec', 'nosuch.yaml', '--', 'true'])).toContain(
      'nosuch.yaml',
    );
  });

  it('that is well is taken, and flags win over it', async () => {
    writeFileSync(join(here.work, 'spec.yaml'), 'accelerator: tcg\nmemory: 2G\nname: from-spec\n');
    const result = await here.lodge([
      '--json',
      'run',
      '--spec',
      'spec.yaml',
      '-m',
      '512M',
      '--dry-run',
      '--',
      'true',
    ]);
    expect(JSON.parse(result.stdout.toString())).toMatchObject({
      name: 'from-spec',
      accelerator: 'tcg',
      memoryBytes: 512 * 2 ** 20,
    });
  });
});

describe('a guest that cannot be given', () => {
  it('more vCPUs under user-mode Linux is refused at planning', async () => {
    await refused('driver-cannot', 125, ['run', '-a', 'uml', '-c', '2', '--dry-run', '--', 'true']);
  });

  it('less memory than any accelerator takes is refused, with how much would do', async () => {
    const said = await refused('accelerator-unusable', 125, ['run', '-m', '1M', '-n', '--', 'true']);
    expect(said).toMatch(/fix: --memory 96M$/m);
    expect(said).toMatch(/^lodge: --memory 1M: /);
  });

  it('more memory than the host has is refused at planning', async () => {
    expect(
      await refused('not-enough-memory', 125, ['run', '-m', '900T', '--dry-run', '--', 'true']),
    ).toContain('900T');
  });

  it('more open files than the shell allows is told, also where nobody knows yet what works here', async () => {
    const script = `
      least=16; until (ulimit -n $least; $LODGE --version) >/dev/null 2>&1; do ((least++)); done
      for n in $(seq $least 2 $((least + 10))); do (ulimit -n $n; $LODGE run -a netns -- true); done`;
    await here.done(['run', '-a', 'netns', '--', 'true']);
    const { home, env: anew } = homeOf(process.getuid!());
    for (const env of [{}, anew]) {
      const { stderr } = await here.bash(script, { env });
      expect(stderr).toMatch(/^lodge: .*EMFILE \[[a-z-]+\]$/m);
      expect(stderr).not.toContain('spawnargs');
    }
    rmSync(home, { recursive: true });
  });

  it('a name that is not there is told, with those that are', async () => {
    await refused('no-such-guest', 125, ['exec', 'nosuch', '--', 'true']);
    // A program whose name begins with a dash is one after --, wherever that stands.
    await refused('no-such-guest', 125, ['exec', 'nosuch', '--', '-u', 'root']);
    await refused('no-such-guest', 125, ['exec', '--', 'nosuch', '-u', 'root']);
    for (const verb of ['stop', 'rm', 'logs', 'console', 'shell'])
      await refused('no-such-guest', 125, [verb, 'nosuch']);
  });
});

describe('an image', () => {
  it('or kernel that is not there is told', async () => {
    await refused('kernel-not-found', 125, ['run', '--kernel', '/no/such/kernel', '--', 'true']);
    await refused('kernel-not-found', 125, ['run', '--kernel', '/no/such/kernel']);
    await refused('image-not-found', 125, ['run', '--image', './nosuch.qcow2']);
    await refused('image-not-found', 125, ['run', '--image', 'nosuch', '--', 'true']);
  });

  it('is refused when it is a kernel without the modules that it needs, before it boots', async () => {
    const { vmlinuxPath, modulesPath } = await defaultKernel(openStore());
    // The same kernel, but as a file of which nobody says where its modules are.
    const kernel = join(here.work, 'bare-vmlinux');
    const code = readFileSync(vmlinuxPath);
    const release = basename(modulesPath!);
    for (let at = code.indexOf(release); at >= 0; at = code.indexOf(release, at + 1)) code.write('9', at);
    writeFileSync(kernel, code);
    const stderr = await refused('kernel-not-found', 125, [
      'run',
      '-a',
      'tcg',
      '--kernel',
      kernel,
      '--',
      'true',
    ]);
    expect(stderr).toContain('not built in: virtio_pci, virtio_console, 9pnet_virtio, 9p, overlay');
    expect(stderr).toContain(`lodge: ${kernel}: `);
    rmSync(kernel);
  });

  it('that is no image is refused', async () => {
    writeFileSync(
      join(here.work, 'junk'),
      Buffer.from(Array.from({ length: 9000 }, (_, i) => (i * 7919) % 251)),
    );
    writeFileSync(join(here.work, 'empty'), '');
    for (const file of ['./junk', './empty', '/etc', '/dev/null']) {
      await refused('image-unreadable', 125, ['run', '--image', file]);
    }
    await refused('image-unreadable', 125, ['run', '--kernel', './junk', '--', 'true']);
  });

  it('that was cut short is refused', async () => {
    const disk = join(here.work, 'cut.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '64M']);
    execFileSync('qemu-io', ['-c', 'write 0 8M', disk]);
    truncateSync(disk, 1_000_000);
    expect(await refused('image-unreadable', 125, ['run', '--image', disk])).toContain('cut short');
    truncateSync(disk, 30);
    await refused('image-unreadable', 125, ['run', '--image', disk]);
  });

  it('that names other files of the host as its base is refused', async () => {
    const disk = join(here.work, 'backed.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/passwd', disk, '1M']);
    const { code, stderr } = await here.lodge(['run', '--image', disk]);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^lodge: .*\[image-unreadable\]/);
  });

  it('of another system cannot run a command', async () => {
    writeFileSync(join(here.work, 'disk.raw'), bootSector('x'));
    await refused('no-agent-in-guest', 125, ['run', '--image', './disk.raw', '--', 'true']);
  });
});

// For root no directory is shut.
describe.runIf(process.getuid!() === 0)('a data directory', () => {
  const uid = 61_185;
  const become = `cd / && setpriv --reuid=${uid} --regid=${uid} --clear-groups`;

  it.each([
    {
      what: 'shut to its owner',
      make: 'chmod 0 "$LODGE_DATA_DIR"',
      helps: /fix: chmod u\+rwx \S+\/data, or set /,
    },
    { what: 'of somebody else', make: 'chown 0 "$LODGE_DATA_DIR"', helps: /fix: set LODGE_DATA_DIR to / },
  ])('$what is told before anything is booted', async ({ make, helps }) => {
    const { home, env } = homeOf(uid);
    const { code, stderr } = await here.bash(`${make}; ${become} $LODGE run -a uml -- true`, { env });
    expect([code, stderr]).toEqual([125, expect.stringMatching(/^lodge: \S+\/data: .* \[host-io\]\n/)]);
    expect(stderr).toMatch(helps);
    const listed = await here.bash(`chmod 0 $LODGE_DATA_DIR; ${become} $LODGE image ls`, { env });
    expect(listed.stderr).toContain('[host-io]\n  fix: ');
    rmSync(home, { recursive: true });
  });
});

describe('a place for user-mode Linux', () => {
  const mounted = (options: string, variable: string): Promise<RunResult> =>
    here.bash(`
      mkdir -p place; unshare -rm sh -c 'mount -t tmpfs -o mode=700,${options} place place
      ${variable}=$PWD/place exec "$LODGE" run -a uml --no-share --cwd / -- true'`);

  it.each(['LODGE_RUNTIME_DIR', 'TMPDIR'])(
    'that is mounted noexec, by %s, is told as that',
    async (variable) => {
      const { code, stderr } = await mounted('noexec', variable);
      expect(stderr).toMatch(
        new RegExp(`fix: .*${variable}.* without noexec|noexec .*fix: .*${variable}`, 's'),
      );
      expect(code).toBeGreaterThan(122);
    },
  );

  it('that was found to be noexec by a probe guest is told as that', async () => {
    const { stdout } = await here.bash(`
      mkdir -p place own; unshare -rm sh -c 'mount -t tmpfs -o mode=700,noexec place place
      LODGE_DATA_DIR=$PWD/own TMPDIR=$PWD/place exec "$LODGE" doctor'`);
    expect(stdout.toString()).toMatch(/uml is not usable: .*must be not mounted noexec/);
  });

  it('that is full is told as that', async () => {
    const { stderr } = await mounted('size=64k', 'TMPDIR');
    expect(stderr).toMatch(/fix: .*free space there, or have TMPDIR name another/);
  });
});

describe('a runtime directory', () => {
  it('that others can get into is refused', async () => {
    const open = join(here.work, 'open');
    mkdirSync(open, { mode: 0o755 });
    await refused('host-io', 125, ['ps'], { env: { LODGE_RUNTIME_DIR: open } });
  });

  it('whose sockets would have too long a name is not even made', async () => {
    const long = join(here.work, 'too', 'long'.repeat(25));
    for (const args of [['run', '-a', 'uml', '--', 'true'], ['run', '-a', 'uml', '-d'], ['ps']]) {
      const stderr = await refused('host-io', 125, args, { env: { LODGE_RUNTIME_DIR: long } });
      expect(stderr).toContain('set LODGE_RUNTIME_DIR to a shorter path');
      expect(existsSync(join(here.work, 'too'))).toBe(false);
    }
  });

  it('that is relative is refused, with the path that was meant', async () => {
    const stderr = await refused('host-io', 125, ['ps'], { env: { LODGE_RUNTIME_DIR: 'a b' } });
    expect(stderr).toContain(`fix: LODGE_RUNTIME_DIR='${join(here.work, 'a b')}'\n`);
    expect(existsSync(join(here.work, 'a b'))).toBe(false);
  });

  it('whose sockets would have too long a name is refused before anything boots', async () => {
    const long = join(here.work, 'long'.repeat(25));
    mkdirSync(long, { mode: 0o700 });
    await refused('host-io', 125, ['run', '-a', 'uml', '--', 'true'], { env: { LODGE_RUNTIME_DIR: long } });
    expect(
      readdirSync(long).filter((name) => name === 'guests' && readdirSync(join(long, name)).length > 0),
    ).toEqual([]);
  });

  it.runIf(process.getuid!() === 0).each([
    ['uml', '16k'],
    ['uml', '256k'],
    ['tcg', '16k'],
  ])('on a full disk is told (%s, %s)', async (accelerator, size) => {
    const tiny = join(here.work, `tiny-${accelerator}-${size}`);
    mkdirSync(tiny);
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', tiny]);
    try {
      const args = ['run', '-a', accelerator, '--', 'cat'];
      await refused('disk-full', 125, args, {
        env: { LODGE_RUNTIME_DIR: tiny },
        input: Buffer.alloc(1_000_000),
      });
      expect(readdirSync(join(tiny, 'guests'))).toEqual([]);
    } finally {
      execFileSync('umount', ['-l', tiny]);
    }
  });
});

/**
 * A boot sector that writes 30 MB to its disk, 64 sectors at a time (INT 13h, AH=43h) from the second megabyte on. On
 * the serial line it says D when all is written, E when something was not; then it powers off.
 */
const writingBootSector =
  '31c08ed88ed0bc007c88165b7cb053e84200b80143b800438a165b7cbe5c7ccd13721db02ee82c00668306647c4066813e647c60ea0000' +
  '72d9b044e81600eb05b045e80f00b00ae80a00ba0406b80020eff4ebfd52baf803ee5ac30010004000000000100008';

it.runIf(process.getuid!() === 0)(
  'a disk whose changes find no room fails, and the guest goes on',
  async () => {
    const disk = join(here.work, 'writing.img');
    const sector = Buffer.alloc(512);
    Buffer.from(writingBootSector, 'hex').copy(sector);
    sector.writeUInt16LE(0xaa55, 510);
    writeFileSync(disk, sector);
    truncateSync(disk, 40 << 20);
    const run = ['run', '-a', 'tcg', '--image', disk];
    expect((await here.lodge(run)).stdout.toString()).toMatch(/\.D\n$/);
    const tiny = join(here.work, 'tiny-changes');
    mkdirSync(tiny);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', tiny]);
    try {
      const { code, stdout } = await here.lodge(run, { env: { TMPDIR: tiny } });
      expect([code, stdout.toString()]).toEqual([0, expect.stringMatching(/\.E\n$/)]);
    } finally {
      execFileSync('umount', [tiny]);
    }
  },
);

describe.each(['uml', 'tcg'])('a guest under %s', (accelerator) => {
  const run = (script: string, ...flags: string[]): string[] => [
    'run',
    '-a',
    accelerator,
    ...flags,
    '--',
    'sh',
    '-c',
    script,
  ];

  it('whose kernel panics under a command', async () => {
    const stderr = await refused('guest-panicked', 123, run('echo c >/proc/sysrq-trigger; sleep 100'));
    expect(stderr).toContain('sysrq triggered crash');
    expect(stderr).toContain('| ');
  });

  it('whose kernel panics before it is up', async () => {
    const append = ['--append', 'init=/nonexistent rdinit=/nonexistent'];
    expect(await refused('guest-panicked', 123, run('true', ...append))).toContain('Kernel panic');
  });

  it('that goes down under a command', async () => {
    // A program to wait with could be looked for when its disk is gone already.
    const script = 'echo o >/proc/sysrq-trigger; while :; do :; done';
    expect(await refused('guest-died', 123, run(script))).toContain('Power down');
  });

  it('whose process is killed under a command', async () => {
    const started = here.startLodge(run('echo started; sleep 100'), { input: '' });
    await until('the command runs', () => started.output() === 'started\n' || undefined);
    const [guest] = await here.ps();
    process.kill(guest!.vmmPid!, 'SIGKILL');
    const { code, stderr } = await started.end;
    expect(code).toBe(123);
    expect(stderr).toMatch(/killed by signal 9 \[guest-died\]\n( {2}\| .*\n)+ {2}fix: /);
  });

  it('whose keeper is killed under a command', async () => {
    const started = here.startLodge(run('echo started; sleep 100'), { input: '' });
    await until('the command runs', () => started.output() === 'started\n' || undefined);
    const keeper = here.processes().find(({ line }) => /\/keeper .*--lifeline/.test(line));
    process.kill(keeper!.pid, 'SIGKILL');
    const { code, stderr } = await started.end;
    expect({ code, stderr }).toEqual({ code: 123, stderr: expect.stringMatching(/\[[a-z-]+\]/) });
  });

  it('that fills its console with output leaves a log of bounded size', async () => {
    const started = here.startLodge(
      run('timeout 4 yes "$(seq 100 | tr "\\n" " ")" >/dev/console; echo done; read x', '--name', 'flood'),
    );
    let largest = 0;
    const dir = join(here.dir, 'guests/flood');
    await until('the flood is over', () => {
      const sizes = readdirNow(dir)
        .filter((name) => name.startsWith('console.log'))
        .map((name) => sizeNow(join(dir, name)));
      largest = Math.max(
        largest,
        sizes.reduce((a, b) => a + b, 0),
      );
      return started.output() === 'done\n' || undefined;
    });
    expect(largest).toBeGreaterThan(100_000);
    expect(largest).toBeLessThanOrEqual(8 * 2 ** 20);
    const log = await here.lodge(['logs', 'flood']);
    expect(log.stdout.length).toBeLessThanOrEqual(8 * 2 ** 20);
    // All of it, also through a pipe, which takes 64 KiB at once, and to a reader that is late.
    const late = await here.bash('$LODGE logs flood | (sleep 1; wc -c)');
    expect(Number(late.stdout.toString())).toBe(log.stdout.length);
    expect(log.stdout.length).toBeGreaterThan(100_000);
    const asJson = (await here.lodge(['logs', '--json', 'flood'])).stdout.toString();
    const values = asJson
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { guest: string; line: string });
    expect(new Set(values.map(({ guest }) => guest))).toEqual(new Set(['flood']));
    expect(values.map(({ line }) => line).join('\n')).toBe(log.stdout.toString().replace(/\n$/, ''));
    started.child.stdin!.end('\n');
    expect((await started.end).code).toBe(0);
  });
});

describe('a guest that does not come up', () => {
  it.each([
    // The files of its directory, and its memory.
    { limit: '-f 1', accelerator: 'uml', code: 'host-io', exit: 125, says: /EFBIG/ },
    { limit: '-f 100000', accelerator: 'uml', code: 'guest-died', exit: 123, says: /signal 25 \(SIGXFSZ\)/ },
    {
      limit: '-t 2',
      accelerator: 'tcg',
      code: 'guest-died',
      exit: 123,
      says: /signal 9: .* 2 s of CPU time/,
    },
    { limit: '-St 2', accelerator: 'tcg', code: 'guest-died', exit: 123, says: /signal 24 \(SIGXCPU\)/ },
  ])('that comes up against ulimit $limit', async ({ limit, accelerator, code: named, exit, says }) => {
    const line = `ulimit ${limit} && exec $LODGE -q run -a ${accelerator} -- true`;
    const { code, stderr } = await here.bash(line);
    expect([code, stderr]).toEqual([exit, expect.stringContaining(`[${named}]`)]);
    expect(stderr).toMatch(says);
    expect(stderr.split('\n').find((each) => each.startsWith('  fix: '))).toContain(
      `ulimit ${limit.slice(0, 2) === '-f' ? '-f' : '-t'} unlimited`,
    );
  });

  it('in its time is ended, with the end of its boot log', async () => {
    const args = ['run', '-a', 'tcg', '--boot-timeout', '1s', '--', 'true'];
    expect(await refused('boot-timeout', 124, args)).toContain('1s');
  });

  it('because its channel leads nowhere is ended too', async () => {
    const args = ['run', '-a', 'uml', '--boot-timeout', '3s', '--append', 'ssl0=null', '--', 'true'];
    expect(await refused('boot-timeout', 124, args)).toContain('3s');
  });

  it('is ended at Ctrl-C', async () => {
    // Its own limit does not come first.
    const args = ['run', '-a', 'uml', '--boot-timeout', '1h', '--append', 'ssl0=null', '--', 'true'];
    const started = here.startLodge(args, { input: '' });
    await until('it is being started', async () => (await here.ps())[0]?.status === 'starting' || undefined);
    started.child.kill('SIGINT');
    expect((await started.end).code).toBe(130);
  });

  it('goes on being started when it is detached, and who interrupts that is told', async () => {
    const args = [
      'run',
      '-d',
      '--name',
      'slow',
      '-a',
      'uml',
      '--boot-timeout',
      '1h',
      '--append',
      'ssl0=null',
    ];
    const started = here.startLodge(args, { input: '' });
    await until('it is being started', async () => (await here.ps())[0]?.status === 'starting' || undefined);
    started.child.kill('SIGINT');
    const { code, stderr } = await started.end;
    expect([code, stderr]).toEqual([130, expect.stringContaining("'slow' may go on being started")]);
    expect((await here.ps()).map(({ name }) => name)).toEqual(['slow']);
    await here.lodge(['rm', '-f', 'slow']);
  });

  it('is ended at Ctrl-C on a terminal, and leaves no line of progress there', async () => {
    const run = '$LODGE run -a uml --boot-timeout 1h --append ssl0=null -- true';
    const line = `exec 9<>keys; (TERM=xterm script -qec '${run}' /dev/null <keys >screen; echo $?) 9<&-`;
    const started = start(['bash', '-c', `mkfifo keys; ${line}`], {
      cwd: here.work,
      env: { LODGE: lodgePath, LODGE_RUNTIME_DIR: here.dir },
    });
    const screen = (): string => readFileSync(join(here.work, 'screen'), 'utf8');
    await until('it says so', () => existsSync(join(here.work, 'screen')) && screen().includes('booting'));
    writeFileSync(join(here.work, 'keys'), '\x03');
    expect((await started.end).stdout.toString()).toBe('130\n');
    expect(screen().endsWith('cleaning up…\r\x1b[K')).toBe(true);
  });
});

describe('a channel', () => {
  it('stays when the guest fills its line with rubbish, which only carries bells', async () => {
    const script = 'head -c 1000000 /dev/urandom >/dev/ttyS0; echo alive';
    const { code, stdout } = await here.lodge(['run', '-a', 'uml', '--', 'sh', '-c', script]);
    expect({ code, stdout: stdout.toString() }).toEqual({ code: 0, stdout: 'alive\n' });
  });

  it('whose memory the guest fills with rubbish is closed', async () => {
    const script = 'head -c 8192 /dev/urandom >/dev/mmapper; echo dead; sleep 100';
    await refused('channel-broken', 123, ['run', '-a', 'uml', '--', 'sh', '-c', script]);
  });

  it('that the guest wants to fill with rubbish is out of reach where it can be opened once', async () => {
    const script = 'for p in /dev/vport*; do head -c 1000000 /dev/urandom >$p; done';
    const { code, stderr } = await here.lodge(['run', '-a', 'tcg', '--', 'sh', '-c', script]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('busy') });
  });

  it('stays when somebody tries to kill the agent', async () => {
    const result = await here.lodge([
      'run',
      '-a',
      'uml',
      '--',
      'sh',
      '-c',
      'kill -9 1; kill -SEGV 1; echo alive',
    ]);
    // Process 1 cannot be killed from inside.
    expect({ code: result.code, stdout: result.stdout.toString() }).toEqual({ code: 0, stdout: 'alive\n' });
  });

  it('takes a command line and environment that are too long for it as an error', async () => {
    const args = ['run', '-a', 'uml', '--', 'echo', ...Array.from({ length: 3 }, () => 'x'.repeat(100_000))];
    await refused('command-not-executable', 126, args);
  });
});

describe('a foreign guest', () => {
  it('of a kernel and a first root of its own shows its console and ends with it', async () => {
    const { vmlinuxPath } = await defaultKernel(openStore());
    writeFileSync(join(here.work, 'init.c'), foreignInit);
    execFileSync('musl-gcc', ['-static', '-Os', '-o', join(here.work, 'init'), join(here.work, 'init.c')]);
    const init = execFileSync('cat', [join(here.work, 'init')], { maxBuffer: 2 ** 24 });
    const cpio = writeCpio([
      { kind: 'directory', path: 'dev' },
      { kind: 'device', path: 'dev/console', type: 'character', major: 5, minor: 1 },
      { kind: 'file', path: 'init', data: init, mode: 0o755 },
    ]);
    writeFileSync(join(here.work, 'initrd'), cpio);
    const result = await foreign([
      '--kernel',
      vmlinuxPath,
      '--initrd',
      'initrd',
      '-a',
      'tcg',
      '--append',
      'quiet',
    ]);
    expect(result).toMatchObject({ code: 0, text: expect.stringContaining('foreign init is up') });
  });

  it('of a multiboot kernel does', async () => {
    writeFileSync(join(here.work, 'multiboot.bin'), multibootKernel('multiboot is up\n'));
    const result = await foreign(['--kernel', 'multiboot.bin']);
    expect(result).toMatchObject({ code: 0, text: expect.stringContaining('multiboot is up') });
    // From the first byte on, which the firmware writes long before anybody has joined the console.
    expect(result.text).toContain('SeaBIOS');
  });

  it.runIf(existsSync('/boot/memtest86+x64.bin'))('of memtest86+ does', async () => {
    const started = here.startLodge([
      'run',
      '--kernel',
      '/boot/memtest86+x64.bin',
      '--append',
      'console=ttyS0',
    ]);
    await until('it tests', () => started.output().includes('Memtest86+') || undefined);
    started.child.kill('SIGINT');
    await started.end;
  });

  it.each(['raw', 'qcow2'])('on a %s disk does, and does not change the disk', async (format) => {
    const raw = join(here.work, 'boot.raw');
    const disk = join(here.work, `boot.${format}`);
    writeFileSync(raw, bootSector('the disk is up\r\n'));
    if (format !== 'raw') execFileSync('qemu-img', ['convert', '-O', format, raw, disk]);
    const before = execFileSync('sha256sum', [disk]).toString();
    const result = await foreign(['--image', disk]);
    expect(result).toMatchObject({ code: 0, text: expect.stringContaining('the disk is up') });
    expect(execFileSync('sha256sum', [disk]).toString()).toBe(before);
  });

  it('on a disk that boots nothing says so, and ends when told to', async () => {
    const disk = join(here.work, 'blank.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '16M']);
    const started = here.startLodge(['run', '--image', disk, '--name', 'blank']);
    await until('its firmware gives up', () => started.output().includes('No bootable device') || undefined);
    expect(await here.ps()).toMatchObject([{ name: 'blank', status: 'running', mode: 'foreground' }]);
    await refused('no-agent-in-guest', 125, ['exec', 'blank', '--', 'true']);
    // Two at once would be one. Nothing is there to hear of the power button.
    for (let i = 0; i < 2; i++) {
      started.child.kill('SIGTERM');
      await delay(500);
      expect(started.child.exitCode).toBeNull();
    }
    started.child.kill('SIGINT');
    expect((await started.end).code).toBe(143);
  });

  it('that does not heed its power button is ended all the same', async () => {
    const disk = join(here.work, 'deaf.qcow2');
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '16M']);
    const started = here.startLodge(['run', '--image', disk]);
    await until('its firmware gives up', () => started.output().includes('No bootable device') || undefined);
    started.child.kill('SIGTERM');
    const { code, stderr } = await started.end;
    expect({ code, stderr }).toEqual({ code: 143, stderr: expect.stringContaining('is ended in 10 s') });
  });

  async function foreign(flags: readonly string[]): Promise<{ code: number; text: string; stderr: string }> {
    const { code, stdout, stderr }: RunResult = await here.lodge(['run', ...flags]);
    return { code, text: stdout.toString(), stderr };
  }
});

const foreignInit = `
#include <stdio.h>
#include <unistd.h>
#include <sys/reboot.h>
int main(void) {
  puts("foreign init is up");
  fflush(stdout);
  sync();
  sleep(1);
  reboot(RB_POWER_OFF);
}
`;

/** Powers QEMU's Q35 off: sleep state S5 (0x2000) into the power management register that its firmware set up. */
const powerOffPort = 0x604;

/** A kernel that writes a text to the first serial line and powers off: Multiboot specification 0.6.96, 3.1. */
function multibootKernel(text: string): Buffer {
  const base = 0x10_0000;
  const headerBytes = 32;
  const code = Buffer.from([
    ...[0xbe, 0, 0, 0, 0], // mov esi, text
    ...[0xac, 0x84, 0xc0, 0x74, 0x07], // next: lodsb; test al, al; jz done
    ...[0x66, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf4], // mov dx, 0x3f8; out dx, al; jmp next
    ...[0x66, 0xba, powerOffPort & 0xff, powerOffPort >> 8], // done: mov dx, port
    ...[0x66, 0xb8, 0x00, 0x20, 0x66, 0xef], // mov ax, 0x2000; out dx, ax
    ...[0xf4, 0xeb, 0xfd], // hlt; jmp to it
  ]);
  code.writeUInt32LE(base + headerBytes + code.length, 1);
  const addressesAreGiven = 0x10000;
  const header = Buffer.alloc(headerBytes);
  const fields = [
    0x1bad_b002,
    addressesAreGiven,
    -(0x1bad_b002 + addressesAreGiven) >>> 0,
    base,
    base,
    0,
    0,
    base + headerBytes,
  ];
  fields.forEach((field, i) => {
    header.writeUInt32LE(field, i * 4);
  });
  return Buffer.concat([header, code, Buffer.from(`${text}\0`), Buffer.alloc(4096)]);
}

/** A disk whose first sector writes a text to the first serial line and powers off. */
function bootSector(text: string): Buffer {
  const code = Buffer.from([
    ...[0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0, 0], // xor ax, ax; mov ds, ax; mov si, text
    ...[0xac, 0x84, 0xc0, 0x74, 0x06], // next: lodsb; test al, al; jz done
    ...[0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf5], // mov dx, 0x3f8; out dx, al; jmp next
    ...[0xba, powerOffPort & 0xff, powerOffPort >> 8, 0xb8, 0x00, 0x20, 0xef], // done: mov dx, port; mov ax, 0x2000; out
    ...[0xf4, 0xeb, 0xfd], // hlt; jmp to it
  ]);
  code.writeUInt16LE(0x7c00 + code.length, 5);
  const disk = Buffer.alloc(2 ** 20);
  Buffer.concat([code, Buffer.from(`${text}\0`)]).copy(disk);
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
}

function readdirNow(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

function sizeNow(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
