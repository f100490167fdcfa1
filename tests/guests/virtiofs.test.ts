/** Directories shared by virtiofs, in real guests under tcg: by root, and by an ordinary user. */

import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../src/image/store.ts';
import { proveVirtiofsd } from '../../src/machine/virtiofsd.ts';
import { lodgePath, processesOf, type RunOptions, type RunResult, Runtime, run, until } from './lodge.ts';

const uid = 54_321;
const isRoot = process.getuid!() === 0;
/** Programs that serve, of all guests of these tests. */
const servers = (here: Runtime): number =>
  here.processes().filter(({ line }) => line.includes('virtiofsd')).length;

const byRoot = await proveVirtiofsd({ uid: process.getuid!(), gid: process.getgid!() });

/** Maps a file for writing, and changes its first bytes. */
const mapper = `
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
int main(int argc, char **argv) {
  int fd = open(argv[1], O_RDWR);
  char *bytes = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (bytes == MAP_FAILED) return 1;
  memcpy(bytes, argv[2], strlen(argv[2]));
  return msync(bytes, 4096, MS_SYNC) < 0 ? 2 : 0;
}`;

const flags = ['-a', 'tcg', '--mount-type', 'virtiofs'];

describe.skipIf(!isRoot || byRoot.daemon === undefined)('by virtiofs, for root', () => {
  let here: Runtime;
  let readOnly: string;
  let open: string;
  const at = (name: string): string => join(here.work, name);

  /** A shell line in the shared guest, in the shared working directory; as root. */
  async function inGuest(script: string): Promise<string> {
    const { code, stdout, stderr } = await here.lodge(['exec', 'g', '--', 'sh', '-c', script]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.toString();
  }

  beforeAll(async () => {
    here = new Runtime();
    readOnly = join(here.work, '../ro, too');
    mkdirSync(readOnly);
    open = join(here.work, '../open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    writeFileSync(join(readOnly, 'file'), 'from the host\n');
    writeFileSync(at('map.c'), mapper);
    const made = await run(['musl-gcc', '-static', '-o', at('map'), at('map.c')]);
    expect(made).toMatchObject({ code: 0, stderr: '' });
    const volumes = ['-v', `${readOnly}:/mnt/ro:ro`, '-v', `${open}:/mnt/open`];
    const started = await here.lodge(['run', '-d', ...flags, '--name', 'g', ...volumes]);
    expect(started, started.stderr).toMatchObject({ code: 0 });
  });

  afterAll(async () => {
    expect(await here.close()).toEqual([]);
  });

  it('directories come by virtiofs, also one with a comma in its name', async () => {
    const mounted = await inGuest('while read -r _ path type _; do echo $type $path; done </proc/mounts');
    for (const path of [here.work, '/mnt/ro', '/mnt/open']) expect(mounted).toContain(`virtiofs ${path}\n`);
    expect(await inGuest('cat /mnt/ro/file')).toBe('from the host\n');
  });

  it('owners and modes are the same on both sides, whoever sets them', async () => {
    await inGuest('echo x >owned; chown 1234:5678 owned; chmod 2640 owned; mkdir sub; chown 7:8 sub');
    expect(statSync(at('owned'))).toMatchObject({ uid: 1234, gid: 5678, mode: 0o102640 });
    expect(statSync(at('sub'))).toMatchObject({ uid: 7, gid: 8 });
    chownSync(at('owned'), 4321, 8765);
    chmodSync(at('owned'), 0o604);
    expect(await inGuest('stat -c "%u:%g %a" owned')).toBe('4321:8765 604\n');
  });

  it('a user there makes files that are theirs here', async () => {
    const script = 'echo x >file; ln -s file link; mkdir dir';
    const asked = ['exec', '-u', '1234:5678', '--cwd', '/mnt/open', 'g', '--', 'sh', '-c', script];
    expect(await here.lodge(asked)).toMatchObject({ code: 0, stderr: '' });
    for (const name of ['file', 'dir']) {
      expect(statSync(join(open, name))).toMatchObject({ uid: 1234, gid: 5678 });
    }
  });

  it('what one side writes, renames or removes is at once so on the other', async () => {
    for (const round of ['first', 'second, longer', 'third']) {
      writeFileSync(at('news'), round);
      expect(await inGuest('cat news')).toBe(round);
      await inGuest(`printf '%s' 'answer to ${round}' >news`);
      expect(readFileSync(at('news'), 'utf8')).toBe(`answer to ${round}`);
    }
    renameSync(at('news'), at('renamed'));
    expect(await inGuest('cat renamed; ls news 2>/dev/null || echo gone')).toBe('answer to thirdgone\n');
    await inGuest('mv renamed again; ls renamed 2>/dev/null || true');
    expect([existsSync(at('renamed')), existsSync(at('again'))]).toEqual([false, true]);
    rmSync(at('again'));
    expect(await inGuest('ls again 2>/dev/null || echo gone')).toBe('gone\n');
    await inGuest('echo x >short-lived; rm short-lived');
    expect(existsSync(at('short-lived'))).toBe(false);
  });

  it('a file that is open there shows what is written here', async () => {
    writeFileSync(at('open-file'), 'one\n');
    const reading = here.startLodge([
      ...['exec', 'g', '--', 'sh', '-c'],
      'exec 3<open-file; cat <&3; until [ -e more ]; do sleep 0.1; done; cat <&3',
    ]);
    await until('the first line', () => reading.output() === 'one\n');
    writeFileSync(at('open-file'), 'two\n', { flag: 'a' });
    writeFileSync(at('more'), '');
    expect((await reading.end).stdout.toString()).toBe('one\ntwo\n');
  });

  it('a file that is mapped there is written here, and read as it is here', async () => {
    writeFileSync(at('mapped'), Buffer.alloc(4096, '.'));
    await inGuest('./map mapped there');
    expect(readFileSync(at('mapped'), 'latin1').slice(0, 8)).toBe('there...');
    writeFileSync(at('mapped'), Buffer.alloc(4096, '-'));
    await inGuest('./map mapped again');
    expect(readFileSync(at('mapped'), 'latin1').slice(0, 8)).toBe('again---');
  });

  it('a read-only volume cannot be written by root of the guest, also when it mounts it anew', async () => {
    const script =
      'mount -o remount,rw /mnt/ro; for c in "touch /mnt/ro/new" "rm -f /mnt/ro/file" "chmod 777 /mnt/ro/file" "chown 5 /mnt/ro"; do $c && echo "$c"; done; true';
    const { stdout, stderr } = await here.lodge(['exec', 'g', '--', 'sh', '-c', script]);
    expect(stdout.toString()).toBe('');
    expect(stderr.match(/Read-only file system/g)).toHaveLength(4);
    expect(readdirSync(readOnly)).toEqual(['file']);
  });

  it('a command whose virtiofsd is killed ends with an error, and its guest with it', async () => {
    const before = servers(here);
    const running = here.startLodge([
      'run',
      ...flags,
      '--name',
      'fg',
      '--',
      'sh',
      '-c',
      'echo up; sleep 1000',
    ]);
    await until('the command', () => running.output() === 'up\n', 120_000);
    const serving = here.processes().filter(({ line }) => /^\S+\/confine --for \S+\/fg\//.test(line));
    expect(serving.length).toBeGreaterThan(0);
    // The program itself, not what started it.
    const children = readFileSync(`/proc/${serving[0]!.pid}/task/${serving[0]!.pid}/children`, 'utf8');
    process.kill(Number(children), 'SIGKILL');
    const { code, stderr } = await running.end;
    expect(code).toBe(123);
    expect(stderr).toMatch(
      /the guest was ended, because what gave it \S+ by virtiofs was killed by signal 9/,
    );
    expect(servers(here)).toBe(before);
    expect(here.processes().filter(({ line }) => line.includes('/fg'))).toEqual([]);
    expect(here.files()).toEqual(['guests/g']);
  });

  it.each(['lodge', 'the keeper'])('nothing is left when %s is killed', async (which) => {
    const before = servers(here);
    const running = here.startLodge([
      'run',
      ...flags,
      '--name',
      'fg',
      '--',
      'sh',
      '-c',
      'echo up; sleep 1000',
    ]);
    await until('the command', () => running.output() === 'up\n', 120_000);
    expect(servers(here)).toBeGreaterThan(before);
    const ofGuest = () => here.processes().filter(({ line }) => line.includes('/guests/fg'));
    const keeper = ofGuest().find(({ line }) => line.includes('dist/keeper'))!;
    if (which === 'lodge') running.child.kill('SIGKILL');
    else process.kill(keeper.pid, 'SIGKILL');
    await running.end;
    await until('no process of the guest', () => ofGuest().length === 0 && servers(here) === before);
    await here.ps();
    expect(here.files()).toEqual(['guests/g']);
  });
});

describe.skipIf(!isRoot || byRoot.daemon === undefined)('by virtiofs, for an ordinary user', () => {
  let home: string;

  /** As that user, who is also in group 100. */
  function asUser(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const become = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--groups=100', '--inh-caps=-all'];
    return run([...become, ...argv], {
      cwd: home,
      ...options,
      env: {
        HOME: home,
        LODGE_RUNTIME_DIR: join(home, 'run'),
        LODGE_DATA_DIR: join(home, 'data'),
        XDG_DATA_HOME: undefined,
      },
    });
  }

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'lu-'));
    for (const name of ['run', 'data/objects']) mkdirSync(join(home, name), { recursive: true, mode: 0o700 });
    // What root's guests boot from, for each user has a store of their own.
    const { stdout } = await run([lodgePath, 'run', ...flags, '--dry-run', '--json', '--', 'true']);
    const { objects } = JSON.parse(stdout.toString()) as { objects: string[] };
    const store = openStore().path;
    for (const name of ['keys', ...objects.map((id) => `objects/${id}`)]) {
      cpSync(join(store, name), join(home, 'data', name), { recursive: true });
    }
    await run(['chown', '-R', `${uid}:${uid}`, home]);
    writeFileSync(join(home, 'of-root'), 'root\n');
    writeFileSync(join(home, 'of-group'), 'group\n');
    chownSync(join(home, 'of-group'), 0, 100);
    chmodSync(join(home, 'of-group'), 0o640);
  });

  afterAll(() => {
    expect(processesOf(home)).toEqual([]);
    rmSync(home, { recursive: true, force: true });
  });

  it('what they write is theirs on both sides, and what they may not on the host they may not', async () => {
    const script = [
      'echo mine >file; mkdir dir; ln -s file dir/link; stat -c %u:%g file dir dir/link',
      'chmod 600 file; mv file moved; cat of-root; { echo x >of-root; } 2>/dev/null || echo no',
      'chown 1 moved 2>/dev/null || echo no; rm -f dir/link',
    ].join('; ');
    const { code, stdout, stderr } = await asUser([
      lodgePath,
      '-q',
      'run',
      ...flags,
      '--',
      'sh',
      '-c',
      script,
    ]);
    const own = `${uid}:${uid}\n`;
    expect({ code, stderr, stdout: stdout.toString() }).toEqual({
      code: 0,
      stderr: '',
      stdout: `${own}${own}${own}root\nno\nno\n`,
    });
    expect(statSync(join(home, 'moved'))).toMatchObject({ uid, gid: uid, mode: 0o100600 });
    expect(readdirSync(join(home, 'dir'))).toEqual([]);
    expect(readFileSync(join(home, 'of-root'), 'utf8')).toBe('root\n');
    expect(readdirSync(join(home, 'run/guests'))).toEqual([]);
  });

  it('what root of the guest writes is theirs, what it may read is what they may, and :ro holds for it', async () => {
    mkdirSync(join(home, 'ro'));
    chownSync(join(home, 'ro'), uid, uid);
    const script = [
      'echo x >by-root; stat -c %u:%g by-root; chmod 700 by-root; cat of-group',
      'chown 0 by-root 2>/dev/null || echo no',
      'mount -o remount,rw /mnt; touch /mnt/new 2>/dev/null || echo no; ls /mnt',
    ].join('; ');
    const asked = ['run', ...flags, '-u', 'root', '-v', `${home}/ro:/mnt:ro`, '--', 'sh', '-c', script];
    const { code, stdout, stderr } = await asUser([lodgePath, '-q', ...asked]);
    expect({ code, stderr, stdout: stdout.toString() }).toEqual({
      code: 0,
      stderr: '',
      stdout: `${uid}:${uid}\ngroup\nno\nno\n`,
    });
    expect(statSync(join(home, 'by-root'))).toMatchObject({ uid, gid: uid, mode: 0o100700 });
    expect(readdirSync(join(home, 'ro'))).toEqual([]);
  });

  it.each([
    ['virtiofs', flags],
    ['9p', ['-a', 'tcg']],
  ])('what lies beyond a directory that they may only pass through is shared by %s', async (_, by) => {
    // Not in /tmp, of which a guest has its own.
    const passed = mkdtempSync('/var/tmp/lodge-passed-');
    const cwd = join(passed, 'own');
    mkdirSync(cwd);
    chownSync(cwd, uid, uid);
    chmodSync(passed, 0o711);
    const script = 'pwd; echo "by the guest" >file; touch ../file 2>/dev/null || echo no';
    const { code, stdout, stderr } = await asUser([lodgePath, '-q', 'run', ...by, '--', 'sh', '-c', script], {
      cwd,
    });
    expect({ code, stderr, stdout: stdout.toString() }).toEqual({
      code: 0,
      stderr: '',
      stdout: `${cwd}\nno\n`,
    });
    expect(readFileSync(join(cwd, 'file'), 'utf8')).toBe('by the guest\n');
    rmSync(passed, { recursive: true });
  });

  it('it is refused, and nothing else taken, where no user namespace can be had', async () => {
    // The kernel gives none to whoever has a root directory other than that of its mounts.
    mkdirSync(join(home, 'other'));
    const elsewhere = 'mount --rbind / "$0" && exec chroot "$0" env -C "$HOME" "$@"';
    const { code, stderr } = await run(
      [
        ...['unshare', '--mount', 'sh', '-c', elsewhere, join(home, 'other')],
        ...['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--groups=100', '--inh-caps=-all'],
        ...[lodgePath, 'run', ...flags, '--', 'true'],
      ],
      {
        env: { HOME: home, LODGE_RUNTIME_DIR: join(home, 'run'), LODGE_DATA_DIR: join(home, 'data') },
      },
    );
    expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining('[share-unusable]') });
    expect(stderr).toContain('max_user_namespaces');
    expect(readdirSync(join(home, 'run/guests'))).toEqual([]);
  });
});
