import { describe, expect, it } from 'vitest';
import {
  cgroupChain,
  cgroupCpuQuota,
  cgroupHugePages,
  cgroupMemory,
  cgroupProcesses,
} from '../../src/machine/cgroups.ts';
import { parseMountinfo } from '../../src/machine/kernel-text.ts';
import { sourceOf } from './recorded.ts';

const GiB = 2 ** 30;
const v2Mount = parseMountinfo('30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n');
const v1Mounts = parseMountinfo(
  '31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n' +
    '32 23 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n' +
    '33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n',
);

describe('where limits are looked for', () => {
  it('walks up a version 2 hierarchy', () => {
    expect(cgroupChain('0::/a/b\n', v2Mount, 'memory')).toEqual({
      version: 2,
      directories: ['/sys/fs/cgroup/a/b', '/sys/fs/cgroup/a', '/sys/fs/cgroup'],
    });
  });

  it('takes the version 1 controller where both are mounted', () => {
    const cgroup = '4:cpu,cpuacct:/x\n3:memory:/slurm/uid_1\n0::/\n';
    expect(cgroupChain(cgroup, v1Mounts, 'memory')).toEqual({
      version: 1,
      directories: [
        '/sys/fs/cgroup/memory/slurm/uid_1',
        '/sys/fs/cgroup/memory/slurm',
        '/sys/fs/cgroup/memory',
      ],
    });
    expect(cgroupChain(cgroup, v1Mounts, 'cpu')?.directories[0]).toBe('/sys/fs/cgroup/cpu,cpuacct/x');
    expect(cgroupChain(cgroup, v1Mounts, 'pids')?.version).toBe(2);
  });

  it('starts below the part of the hierarchy that a container sees', () => {
    const mounts = parseMountinfo('30 23 0:26 /docker/c1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n');
    const inside = ['/sys/fs/cgroup/job', '/sys/fs/cgroup'];
    expect(cgroupChain('0::/docker/c1/job\n', mounts, 'memory')?.directories).toEqual(inside);
    expect(cgroupChain('0::/elsewhere\n', mounts, 'memory')?.directories).toEqual(['/sys/fs/cgroup']);
    expect(cgroupChain('0::/../../x\n', v2Mount, 'memory')?.directories).toEqual([
      '/sys/fs/cgroup/x',
      '/sys/fs/cgroup',
    ]);
  });

  it('finds none where no cgroup is mounted', () => {
    expect(cgroupChain('0::/\n', [], 'memory')).toBeUndefined();
    expect(cgroupMemory(sourceOf({}), undefined)).toEqual({});
  });
});

describe('memory limits', () => {
  it('are the least of all ancestors in version 2, memory.high among them', () => {
    const source = sourceOf({
      '/sys/fs/cgroup/a/b/memory.max': 'max\n',
      '/sys/fs/cgroup/a/memory.max': `${8 * GiB}\n`,
      '/sys/fs/cgroup/a/memory.high': `${6 * GiB}\n`,
      '/sys/fs/cgroup/a/memory.current': `${3 * GiB}\n`,
      '/sys/fs/cgroup/a/memory.stat': `anon 0\ninactive_file ${GiB}\n`,
      '/sys/fs/cgroup/memory.max': `${32 * GiB}\n`,
    });
    expect(cgroupMemory(source, cgroupChain('0::/a/b\n', v2Mount, 'memory'))).toEqual({
      limitBytes: 6 * GiB,
      limitedBy: '/sys/fs/cgroup/a',
      leftBytes: 4 * GiB,
    });
  });

  it('leave what the fullest ancestor leaves, even when another sets the least limit', () => {
    const source = sourceOf({
      '/sys/fs/cgroup/a/memory.max': `${4 * GiB}\n`,
      '/sys/fs/cgroup/a/memory.current': `${GiB}\n`,
      '/sys/fs/cgroup/memory.max': `${32 * GiB}\n`,
      '/sys/fs/cgroup/memory.current': `${31 * GiB}\n`,
    });
    const memory = cgroupMemory(source, cgroupChain('0::/a\n', v2Mount, 'memory'));
    expect(memory).toMatchObject({ limitBytes: 4 * GiB, leftBytes: GiB });
  });

  it('are read in version 1, where a huge number stands for none', () => {
    const own = '/sys/fs/cgroup/memory/slurm/uid_1';
    const source = sourceOf({
      [`${own}/memory.limit_in_bytes`]: '9223372036854771712\n',
      '/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes': `${2 * GiB}\n`,
      '/sys/fs/cgroup/memory/slurm/memory.usage_in_bytes': `${GiB}\n`,
      '/sys/fs/cgroup/memory/slurm/memory.stat': `inactive_file 0\ntotal_inactive_file ${GiB / 2}\n`,
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    });
    expect(cgroupMemory(source, cgroupChain('3:memory:/slurm/uid_1\n', v1Mounts, 'memory'))).toEqual({
      limitBytes: 2 * GiB,
      limitedBy: '/sys/fs/cgroup/memory/slurm',
      leftBytes: 1.5 * GiB,
    });
  });
});

describe('other limits', () => {
  const chain = cgroupChain('0::/a\n', v2Mount, 'pids');

  it('count the processes that may still be started', () => {
    const source = sourceOf({
      '/sys/fs/cgroup/a/pids.max': 'max\n',
      '/sys/fs/cgroup/pids.max': '100\n',
      '/sys/fs/cgroup/pids.current': '130\n',
    });
    expect(cgroupProcesses(source, chain)).toBe(0);
    expect(cgroupProcesses(sourceOf({}), chain)).toBeUndefined();
  });

  it('read the CPU quota of both versions', () => {
    const v2 = sourceOf({
      '/sys/fs/cgroup/a/cpu.max': '250000 100000\n',
      '/sys/fs/cgroup/cpu.max': 'max 100000\n',
    });
    expect(cgroupCpuQuota(v2, chain)).toBe(2.5);
    const v1 = sourceOf({
      '/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us': '50000\n',
      '/sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    });
    expect(cgroupCpuQuota(v1, cgroupChain('4:cpu,cpuacct:/x\n', v1Mounts, 'cpu'))).toBe(0.5);
  });

  it('read the huge pages allowed', () => {
    const source = sourceOf({ '/sys/fs/cgroup/a/hugetlb.1GB.max': `${2 * GiB}\n` });
    expect(cgroupHugePages(source, chain, GiB)).toBe(2 * GiB);
    expect(cgroupHugePages(source, chain, 2 ** 21)).toBeUndefined();
  });
});
