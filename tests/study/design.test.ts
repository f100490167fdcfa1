import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom, shuffle } from '../../src/random.ts';
import { type Cell, keyOfCell, nameOfSeries, nativeOf } from '../../src/study/cells.ts';
import {
  coresOf,
  type DesignFacts,
  designStudy,
  groupReasons,
  groupsOf,
  orderOfBlock,
} from '../../src/study/design.ts';
import { planSizes } from '../../src/study/sizes.ts';
import { slurmEnvironment, srunLine } from '../../src/study/slurm.ts';
import { type StudySpec, studySpecSchema } from '../../src/study/spec.ts';
import { machineOf } from '../guest/layout-machines.ts';

const usable = (accelerator: 'kvm' | 'uml' | 'tcg') => ({ accelerator, usable: true, reason: 'it booted' });
const facts = (changes: Partial<DesignFacts> = {}): DesignFacts => ({
  machine: machineOf({ hugePages2M: [4096] }),
  accelerators: [usable('kvm'), usable('uml'), usable('tcg')],
  missingPackages: {},
  maxMapCount: 10_000_000,
  ...changes,
});
const specOf = (input: object = {}): StudySpec => studySpecSchema.parse(input);
const sizesOf = (spec: StudySpec, { machine }: DesignFacts) =>
  planSizes({
    size: spec.size,
    benchmarks: spec.benchmarks,
    cores: [...new Set([1, 2, ...coresOf(spec, machine)])],
    budgetBytes: 2 ** 34,
    lastLevelCachesBytes: 2 ** 24,
  });
const design = (input: object = {}, changes: Partial<DesignFacts> = {}) => {
  const spec = specOf(input);
  const given = facts(changes);
  return designStudy(spec, given, sizesOf(spec, given));
};
const seriesOf = (cells: readonly Cell[], benchmark: string, cores: number): string[] =>
  cells.filter((cell) => cell.benchmark === benchmark && cell.cores === cores).map(nameOfSeries);

describe('the design of a study', () => {
  it("has the paper's six series, on its numbers of cores", () => {
    const { cells } = design({
      environments: ['native', 'kvm'],
      pages: ['4K/4K', '2M/4K', '4K/2M', '2M/2M'],
    });
    expect(seriesOf(cells, 'hpcc', 1)).toEqual([
      'Native 4K',
      'Native 2M',
      'Guest 4K/4K',
      'Guest 2M/4K',
      'Guest 4K/2M',
      'Guest 2M/2M',
    ]);
    expect([
      ...new Set(cells.filter(({ benchmark }) => benchmark === 'hpcc').map(({ cores }) => cores)),
    ]).toEqual([1, 2, 4, 8]);
  });

  it('draws the contrast of unpinned runs on all cores', () => {
    const { cells } = design({ environments: ['native'], pages: ['4K/4K'], benchmarks: ['hpcc'] });
    expect(cells.filter(({ placement }) => placement === 'free').map(({ cores }) => cores)).toEqual([8]);
  });

  it('lists what cannot be measured with its reason, and drops nothing', () => {
    const without = machineOf({ hugePages2M: [0] });
    const { cells, notMeasured } = design(
      { cores: [1, 64], benchmarks: ['hpcc', 'pingpong'], pages: ['4K/4K', '2M/2M', '1G/1G'] },
      {
        machine: { ...without, user: { ...without.user, isRoot: false } },
        accelerators: [{ accelerator: 'kvm', usable: false, reason: 'it hangs' }, usable('uml')],
        missingPackages: { pingpong: ['netpipe-openmpi'] },
      },
    );
    const reasons = groupReasons(notMeasured).map(({ reason }) => reason);
    expect(seriesOf(cells, 'hpcc', 1)).toEqual(['Native 4K', 'Guest (uml) 4K']);
    expect(reasons).toContain('kvm is not usable here: it hangs');
    expect(reasons).toContain('user-mode Linux has one vCPU');
    expect(reasons).toContain('user-mode Linux has 4 KiB pages only');
    expect(reasons).toContain('this job has 8 cores');
    expect(reasons).toContainEqual(
      expect.stringMatching(
        /^not installed: netpipe-openmpi \(apt-get install netpipe-openmpi; .* --image debian-hpc\)$/,
      ),
    );
    expect(reasons).toContain('this host has no pages of 1G');
    expect(reasons.find((reason) => /reserving more needs root$/.test(reason))).toBeDefined();
    // hpcc on two numbers of cores, unpinned on the larger, and pingpong; each native, kvm and uml, on three pages.
    expect(cells.length + notMeasured.length).toBe(4 * 9);
  });

  it('tells that nothing is booted where there is no guest', () => {
    const { cells, notMeasured } = design({ environments: ['native'], benchmarks: ['boot'] });
    expect(cells).toEqual([]);
    expect(notMeasured.map(({ reason }) => reason)).toEqual(['guests are booted, and this study has none']);
    const withGuest = design({ environments: ['native', 'kvm'], benchmarks: ['boot'], pages: ['4K/4K'] });
    expect([...withGuest.cells, ...withGuest.notMeasured.map(({ cell }) => cell)].map(nameOfSeries)).toEqual([
      'Guest 4K/4K',
    ]);
  });

  it('asks for the mappings that a user-mode guest takes', () => {
    const machine = machineOf();
    const { notMeasured } = design(
      { environments: ['uml'], benchmarks: ['hpcc'], cores: [1], pages: ['4K/4K'] },
      { maxMapCount: 65_530, machine: { ...machine, user: { ...machine.user, isRoot: false } } },
    );
    expect(notMeasured[0]!.reason).toMatch(/sysctl vm\.max_map_count=\d+/);
  });

  it('compares what does the same work on the same own pages', () => {
    const { cells } = design();
    for (const group of groupsOf(cells)) {
      expect(new Set(group.map((cell) => keyOfCell(nativeOf(cell)))).size).toBe(1);
    }
    expect(groupsOf(cells).flat().map(keyOfCell).sort()).toEqual(cells.map(keyOfCell).sort());
  });

  it('runs every cell once in a block, what is compared side by side, in an order that the seed gives', () => {
    const groups = groupsOf(design().cells);
    const order = (seed: number) => {
      const random = seededRandom(seed);
      return orderOfBlock(groups, (list) => shuffle(list, random)).map(keyOfCell);
    };
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const keys = order(seed);
        expect([...keys].sort()).toEqual(groups.flat().map(keyOfCell).sort());
        expect(order(seed)).toEqual(keys);
        for (const group of groups) {
          const at = group.map((cell) => keys.indexOf(keyOfCell(cell)));
          expect(Math.max(...at) - Math.min(...at)).toBe(group.length - 1);
        }
      }),
      { numRuns: 50 },
    );
    expect(order(1)).not.toEqual(order(2));
  });
});

