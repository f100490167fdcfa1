/**
 * Where a guest's vCPUs and memory sit on its host. Pure: from what was asked and what the host is to a plain
 * value; `vmm/qemu/layout-arguments.ts` turns it into arguments and `vmm/qemu/verify.ts` checks what came of it.
 *
 * The policy, in the order in which it decides:
 *
 * 1. vCPUs get one core each while this job has cores enough, on the fewest NUMA nodes that hold them and their
 *    memory, near ones first, and evenly spread over these (memory bandwidth counts). Hardware threads are used
 *    only when vCPUs outnumber the cores; then both threads of a core are vCPUs side by side (`layout-cpus.ts`).
 * 2. A mirrored guest has the sockets, dies, cores, threads and NUMA nodes of the CPUs it is pinned to. Guest dies
 *    follow the host's last-level caches, because that is what QEMU lets a die share. QEMU knows only uniform
 *    shapes; others are cut into the largest equal parts (`layout-shape.ts`).
 * 3. Memory is split over the guest's nodes in proportion to their vCPUs and bound to the nodes those are pinned
 *    to (`layout-memory.ts`). A guest that is pinned within one NUMA node has its memory there too.
 * 4. One core is left over for the emulator and its I/O threads where there are more cores than vCPUs need.
 *
 * What cannot be had is an error under `placement: strict` and a line in {@link Layout.shortfalls} under `prefer`:
 * `strict` never gives less than was asked.
 */

import { LodgeError } from '../errors.ts';
import { fixWith, key } from '../fix.ts';
import { type Machine, type MachineBasics, usableCpus } from '../machine/machine.ts';
import { formatCpuList, formatSize } from '../units.ts';
import {
  availableCores,
  cpuCandidates,
  housekeepingCpus,
  inTopologyOrder,
  type Seat,
  seatsOf,
  tooManyVcpus,
} from './layout-cpus.ts';
import {
  hugetlbPageBytes,
  ordinaryMemoryBytes,
  pagesUnmet,
  processBytes,
  roomUnmet,
  type Share,
  splitMemory,
  transparentUnmet,
  type Unmet,
} from './layout-memory.ts';
import { checkPins, checkSizes, memoryGranuleBytes } from './layout-request.ts';
import { guestShape, hostCacheInfoFits, placeInShape, type Smp } from './layout-shape.ts';

/** What backs the guest's memory: `any`, small pages for sure, transparent huge pages, or a hugetlb pool. */
export type HostPages = 'any' | '4K' | 'thp' | '2M' | '1G';

export interface LayoutRequest {
  cpus: number;
  memoryBytes: number;
  /** `strict: false` lets pages fall back where all else is strict. */
  pages: { host: HostPages; strict: boolean };
  /**
   * True chooses host CPUs. A list names them, one for each vCPU: vCPU i has entry i, except that a mirrored guest
   * has them in the order of the host's topology, because vCPU numbers are topology in a guest.
   */
  pin: boolean | readonly number[];
  /** `mirror` implies pinning. */
  numa: 'none' | 'mirror';
  placement: 'strict' | 'prefer';
  /** Other processes map the guest's memory, too. */
  sharedMemory?: boolean;
  /** Host CPUs that other guests are pinned to; not chosen when lodge chooses. */
  takenCpus?: readonly number[];
}

export interface VcpuPlace {
  vcpu: number;
  /** Host CPUs it may run on; none when it is not pinned. */
  hostCpus: number[];
  /** Place in the guest, each counted from 0 within the one before. */
  socket: number;
  die: number;
  core: number;
  thread: number;
  guestNode: number;
}

export interface GuestNode {
  id: number;
  /** NUMA node of the host that its memory is bound to. */
  hostNode?: number;
  memoryBytes: number;
  vcpus: number[];
}

export interface Layout {
  smp: Smp;
  vcpus: VcpuPlace[];
  nodes: GuestNode[];
  /** Between guest nodes as ACPI's SLIT has them; absent when the guest has one node. */
  distances?: number[][];
  /** `pageBytes` is what one page of the backing must be; absent when any will do. */
  pages: { host: HostPages; pageBytes?: number; strict: boolean };
  numa: 'none' | 'mirror';
  placement: 'strict' | 'prefer';
  /** How the guest's CPU tells of caches and threads, where a driver has a choice. */
  cpuModel: {
    /** Hand on the host's own cache leaves: their sharing is right for this shape. */
    hostCacheInfo: boolean;
    /** AMD tells threads and cache sharing by its topology extension only. */
    amdTopology: boolean;
  };
  /** Host CPUs for the emulator and its I/O threads; none when they may run anywhere. */
  emulatorCpus: number[];
  /** In memory that other processes can map, too: what serves its files by virtiofs. */
  sharedMemory: boolean;
  /** Take all memory before the guest starts. */
  preallocate: boolean;
  preallocateThreads: number;
  /** What was asked for and is not given, as a person reads it. */
  shortfalls: string[];
  notes: string[];
}

