/** From a spec and what the machine is to the cells of a study, those it cannot give with their reasons. Pure. */

import type { AcceleratorVerdict } from '../machine/accelerators.ts';
import { type Machine, usableCores } from '../machine/machine.ts';
import { formatSize } from '../units.ts';
import {
  type BenchmarkName,
  type Cell,
  nameOfSeries,
  nativeOf,
  type PageSize,
  type Placement,
} from './cells.ts';
import type { NotMeasured, StudySizes } from './samples.ts';
import { workBytes } from './sizes.ts';
import type { StudySpec } from './spec.ts';

export interface DesignFacts {
  machine: Pick<Machine, 'limits' | 'topology' | 'pages' | 'user'>;
  accelerators: readonly Pick<AcceleratorVerdict, 'accelerator' | 'usable' | 'reason'>[];
  /** Packages that a benchmark needs and that are not where the programs come from. */
  missingPackages: Readonly<Partial<Record<BenchmarkName, readonly string[]>>>;
  /** The image that the programs come from; this host when undefined. */
  imageName?: string | undefined;
  /** The host's vm.max_map_count. */
  maxMapCount: number;
  /** The guest that runs already, where the study goes through Slurm. */
  node?: { name: string; cpus: number };
}

export interface Design {
  cells: Cell[];
  notMeasured: NotMeasured[];
}

type Combination = { host: PageSize; own: PageSize };

/** The paper's four (section 4.2), and what has come since: transparent huge pages and 1 GiB pages. */
const defaultPages = {
  quick: ['4K/4K', '2M/2M'],
  full: ['4K/4K', '2M/4K', '4K/2M', '2M/2M', 'thp/thp', '1G/2M', '1G/1G'],
} as const;

export const pageBytes: Readonly<Record<'2M' | '1G', number>> = { '2M': 2 ** 21, '1G': 2 ** 30 };

/** Mappings that a process of a user-mode guest may take for its memory: one for each page, and some for the rest. */
export function umlMaps(bytes: number): number {
  return Math.ceil(bytes / 4096) + 16_384;
}

/** The numbers of cores of a study. */
export function coresOf(spec: Pick<StudySpec, 'cores'>, machine: DesignFacts['machine']): number[] {
  if (spec.cores !== undefined) return [...new Set(spec.cores)].sort((a, b) => a - b);
  const most = usableCores(machine).length;
  const counts: number[] = [];
  for (let count = 1; count < most; count *= 2) counts.push(count);
  return [...counts, most];
}

/** All cells that a spec asks for, in the order in which a report shows them. */
function askedCells(spec: StudySpec, cores: readonly number[]): Cell[] {
  const combinations = (spec.pages ?? defaultPages[spec.size]).map((text): Combination => {
    const [host, own] = text.split('/') as [PageSize, PageSize];
    return { host, own };
  });
  const placements = spec.placements ?? (spec.size === 'full' ? ['mirror', 'free'] : ['mirror']);
  const hasGuests = spec.environments.some((environment) => environment !== 'native');
  const cells = new Map<string, Cell>();
  const add = (cell: Cell): void => {
    cells.set(JSON.stringify(cell), cell);
  };
  for (const benchmark of spec.benchmarks) {
    for (const environment of spec.environments) {
      // Hosts are not booted; a study without any guest tells that it has nothing to boot.
      if (benchmark === 'boot' && environment === 'native' && hasGuests) continue;
      for (const { host, own } of combinationsOf(benchmark, combinations)) {
        for (const count of coresOfBenchmark(benchmark, cores)) {
          for (const placement of placementsOf(benchmark, count, cores, placements)) {
            const hasChoice = environment === 'kvm' || environment === 'tcg';
            add({
              benchmark,
              cores: count,
              environment,
              pages: hasChoice ? { host, own } : { own },
              placement,
            });
          }
        }
      }
    }
  }
  return [...cells.values()];
}

/** Booting shows what backs a guest only, and noise nothing of pages at all. */
function combinationsOf(benchmark: BenchmarkName, all: readonly Combination[]): readonly Combination[] {
  const first = all[0]!;
  if (benchmark === 'noise') return [first];
  if (benchmark === 'boot') {
    return [...new Set(all.map(({ host }) => host))].map((host) => ({ host, own: first.own }));
  }
  return all;
}

/** PingPong is between two cores, and the small ones run on one. */
function coresOfBenchmark(benchmark: BenchmarkName, cores: readonly number[]): readonly number[] {
  if (benchmark === 'hpcc' || benchmark === 'stream') return cores;
  return benchmark === 'pingpong' ? [2] : [1];
}

/** The contrast of unpinned runs is drawn where it is largest: on all cores. */
function placementsOf(
  benchmark: BenchmarkName,
  count: number,
  cores: readonly number[],
  asked: readonly Placement[],
): readonly Placement[] {
  const isContrast = (benchmark === 'hpcc' || benchmark === 'stream') && count === cores.at(-1);
  return isContrast || !asked.includes('mirror') ? asked : ['mirror'];
}

/** Sorts the asked cells into those that this machine can give and those that it cannot. */
export function designStudy(spec: StudySpec, facts: DesignFacts, sizes: StudySizes): Design {
  const cells: Cell[] = [];
  const notMeasured: NotMeasured[] = [];
  const coresOfAll = coresOf(spec, facts.machine);
  for (const cell of askedCells(spec, coresOfAll)) {
    const reason = unavailable(cell, facts, sizes);
    if (reason === undefined) cells.push(cell);
    else notMeasured.push({ cell, reason });
  }
  return { cells, notMeasured };
}