describe('the numbers of cores', () => {
  it.each([
    [1, [1]],
    [2, [1, 2]],
    [6, [1, 2, 4, 6]],
    [8, [1, 2, 4, 8]],
  ])('of a job with %i are powers of two and all', (coresPerCache, expected) => {
    expect(coresOf({}, machineOf({ sockets: 1, coresPerCache }))).toEqual(expected);
  });
  it('that were asked for come in order and once', () => {
    expect(coresOf({ cores: [4, 1, 4] }, machineOf())).toEqual([1, 4]);
  });
});

describe('a study through Slurm', () => {
  const nodes = { launcher: 'slurm', native: 'n01', guest: 'v01', environments: ['native', 'kvm'] };
  const node = { name: 'v01', cpus: 2 };

  it('has the cells that need nothing but a node, and tells why the others cannot be', () => {
    const { cells, notMeasured } = design(
      {
        ...nodes,
        pages: ['4K/4K', '2M/2M'],
        cores: [1, 2],
        placements: ['mirror', 'free'],
        benchmarks: ['hpcc', 'boot'],
      },
      { node },
    );
    expect(new Set(cells.map(nameOfSeries))).toEqual(
      new Set(['Native 4K, unpinned', 'Guest 4K/4K, unpinned']),
    );
    const reasons = groupReasons(notMeasured).map(({ reason }) => reason);
    expect(reasons).toContain('through Slurm nothing is pinned: placements: [free]');
    expect(reasons).toContain('through Slurm no pages are reserved: pages: [4K/4K]');
    expect(reasons).toContain('through Slurm no guest is booted');
  });

  it('goes no further than the vCPUs of its guest, on both sides', () => {
    const { cells, notMeasured } = design({ ...nodes, pages: ['4K/4K'], placements: ['free'] }, { node });
    expect(Math.max(...cells.map(({ cores }) => cores))).toBe(2);
    expect(notMeasured.some(({ reason }) => reason === 'v01 has 2 vCPUs')).toBe(true);
  });

  it('needs both nodes, and no other study has any', () => {
    expect(() => specOf({ launcher: 'slurm', native: 'n01' })).toThrow(/both nodes/);
    expect(() => specOf({ guest: 'v01' })).toThrow(/launcher: slurm/);
  });

  it('differs between its two sides by the node alone', () => {
    const [native, guest] = ['n01', 'v01'].map((name) => srunLine(name, 2).join(' '));
    expect(guest).toBe(native!.replace('n01', 'v01'));
  });

  it('goes where the caller says, and takes nothing else of a job around it', () => {
    const env = {
      SLURM_PARTITION: 'phys,virtual',
      SLURM_JOB_ID: '7',
      SLURM_MEM_PER_NODE: '9',
      HOME: '/root',
    };
    expect(slurmEnvironment(env)).toEqual({ SLURM_PARTITION: 'phys,virtual' });
  });
});
