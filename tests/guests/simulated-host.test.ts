/** The simulated host is what it says: topology, pools, a KVM that works, and a way to run commands in it. */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeCpio } from '../../src/image/cpio.ts';
import { installationDir } from '../../src/installation.ts';
import { leaveSimulatedHost, simulatedHost } from '../simulated-host/shared.ts';
import { compileStatic, type SimulatedHost } from '../simulated-host/simulated-host.ts';

let host: SimulatedHost;

beforeAll(async () => {
  host = await simulatedHost();
});

afterAll(leaveSimulatedHost);

describe('commands in the simulated host', () => {
  test('give their exit code, or 128 and the signal', async () => {
    expect((await host.run('exit 7')).code).toBe(7);
    expect((await host.run('kill -TERM $$')).code).toBe(143);
    expect((await host.run(['/no/such/program'])).code).toBe(127);
  });

  test('keep streams apart and bytes as they are', async () => {
    const stdin = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * 7) % 256));
    const { stdoutBytes, stderr } = await host.run('cat; echo told >&2', { stdin });
    expect(stdoutBytes.equals(stdin)).toBe(true);
    expect(stderr).toBe('told\n');
  });

  test('get words, environment and directory as given', async () => {
    const odd = `it's "a" $HOME \\ * \n end`;
    const { stdout } = await host.run(['sh', '-c', 'printf "%s|%s|%s" "$1" "$WORD" "$PWD"', 'sh', odd], {
      env: { WORD: odd },
      cwd: '/usr/lib',
    });
    expect(stdout).toBe(`${odd}|${odd}|/usr/lib`);
  });

  test('run as a plain user', async () => {
    const { stdout } = await host.run('id -u; id -G; grep CapEff /proc/self/status; echo $HOME', {
      uid: 65_534,
      groups: [107],
      env: { HOME: '/tmp' },
    });
    expect(stdout).toBe('65534\n65534 107\nCapEff:\t0000000000000000\n/tmp\n');
  });

  test('run at the same time', async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        host.output(
          `touch /tmp/here${i}; until [ $(ls /tmp/here* | wc -l) = 8 ]; do sleep 0.2; done; echo ${i}`,
        ),
      ),
    );
    expect(answers).toEqual(Array.from({ length: 8 }, (_, i) => `${i}\n`));
  });

  test('that hang are killed with all they started', async () => {
    await expect(host.run('echo before; sleep 4321 & sleep 4321', { timeoutMs: 1500 })).rejects.toThrow(
      'before',
    );
    await expect
      .poll(() => host.run('pgrep -f "^sleep 4321"'), { timeout: 20_000 })
      .toMatchObject({ code: 1 });
  });
});

