/** Answers what a fabric is asked (control.ts). It runs in the worker; tests run it where they are. */

import { LodgeError } from '../errors.ts';
import { applyPlan, type Openers } from './apply.ts';
import type { BpfProgram } from './capture/bpf.ts';
import type {
  DirectionState,
  FabricEvent,
  LinkState,
  Matrix,
  MatrixRequest,
  RequestKind,
  RequestMessage,
  Requests,
  SerialError,
  WorkerData,
} from './control.ts';
import { toAll } from './control.ts';
import type { Direction } from './direction.ts';
import { drop, dropReasons } from './drops.ts';
import { Fabric, type FabricOptions } from './fabric.ts';
import { loadFabric, saveFabric } from './freeze.ts';
import { Graph } from './graph.ts';
import { readBufferBytes, type SocketIo, socketIo } from './guest-end.ts';
import { macText } from './mac-table.ts';
import type { Link } from './network.ts';
import type { OpenCapture } from './observer.ts';
import type { CapturePlan, FabricPlan, PortPlan } from './plan.ts';
import type { PortContext, PortEnd } from './port-end.ts';
import type { HostTrunks } from './trunk/host-trunks.ts';
import { Turns } from './turns.ts';

/** How ends and captures are made: what the worker brings together from the parts of this room. */
export interface Means {
  openEnd(plan: PortPlan, context: PortContext, io: SocketIo): PortEnd;
  openCapture: OpenCapture;
  /** The filter of a capture, compiled, if it has one. @throws LodgeError when it is none */
  filterOf(plan: CapturePlan, link: string): Promise<BpfProgram | undefined>;
  trunks: HostTrunks;
}

type Handlers = {
  [Kind in RequestKind]: (
    ask: Requests[Kind]['ask'],
  ) => Requests[Kind]['answer'] | Promise<Requests[Kind]['answer']>;
};

/** Turns of the event loop without anything new after which sockets are empty. */
const quietTurns = 4;

/** Within this, what is on its way between hosts that stand still has come. */
const markLimitMs = 10_000;

