import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verifyStore } from '../../src/image/collect.ts';
import type { Kernel } from '../../src/image/image.ts';
import { buildInitramfs } from '../../src/image/initramfs.ts';
import { defaultKernel, neededModules, umlKernel } from '../../src/image/kernel.ts';
import { fetchDebianKernel } from '../../src/image/kernel-debian.ts';
import { kernelOf } from '../../src/image/kernel-file.ts';
import { openStore } from '../../src/image/store.ts';

// Fetches Debian's kernel for real, and boots it with an init that only loads the modules.
const root = mkdtempSync(join(tmpdir(), 'lodge-kernel-'));
const store = openStore(join(root, 'store'));
const agentPath = join(root, 'init');
afterAll(() => rmSync(root, { recursive: true, force: true }));

const initSource = `
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  char line[256];
  int loaded = 0, failed = 0;
  FILE *order = fopen("/lodge/modules.order", "r");
  while (order && fgets(line, sizeof line, order)) {
    line[strcspn(line, "\\n")] = 0;
    int file = open(line, O_RDONLY);
    if (syscall(SYS_finit_module, file, "", 0) == 0) loaded++;
    else { failed++; printf("cannot load %s: %s\\n", line, strerror(errno)); }
    close(file);
  }
  printf("loaded %d failed %d\\n", loaded, failed);
  fflush(stdout);
  reboot(RB_POWER_OFF);
}
`;

beforeAll(() => {
  writeFileSync(`${agentPath}.c`, initSource);
  execFileSync('musl-gcc', ['-static', '-O2', '-o', agentPath, `${agentPath}.c`]);
});

describe("Debian's kernel", () => {
  const progress: string[] = [];
  let kernel: Kernel;

  beforeAll(async () => {
    const fetched = await fetchDebianKernel(store, (text) => progress.push(text));
    kernel = kernelOf(store, fetched.record, fetched.object);
  });

  it('is fetched once, unpacked, and kept with its modules', async () => {
    expect(progress[0]).toMatch(/^fetching linux-image-/);
    expect(kernel).toMatchObject({
      source: 'debian',
      release: expect.stringMatching(/^\d+\.\d+\..*-amd64$/),
    });
    expect(readFileSync(kernel.vmlinuxPath).subarray(1, 4).toString()).toBe('ELF');
    expect(existsSync(join(kernel.modulesPath!, 'modules.dep'))).toBe(true);
    expect(await verifyStore(store)).toEqual([]);
  });

  it('loads every module of the initramfs in the order given', async () => {
    const modules = [...neededModules, 'squashfs', 'erofs', 'virtio_rng', 'virtiofs'];
    const built = await buildInitramfs({ store, agentPath, kernel, modules });
    expect(statSync(built.path).size).toBeLessThan(4 << 20);
    const { modulePaths } = built;
    expect(modulePaths.indexOf('/lodge/modules/virtio_ring.ko')).toBeLessThan(
      modulePaths.indexOf('/lodge/modules/virtio.ko'),
    );
    const machine = [
      '-accel',
      'tcg',
      '-M',
      'q35',
      '-m',
      '256',
      '-nodefaults',
      '-display',
      'none',
      '-no-reboot',
    ];
    const boot = [
      '-kernel',
      kernel.vmlinuxPath,
      '-initrd',
      built.path,
      '-append',
      'console=ttyS0 quiet panic=-1',
    ];
    const output = execFileSync('qemu-system-x86_64', [...machine, '-serial', 'stdio', ...boot], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 120_000,
    });
    expect(output.toString()).toContain(`loaded ${modulePaths.length} failed 0`);
  });

  it('or the host’s own is the default, found again at once', async () => {
    const first = await defaultKernel(store);
    const startMs = performance.now();
    expect(await defaultKernel(store)).toEqual(first);
    expect(performance.now() - startMs).toBeLessThan(100);
  });
});

describe('user-mode Linux', () => {
  it('loads the modules of its initramfs', async () => {
    const kernel = await umlKernel(store);
    const built = await buildInitramfs({
      store,
      agentPath,
      kernel: { ...kernel, vmlinuxPath: kernel.path },
      modules: ['9p', 'overlay', 'squashfs', 'hostfs'],
    });
    const output = execFileSync(
      kernel.path,
      ['mem=64M', `initrd=${built.path}`, 'con0=fd:0,fd:1', 'con=null', 'quiet'],
      {
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: 60_000,
      },
    );
    expect(output.toString()).toContain(`loaded ${built.modulePaths.length} failed 0`);
  });
});