/** Why a cell cannot be measured here; undefined when it can. */
function unavailable(cell: Cell, facts: DesignFacts, sizes: StudySizes): string | undefined {
  const { environment, cores, pages, benchmark } = cell;
  const { machine } = facts;
  if (benchmark === 'boot' && environment === 'native') return 'guests are booted, and this study has none';
  const reason = facts.node === undefined ? undefined : unavailableBySlurm(cell, facts.node);
  if (reason !== undefined) return reason;
  if (environment !== 'native') {
    const verdict = facts.accelerators.find(({ accelerator }) => accelerator === environment);
    if (verdict?.usable !== true) {
      return `${environment} is not usable here: ${verdict?.reason ?? 'it was not tried'}`;
    }
  }
  if (environment === 'uml') {
    if (cores > 1) return 'user-mode Linux has one vCPU';
    if (pages.own !== '4K') return 'user-mode Linux has 4 KiB pages only';
    const maps = umlMaps(workBytes(benchmark, cores, sizes));
    if (maps > facts.maxMapCount && !machine.user.isRoot) {
      return `user-mode Linux maps each page by itself, and this takes up to ${maps} mappings: sysctl vm.max_map_count=${maps}, as root`;
    }
  }
  const most = usableCores(machine).length;
  if (cores > most) return `this job has ${most} ${most === 1 ? 'core' : 'cores'}`;
  const missing = facts.missingPackages[benchmark] ?? [];
  if (missing.length > 0) {
    return missingReason(missing, facts.imageName);
  }
  const backing = environment === 'native' ? pages.own : pages.host;
  const neededBytes =
    environment === 'native' ? workBytes(benchmark, cores, sizes) : (sizes.guestMemoryBytes[cores] ?? 0);
  return backing === undefined ? undefined : pagesUnavailable(backing, neededBytes, machine);
}

/** Slurm starts programs; what they run on is as it was found. */
function unavailableBySlurm(
  { benchmark, cores, pages, placement }: Cell,
  node: { name: string; cpus: number },
): string | undefined {
  if (benchmark === 'boot') return 'through Slurm no guest is booted';
  if (placement === 'mirror') return 'through Slurm nothing is pinned: placements: [free]';
  if (pages.own !== '4K' || (pages.host ?? '4K') !== '4K')
    return 'through Slurm no pages are reserved: pages: [4K/4K]';
  return cores > node.cpus
    ? `${node.name} has ${node.cpus} ${node.cpus === 1 ? 'vCPU' : 'vCPUs'}`
    : undefined;
}

function missingReason(missing: readonly string[], imageName: string | undefined): string {
  if (imageName !== undefined) return `the image ${imageName} has no ${missing.join(', ')}`;
  return (
    `not installed: ${missing.join(', ')} (apt-get install ${missing.join(' ')}; or, to use an image that has them: ` +
    'lodge image build debian-hpc, then lodge study --image debian-hpc)'
  );
}

function pagesUnavailable(
  size: PageSize,
  neededBytes: number,
  { pages, user, limits }: DesignFacts['machine'],
): string | undefined {
  if (size === '4K') return undefined;
  if (size === 'thp') {
    const { enabled } = pages.transparent;
    if (enabled === undefined) return 'the kernel of this host has no transparent huge pages';
    return enabled === 'never' ? 'transparent huge pages are turned off on this host' : undefined;
  }
  const pools = pages.poolsByNumaNode.flatMap((node) =>
    node.pools.filter((pool) => pool.pageBytes === pageBytes[size]),
  );
  if (pools.length === 0) return `this host has no pages of ${size}`;
  const needed = Math.ceil(neededBytes / pageBytes[size]);
  const free = pools.reduce((sum, pool) => sum + pool.free, 0);
  if (free >= needed) return undefined;
  if (!user.isRoot) {
    return `${needed} free pages of ${size} are needed and there are ${free}; reserving more needs root`;
  }
  return needed * pageBytes[size] > limits.availableMemoryBytes * 0.8
    ? `${formatSize(needed * pageBytes[size])} in pages of ${size} is more than this host can spare`
    : undefined;
}

export interface GroupedReason {
  reason: string;
  series: string[];
  benchmarks: BenchmarkName[];
  cores: number[];
}

/** What cannot be measured, with what has the same reason in one environment put together. */
export function groupReasons(notMeasured: readonly NotMeasured[]): GroupedReason[] {
  const groups = new Map<string, GroupedReason>();
  for (const { cell, reason } of notMeasured) {
    const series = nameOfSeries(cell);
    const key = JSON.stringify([cell.environment, reason]);
    const group = groups.get(key) ?? { reason, series: [], benchmarks: [], cores: [] };
    if (!group.series.includes(series)) group.series.push(series);
    if (!group.benchmarks.includes(cell.benchmark)) group.benchmarks.push(cell.benchmark);
    if (!group.cores.includes(cell.cores)) group.cores.push(cell.cores);
    groups.set(key, group);
  }
  return [...groups.values()].map((group) => ({ ...group, cores: group.cores.toSorted((a, b) => a - b) }));
}

/** Cells that are compared, side by side: a native cell and the guests' that do the same on the same own pages. */
export function groupsOf(cells: readonly Cell[]): Cell[][] {
  const groups = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = JSON.stringify(nativeOf(cell));
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  return [...groups.values()];
}

/**
 * The order of one block: every group once, in random order, and within each its cells in random order, so that what
 * is compared runs close together and neither side is always first.
 * @param shuffle puts a list into random order
 */
export function orderOfBlock(groups: readonly Cell[][], shuffle: <T>(list: readonly T[]) => T[]): Cell[] {
  return shuffle(groups).flatMap((group) => shuffle(group));
}