export class FabricService {
  readonly fabric: Fabric;
  readonly graph: Graph;
  readonly turns: Turns;
  readonly #io: SocketIo;
  readonly #means: Means;
  #plan: FabricPlan | undefined;
  /** The captures that were opened last, by their links. */
  readonly #captured = new Map<string, CapturePlan>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(
    means: Means,
    onEvent: (event: FabricEvent) => void,
    data: WorkerData & Pick<FabricOptions, 'clock'> = {},
  ) {
    this.#means = means;
    this.fabric = new Fabric({ ...data, readBufferBytes, onEvent });
    this.graph = new Graph(this.fabric);
    this.turns = new Turns(this.fabric);
    this.#io = socketIo(this.fabric, this.turns);
  }

  /** Answers a request when all those before it are answered. */
  ask<Kind extends RequestKind>(kind: Kind, ask: Requests[Kind]['ask']): Promise<Requests[Kind]['answer']> {
    const answer = this.#queue.then(() => {
      const handler = this.#handlers[kind] as Handlers[Kind] | undefined;
      if (handler === undefined) throw new LodgeError('internal', `a fabric cannot be asked '${kind}'`);
      return handler(ask);
    });
    this.#queue = answer.catch(() => {});
    return answer;
  }

  /** As `ask`, for a message of another thread. */
  async answer(
    message: RequestMessage,
  ): Promise<{ answer: Requests[RequestKind]['answer'] } | { error: SerialError }> {
    try {
      return { answer: await this.ask(message.kind, message.ask as never) };
    } catch (error) {
      return { error: serialError(error) };
    }
  }

  readonly #handlers: Handlers = {
    apply: async ({ plan, guestsRan }) => {
      const result = await applyPlan(this.graph, plan, this.#plan, this.#openers);
      this.#plan = plan;
      if (guestsRan === true) this.graph.takeAllForRouters();
      this.#means.trunks.setDigest(plan.digest);
      if (this.fabric.clock.isFrozen) for (const end of this.#ends()) end.pause();
      return result;
    },
    hosts: (ask) => this.#means.trunks.join(ask, this.#io),
    connect: ({ links }) => {
      for (const link of this.#links(links)) link.port?.end.retry?.();
      return null;
    },
    links: ({ links }) => this.#links(links).map((link) => this.#linkState(link)),
    matrix: (ask) => this.#matrix(ask),
    shape: ({ link, direction, shape }) => {
      this.graph.setShape(this.graph.link(link), direction, shape);
      return null;
    },
    cut: ({ link, direction }) => {
      this.graph.setCut(this.graph.link(link), direction, true);
      return null;
    },
    heal: ({ link, direction }) => {
      this.graph.setCut(this.graph.link(link), direction, false);
      return null;
    },
    move: ({ link, switch: to }) => {
      this.graph.move(this.graph.link(link), to);
      return null;
    },
    'capture-start': async ({ link: name, capture: plan }) => {
      const link = this.graph.link(name);
      const filter = await this.#means.filterOf(plan, name);
      const before = this.graph.captures.has(name) ? this.#captured.get(name) : undefined;
      // The one that runs may write the same files: it ends first.
      await this.graph.takeCapture(link)?.close();
      try {
        this.graph.setCapture(link, this.#openCapture(name, plan, filter));
      } catch (error) {
        if (before !== undefined) this.#captureAgain(link, before);
        throw error;
      }
      return null;
    },
    'capture-stop': async ({ link }) => {
      await this.graph.takeCapture(this.graph.link(link))?.close();
      return null;
    },
    status: () => this.#status(),
    freeze: ({ mark }) => {
      this.fabric.advance();
      this.fabric.clock.freeze();
      for (const end of this.#ends()) end.pause();
      if (mark !== undefined) this.#means.trunks.mark(mark);
      return { timeNs: this.fabric.clock.now() };
    },
    save: async ({ drainMs, mark }) => {
      this.#requireFrozen('saved');
      if (drainMs !== undefined) await this.#drain(drainMs, mark);
      return { bytes: saveFabric(this.graph) };
    },
    load: ({ bytes }) => {
      this.#requireFrozen('loaded');
      loadFabric(this.graph, bytes);
      return null;
    },
    thaw: () => {
      this.fabric.clock.thaw();
      for (const end of this.#ends()) end.resume();
      this.turns.soon();
      return null;
    },
    stop: async () => {
      this.turns.stop();
      const links = [...this.graph.links.values()];
      const closing = links.map((link) => this.graph.takeCapture(link)?.close());
      for (const link of links) this.graph.removeLink(link);
      await Promise.allSettled([...closing, this.#means.trunks.stop()]);
      return null;
    },
  };

  readonly #openers: Openers = {
    openEnd: (plan, context) => this.#means.openEnd(plan, context, this.#io),
    openCapture: (link) => this.#openCapture(link.name, link.capture!),
  };

  /** Goes on with a capture that made room for one that could not be begun. */
  #captureAgain(link: Link, plan: CapturePlan): void {
    try {
      this.graph.setCapture(link, this.#openCapture(link.name, plan));
    } catch (error) {
      this.graph.tell(link.name, { kind: 'capture-failed', detail: (error as Error).message }, false);
    }
  }

  #openCapture(name: string, plan: CapturePlan, filter?: BpfProgram) {
    const failed = (error: Error): void => {
      const link = this.graph.links.get(name);
      if (link === undefined) return;
      void this.graph
        .takeCapture(link)
        ?.close()
        .catch(() => {});
      this.graph.tell(name, { kind: 'capture-failed', detail: error.message }, false);
    };
    const capture = this.#means.openCapture(plan, name, failed, filter);
    this.#captured.set(name, plan);
    return capture;
  }

  #ends(): PortEnd[] {
    return [...this.graph.links.values()].flatMap(({ port }) => (port === undefined ? [] : [port.end]));
  }

  #links(names: string[] | undefined): Link[] {
    return names?.map((name) => this.graph.link(name)) ?? [...this.graph.links.values()];
  }

  #requireFrozen(what: string): void {
    if (this.fabric.clock.isFrozen) return;
    throw new LodgeError('fabric-unavailable', `a fabric that runs cannot be ${what}`, {
      fix: 'freeze it first',
    });
  }

  /**
   * Takes in what waits in the sockets, while time stands still.
   * @throws LodgeError `fabric-unavailable` when the mark has not come from all other hosts
   */
  async #drain(mostMs: number, mark: string | undefined): Promise<void> {
    const endMs = performance.now() + mostMs;
    const framesSoFar = () => {
      let frames = 0;
      for (const link of this.graph.links.values()) if (link.port !== undefined) frames += link.out.frames;
      return frames;
    };
    for (const end of this.#ends()) end.resume();
    let frames = framesSoFar();
    for (let quiet = 0; quiet < quietTurns && performance.now() < endMs; quiet++) {
      await new Promise((resolve) => setImmediate(resolve));
      const now = framesSoFar();
      if (now !== frames) quiet = 0;
      frames = now;
    }
    if (mark !== undefined) await this.#untilMarked(mark);
    for (const end of this.#ends()) end.pause();
  }

  async #untilMarked(mark: string): Promise<void> {
    const endMs = performance.now() + markLimitMs;
    for (;;) {
      const missing = this.#means.trunks.withoutMark(mark);
      if (missing.length === 0) return;
      const lost = missing.filter(({ isUp }) => !isUp);
      if (lost.length > 0 || performance.now() > endMs) {
        const hosts = (lost.length > 0 ? lost : missing).map(({ host }) => host).join(', ');
        throw new LodgeError('fabric-unavailable', `what is on its way from ${hosts} cannot be taken in`, {
          fix: 'lodge status tells of each trunk whether it is up; try again',
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #linkState(link: Link): LinkState {
    const { port, name, network } = link;
    const state: LinkState = {
      name,
      network: network.name,
      out: this.#directionState(link.out),
      in: this.#directionState(link.in),
    };
    if (this.graph.captures.has(name)) state.capture = this.#captured.get(name)!;
    if (port !== undefined) {
      const { macs } = this.fabric;
      const keys = [...macs.ofPort(port.id)].map((entry) => macs.key(entry));
      state.port = {
        isConnected: port.isConnected,
        switch: port.switch.name,
        macs: keys.map(({ hi, lo }) => macText(hi, lo)).sort(),
      };
    }
    return state;
  }

  #directionState(direction: Direction): DirectionState {
    const { frames, bytes, deliveredFrames, deliveredBytes, heldFrames, shape, isCut } = direction;
    const dropped: DirectionState['dropped'] = {};
    for (const reason of dropReasons) {
      const count = direction.dropped[drop[reason]]!;
      if (count > 0) dropped[reason] = count;
    }
    const queueBytes = Math.round(direction.queuedBytes(this.fabric.clock.now()));
    return { frames, bytes, deliveredFrames, deliveredBytes, dropped, queueBytes, heldFrames, shape, isCut };
  }

  #matrix({ window, reset }: MatrixRequest): Matrix {
    const { matrix, clock } = this.fabric;
    const timeNs = clock.now();
    const rows = [...matrix.read(timeNs, window)].filter(({ source }) => source >= 0);
    const sinceNs = matrix.sinceNs(window);
    if (window !== undefined && reset === true && !matrix.reset(window, timeNs)) {
      throw new LodgeError(
        'usage',
        `the matrix has as many windows as it can: '${window}' cannot be another`,
        { fix: `use one of them again: ${matrix.windowNames.join(', ')}` },
      );
    }
    return {
      timeNs,
      sinceNs,
      halfLifeMs: matrix.halfLifeNs / 1e6,
      endpoints: [...this.graph.endpoints],
      source: Uint32Array.from(rows, ({ source }) => source),
      destination: Uint32Array.from(rows, ({ destination }) => (destination < 0 ? toAll : destination)),
      frames: Float64Array.from(rows, ({ frames }) => frames),
      bytes: Float64Array.from(rows, ({ bytes }) => bytes),
      bytesPerSecond: Float64Array.from(rows, ({ bytesPerSecond }) => bytesPerSecond),
    };
  }

  #status(): Requests['status']['answer'] {
    const { clock, pool, wheel } = this.fabric;
    let ports = 0;
    let connectedPorts = 0;
    for (const { port } of this.graph.links.values()) {
      if (port === undefined) continue;
      ports++;
      if (port.isConnected) connectedPorts++;
    }
    let switches = 0;
    for (const network of this.graph.networks.values()) switches += network.switches.length;
    return {
      timeNs: clock.now(),
      isFrozen: clock.isFrozen,
      links: this.graph.links.size,
      connectedPorts,
      ports,
      switches,
      memoryBytes: pool.usedBytes,
      memoryLimitBytes: pool.limitBytes,
      heldFrames: wheel.count,
      trunks: this.#means.trunks.states(),
    };
  }
}

function serialError(error: unknown): SerialError {
  if (!(error instanceof LodgeError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return { code: 'internal', message: text };
  }
  const { code, message, where, fix, detail } = error;
  return {
    code,
    message,
    ...(where === undefined ? {} : { where }),
    ...(fix === undefined ? {} : { fix }),
    ...(detail === undefined ? {} : { detail }),
  };
}