/** More than this brings no speed: clearing memory is bound by the memory (and QEMU's own limit is 16). */
const maxPreallocateThreads = 16;

/**
 * The layout of a guest of which nothing was asked: QEMU's own defaults, wherever the host's scheduler likes.
 * @throws LodgeError `spec-value` when `cpus` or `memoryBytes` is no possible size
 */
export function freeLayout(cpus: number, memoryBytes: number, sharedMemory = false): Layout {
  checkSizes(cpus, memoryBytes);
  const smp: Smp = { sockets: 1, dies: 1, cores: cpus, threads: 1 };
  const vcpus = Array.from({ length: cpus }, (_, vcpu) => ({
    vcpu,
    hostCpus: [],
    ...placeInShape(smp, vcpu),
    guestNode: 0,
  }));
  return {
    smp,
    vcpus,
    nodes: [{ id: 0, memoryBytes, vcpus: vcpus.map(({ vcpu }) => vcpu) }],
    pages: { host: 'any', strict: false },
    numa: 'none',
    placement: 'prefer',
    cpuModel: { hostCacheInfo: false, amdTopology: false },
    emulatorCpus: [],
    sharedMemory,
    preallocate: false,
    preallocateThreads: 1,
    shortfalls: [],
    notes: [],
  };
}

/**
 * Checks that this host or job has the memory for a guest, wherever it sits; pools are checked by `planLayout`.
 * @throws LodgeError `not-enough-memory` with the sums
 */
export function checkMemory(
  memoryBytes: number,
  { limits }: Pick<MachineBasics, 'limits'>,
  host: HostPages = 'any',
): void {
  const neededBytes = ordinaryMemoryBytes(memoryBytes, host);
  const sums = (): string =>
    hugetlbPageBytes(host) === undefined
      ? `${formatSize(memoryBytes)} for the guest and ${formatSize(neededBytes - memoryBytes)} for the process around it`
      : `${formatSize(neededBytes)} beside its huge pages`;
  if (neededBytes > limits.availableMemoryBytes) {
    const limit =
      limits.memoryBytes === undefined
        ? 'this host has'
        : `this job (limited to ${formatSize(limits.memoryBytes)}${
            limits.memoryLimitedBy === undefined ? '' : ` by ${limits.memoryLimitedBy}`
          }) has`;
    throw new LodgeError(
      'not-enough-memory',
      `the guest needs ${sums()}; ${limit} ${formatSize(limits.availableMemoryBytes)} left`,
      {
        fix: fixWith`ask for less (${key('memory', 'SIZE')}), or ${limits.memoryBytes === undefined ? 'free some' : 'get a job with more'}`,
        asked: ['memory'],
      },
    );
  }
  const { addressSpaceBytes } = limits;
  if (addressSpaceBytes !== undefined && memoryBytes + processBytes > addressSpaceBytes) {
    throw new LodgeError(
      'not-enough-memory',
      `the guest needs ${formatSize(memoryBytes + processBytes)} of address space; ` +
        `this process may have ${formatSize(addressSpaceBytes)}`,
      { fix: 'ulimit -v unlimited', asked: ['memory'] },
    );
  }
}

/**
 * Plans where a guest sits.
 * @throws LodgeError `spec-value`: sizes or pins that make no sense on any machine;
 *   `placement-unmet`: strict, and this machine or job cannot give it;
 *   `not-enough-memory`: neither strict nor not is there memory enough
 */
export function planLayout(request: LayoutRequest, machine: Machine): Layout {
  checkSizes(request.cpus, request.memoryBytes);
  checkPins(request);
  const plan = new Plan(request, machine);
  const seats = plan.chooseSeats();
  plan.settlePages(seats);
  return plan.layout(seats);
}

/** One run of the planner: what it has decided so far, and what it could not give. */
class Plan {
  readonly #request: LayoutRequest;
  readonly #machine: Machine;
  readonly #shortfalls: string[] = [];
  readonly #notes: string[] = [];
  readonly #isShared: boolean;
  #host: HostPages;
  #shares: Share[] = [];