describe('the simulated host', () => {
  test("has this machine's programs and files, and cannot change them", async () => {
    expect(await host.output(['node', '--version'])).toBe(`${process.version}\n`);
    const file = join(installationDir, 'LICENSE');
    expect(await host.output(['cat', file])).toBe(await readFile(file, 'utf8'));
    expect(await host.output(`echo changed > ${file}; cat ${file}`)).toBe('changed\n');
    expect(await readFile(file, 'utf8')).not.toBe('changed\n');
    await host.output(`rm ${file}`);
    expect(await readFile(file, 'utf8')).toContain('Apache License');
  });

  test('has two sockets, each a NUMA node, at distance 21', async () => {
    const text = await host.output(
      'cd /sys/devices/system; cat node/online node/node*/cpulist node/node*/distance cpu/cpu*/topology/physical_package_id',
    );
    expect(text.split('\n')).toEqual(['0-1', '0-1', '2-3', '10 21', '21 10', '0', '0', '1', '1', '']);
  });

  test('has a pool of 2M pages on each node', async () => {
    const text = await host.output(
      'cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages; stat -f -c %T /dev/hugepages',
    );
    expect(text).toBe('256\n256\nhugetlbfs\n');
  });

  test('has a kernel of its own where hosts have it', async () => {
    await host.output('test -r /boot/vmlinuz-$(uname -r) && test -r /lib/modules/$(uname -r)/modules.dep');
  });

  // kvm.test.ts proves as much, by lodge; this tells whether it is the host or lodge that fails.
  const withoutLodge = test.runIf(process.env.LODGE_TEST_FULL === '1');
  withoutLodge(
    'boots a guest under KVM with memory, pages and vCPUs where they are asked to be',
    async () => {
      const program = join(host.resultsPath, 'guest');
      await compileStatic(join(installationDir, 'tests/simulated-host/guest.c'), program);
      const initramfs = writeCpio([
        { kind: 'directory', path: 'dev' },
        { kind: 'device', path: 'dev/console', type: 'character', major: 5, minor: 1 },
        { kind: 'file', path: 'init', data: await readFile(program), mode: 0o755 },
      ]);
      await writeFile(join(host.resultsPath, 'guest.cpio'), initramfs);

      const inside = '/run/simulated-host/results';
      const memory = [0, 1].map((node) => ({
        object: `memory-backend-memfd,id=m${node},size=128M,hugetlb=on,hugetlbsize=2M,host-nodes=${node},policy=bind,prealloc=on`,
        node: `node,nodeid=${node},memdev=m${node},cpus=${node}`,
      }));
      const qemu = host.run(
        [
          ...['qemu-system-x86_64', '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
          ...['-name', 'guest,debug-threads=on', '-pidfile', '/run/guest.pid'],
          ...['-M', 'q35', '-accel', 'kvm', '-cpu', 'host', '-smp', '2,sockets=2,cores=1', '-m', '256M'],
          ...memory.flatMap(({ object, node }) => ['-object', object, '-numa', node]),
          ...['-numa', 'dist,src=0,dst=1,val=21'],
          ...['-kernel', `/boot/vmlinuz-${(await host.output('uname -r')).trim()}`],
          ...['-initrd', `${inside}/guest.cpio`, '-append', 'console=ttyS0 quiet mitigations=off panic=-1'],
          ...['-serial', `file:${inside}/guest.log`],
        ],
        { timeoutMs: 600_000 },
      );
      let ended: unknown;
      qemu.then(
        (result) => {
          ended = result;
        },
        (cause) => {
          ended = cause;
        },
      );
      // vCPU threads get their names a little after they start.
      const pin = `
      threads() { for task in /proc/$(cat /run/guest.pid)/task/*; do
        read -r name <$task/comm; [ "$name" = "CPU $1/KVM" ] && echo \${task##*/}; done; }
      for vcpu in 0 1; do
        while thread=$(threads $vcpu 2>/dev/null); [ -z "$thread" ]; do sleep 0.3; done
        taskset -pc $((vcpu * 2 + 1)) $thread >/dev/null; echo $thread >/run/vcpu$vcpu
      done`;
      await host.output(pin, { timeoutMs: 300_000 });
      const log = join(host.resultsPath, 'guest.log');
      let said = '';
      while (!said.includes('guest is up') && ended === undefined) {
        await delay(200);
        said = await readFile(log, 'utf8').catch(() => '');
      }
      expect(ended).toBeUndefined();

      expect(said).toContain('node0/cpulist: 0');
      expect(said).toContain('node1/cpulist: 1');
      expect(said).toContain('node0/distance: 10 21');
      expect(said).toContain('node1/distance: 21 10');
      expect(said).toContain('current_clocksource: kvm-clock');

      const seen = await host.output(`
      pid=$(cat /run/guest.pid)
      grep huge /proc/$pid/numa_maps
      for vcpu in 0 1; do
        set -- $(cat /proc/$pid/task/$(cat /run/vcpu$vcpu)/stat | sed 's/.*) //'); shift 36; echo "vcpu$vcpu on $1"
      done
      grep . /sys/kernel/debug/kvm/$pid-*/pages_*`);
      for (const node of [0, 1]) {
        expect(seen).toMatch(new RegExp(`bind:${node} .* huge .*N${node}=64 kernelpagesize_kB=2048`));
        expect(seen).toContain(`vcpu${node} on ${node * 2 + 1}\n`);
      }
      // Nearly all that the guest touched is mapped by pages of 2M in the nested table; 4K is for the first megabyte.
      expect(Number(/pages_2m:(\d+)/.exec(seen)?.[1])).toBeGreaterThan(16);

      await host.output('kill -9 $(cat /run/guest.pid)');
      expect((await qemu).code).toBe(137);
      const free = 'cat /sys/devices/system/node/node*/hugepages/hugepages-2048kB/free_hugepages';
      // Another file's guest may have pages of the same pools for as long as it boots.
      await expect.poll(() => host.output(free), { timeout: 300_000 }).toBe('256\n256\n');
    },
    600_000,
  );
});