  constructor(request: LayoutRequest, machine: Machine) {
    this.#request = request;
    this.#machine = machine;
    this.#isShared = request.sharedMemory === true;
    this.#host = request.pages.host;
  }

  /** Host CPUs for the vCPUs; none when they are not pinned. */
  chooseSeats(): Seat[] {
    const { cpus, pin, numa } = this.#request;
    if (pin === false && numa === 'none') return [];
    const cores = availableCores(this.#machine, this.#request);
    if (typeof pin === 'object') {
      const lost = pin.filter((cpu) => !cores.some((core) => core.pus.includes(cpu)));
      if (lost.length === 0) return this.#explicitSeats(pin, cores);
      this.#unmet(
        {
          message:
            `CPUs ${formatCpuList(lost)} were asked for, and this job may use ` +
            `${formatCpuList(cores.flatMap((core) => core.pus)) || 'none'}`,
          fix: fixWith`name CPUs of this job, or have them chosen: ${key('pin', 'true')}`,
          key: 'pin',
        },
        true,
      );
    }
    const candidates = cpuCandidates(cpus, cores, this.#machine);
    if (candidates.length === 0) {
      this.#unmet(tooManyVcpus(cpus, this.#machine, this.#request), true);
      return [];
    }
    const fitting = candidates.find(
      (seats) => this.#memoryUnmet(this.#host, this.#split(seats)) === undefined,
    );
    return fitting ?? candidates[0]!;
  }

  #explicitSeats(pin: readonly number[], cores: ReturnType<typeof availableCores>): Seat[] {
    const seats = seatsOf(pin, cores);
    const ordered = this.#request.numa === 'mirror' ? inTopologyOrder(seats, this.#machine.topology) : seats;
    if (ordered.some((seat, i) => seat.cpu !== pin[i])) {
      this.#notes.push(
        `vCPUs are on CPUs ${ordered.map((seat) => seat.cpu).join(' ')}, in the order of the host's topology`,
      );
    }
    return ordered;
  }

  /** Decides the pages that back the memory, and on which nodes; what cannot be had falls back or throws. */
  settlePages(seats: readonly Seat[]): void {
    this.#shares = this.#split(seats);
    const missing = pagesUnmet(this.#host, this.#shares, this.#machine, this.#isShared);
    if (missing !== undefined) {
      this.#unmet(missing, this.#request.pages.strict);
      const isThpThere = transparentUnmet(this.#machine, this.#isShared) === undefined;
      this.#host = isThpThere && this.#host !== 'thp' ? 'thp' : 'any';
      this.#shares = this.#split(seats);
    }
    checkMemory(this.#request.memoryBytes, this.#machine, this.#host);
    const full = roomUnmet(this.#host, this.#shares, this.#machine);
    if (full !== undefined) this.#unmet(full, true);
  }

  layout(seats: readonly Seat[]): Layout {
    const { request, machine } = { request: this.#request, machine: this.#machine };
    const isMirror = request.numa === 'mirror' && seats.length > 0;
    const { smp, notes } = guestShape(request.cpus, seats, isMirror, machine.topology);
    this.#notes.push(...notes);
    const hostNodes = isMirror ? [...new Set(seats.map((seat) => seat.core.numaNode))] : [];
    const vcpus = Array.from({ length: request.cpus }, (_, vcpu) => ({
      vcpu,
      hostCpus: seats[vcpu] === undefined ? [] : [seats[vcpu].cpu],
      ...placeInShape(smp, vcpu),
      guestNode: isMirror ? hostNodes.indexOf(seats[vcpu]!.core.numaNode) : 0,
    }));
    const nodes = this.#shares.map((share, id) => ({
      id,
      ...(share.hostNode === undefined ? {} : { hostNode: share.hostNode }),
      memoryBytes: share.memoryBytes,
      vcpus: vcpus.filter((vcpu) => vcpu.guestNode === id).map(({ vcpu }) => vcpu),
    }));
    const distances = hostNodes.length > 1 ? this.#distances(hostNodes) : undefined;
    const hostCacheInfo = isMirror && hostCacheInfoFits(smp, seats, machine);
    if (isMirror && !hostCacheInfo) {
      this.#notes.push("the guest sees the sharing of the host's caches, and QEMU's sizes for them");
    }
    this.#noteQuota();
    if (seats.length > 0 && !isMirror) this.#noteSpread(seats);
    return {
      smp,
      vcpus,
      nodes,
      ...(distances === undefined ? {} : { distances }),
      pages: this.#pages(),
      numa: isMirror ? 'mirror' : 'none',
      placement: request.placement,
      cpuModel: {
        hostCacheInfo,
        amdTopology: machine.cpuVendor === 'AuthenticAMD' && (isMirror || smp.threads > 1),
      },
      emulatorCpus: housekeepingCpus(seats, availableCores(machine, { ...request, pin: true }), machine),
      sharedMemory: request.sharedMemory === true,
      preallocate: this.#preallocate(isMirror),
      preallocateThreads: Math.max(1, Math.min(maxPreallocateThreads, usableCpus(machine.limits).length)),
      shortfalls: this.#shortfalls,
      notes: this.#notes,
    };
  }

  #pages(): Layout['pages'] {
    const pageBytes =
      hugetlbPageBytes(this.#host) ??
      { any: undefined, '4K': 4096, thp: 2 ** 21 }[this.#host as 'any' | '4K' | 'thp'];
    const strict = this.#request.pages.strict && this.#request.placement === 'strict';
    return { host: this.#host, ...(pageBytes === undefined ? {} : { pageBytes }), strict };
  }

  /** Pools always: a guest that touches a page the pool no longer has is killed. The others where it is a promise. */
  #preallocate(isMirror: boolean): boolean {
    if (hugetlbPageBytes(this.#host) !== undefined) return true;
    return this.#request.placement === 'strict' && (isMirror || this.#host === 'thp');
  }

  /** How the memory would lie for vCPUs on these seats. */
  #split(seats: readonly Seat[]): Share[] {
    const { memoryBytes, numa } = this.#request;
    const byNode = new Map<number, number>();
    for (const { core } of seats) byNode.set(core.numaNode, (byNode.get(core.numaNode) ?? 0) + 1);
    if (numa === 'mirror' && seats.length > 0) {
      const nodes = [...byNode].map(([hostNode, vcpus]) => ({ hostNode, vcpus }));
      return splitMemory(memoryBytes, nodes, hugetlbPageBytes(this.#host), memoryGranuleBytes);
    }
    // One guest node: bound where its vCPUs all are, when there is room; it was not asked for.
    const [only] = byNode.keys();
    const isNear = byNode.size === 1 && this.#machine.limits.allowedNumaNodes.includes(only!);
    const near = [{ memoryBytes, hostNode: only! }];
    return isNear && this.#memoryUnmet(this.#host, near) === undefined ? near : [{ memoryBytes }];
  }

  #memoryUnmet(host: HostPages, shares: readonly Share[]): Unmet | undefined {
    return pagesUnmet(host, shares, this.#machine, this.#isShared) ?? roomUnmet(host, shares, this.#machine);
  }

  #distances(hostNodes: readonly number[]): number[][] {
    const { numaNodes } = this.#machine.topology;
    const column = (id: number): number => numaNodes.findIndex((node) => node.id === id);
    return hostNodes.map((from) =>
      // 10 and 20 are what the kernel takes when firmware tells nothing (LOCAL_DISTANCE, REMOTE_DISTANCE).
      hostNodes.map((to) => numaNodes[column(from)]?.distances[column(to)] ?? (from === to ? 10 : 20)),
    );
  }

  #noteQuota(): void {
    const { cpuQuota } = this.#machine.limits;
    if (cpuQuota !== undefined && cpuQuota < this.#request.cpus) {
      this.#notes.push(`a cgroup gives this job ${cpuQuota} CPUs of time, for ${this.#request.cpus} vCPUs`);
    }
  }

  #noteSpread(seats: readonly Seat[]): void {
    const nodes = [...new Set(seats.map((seat) => seat.core.numaNode))];
    if (nodes.length > 1) {
      this.#notes.push(
        `vCPUs are on NUMA nodes ${formatCpuList(nodes)}, and the guest sees one: numa: mirror shows them`,
      );
    } else if (this.#shares[0]?.hostNode === undefined) {
      this.#notes.push(`memory does not all fit on NUMA node ${nodes[0]}, where the vCPUs are`);
    }
  }

  #unmet(unmet: Unmet, isStrict: boolean): void {
    if (isStrict && this.#request.placement === 'strict') {
      const { message, fix, key: asked } = unmet;
      throw new LodgeError('placement-unmet', message, {
        asked: [asked],
        ...(fix === undefined ? {} : { fix }),
      });
    }
    this.#shortfalls.push(unmet.message);
  }
}
