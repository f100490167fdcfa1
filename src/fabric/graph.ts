/** The parts that a fabric is made of, by name, and how each is added, changed and removed; apply.ts says when. */

import { LodgeError } from '../errors.ts';
import { seededRandom } from '../random.ts';
import { checkShape } from './check-plan.ts';
import type { DirectionName, FabricEvent, MatrixEndpoint } from './control.ts';
import { dhcpOf } from './dhcp.ts';
import { Direction } from './direction.ts';
import { drop } from './drops.ts';
import type { Fabric } from './fabric.ts';
import { macText, parseMac } from './mac-table.ts';
import type { Link, Network, Switch } from './network.ts';
import type { Capture } from './observer.ts';
import type { NetworkPlan, PortPlan, Shape } from './plan.ts';
import { newPort, ownMac, type Port } from './port.ts';
import type { PortEnd, PortSink } from './port-end.ts';
import { Routes } from './routes.ts';

/** Addresses behind trunks that are told apart in the matrix; the rest are counted by trunk. */
const mostTrunkEndpoints = 65_536;
/** Between two events of one kind on one link. */
const eventEveryMs = 10_000;

export class Graph {
  readonly fabric: Fabric;
  readonly networks = new Map<string, Network>();
  readonly links = new Map<string, Link>();
  readonly captures = new Map<string, Capture>();
  readonly endpoints: MatrixEndpoint[] = [];
  readonly #endpointIds = new Map<string, number>();
  #trunkEndpoints = 0;
  /** First numbers of pairs that are free. */
  readonly #freeDirections: number[] = [];
  readonly #freePorts: number[] = [];
  readonly #told = new Map<string, { atMs: number; untold: number }>();
  #networkIds = 0;
  seed = 0;

  constructor(fabric: Fabric) {
    this.fabric = fabric;
    fabric.endpointFor = (port, hi, lo) => this.#endpointFor(port, hi, lo);
  }

  /** @throws LodgeError `usage` */
  link(name: string): Link {
    const link = this.links.get(name);
    if (link !== undefined) return link;
    throw new LodgeError('usage', `the fabric has no link '${name}'`, {
      fix: 'lodge fabric links shows them; names are as lan/v01',
    });
  }

  /** Directions of a link: the one that is named, or both. */
  #directions(link: Link, name: DirectionName | undefined): Direction[] {
    if (name === undefined) return [link.out, link.in];
    return [name === 'out' ? link.out : link.in];
  }

  setSeed(seed: number): void {
    if (seed === this.seed) return;
    this.seed = seed;
    for (const link of this.links.values()) {
      for (const direction of [link.out, link.in]) {
        direction.random = seededRandom(seed, `${direction.link}/${direction.isOut ? 'out' : 'in'}`);
      }
    }
  }

  /** Makes a network, or gives one other switches. Its routes must be made again, by `setRoutes`. */
  setNetwork(plan: NetworkPlan): Network {
    const network = this.networks.get(plan.name) ?? {
      id: this.#networkIds++,
      name: plan.name,
      mtuBytes: plan.mtuBytes,
      switches: [],
      links: [],
      routes: new Routes(0, [], () => true),
      dhcp: undefined,
    };
    network.mtuBytes = plan.mtuBytes;
    network.dhcp = dhcpOf(plan);
    const before = new Map(network.switches.map((one) => [one.name, one]));
    network.switches = plan.switches.map((name, index) => {
      const one: Switch = before.get(name) ?? { name, index, network, ports: [] };
      one.index = index;
      return one;
    });
    this.networks.set(plan.name, network);
    return network;
  }

  setRoutes(network: Network): void {
    network.links = [];
    for (const link of this.links.values()) {
      if (link.network !== network || link.port !== undefined) continue;
      const [a, b] = [link.in.toSwitch!.index, link.out.toSwitch!.index];
      network.links.push({ a, b, direction: link.out.id });
    }
    const { directions } = this.fabric;
    // A link of which one direction is cut still looks whole to those who choose ways, as it would outside.
    const isUp = (direction: number) => !directions[direction]!.isCut || !directions[direction ^ 1]!.isCut;
    network.routes = new Routes(network.switches.length, network.links, isUp);
  }

  removeNetwork(network: Network): void {
    this.networks.delete(network.name);
  }

  addSwitchLink(name: string, network: Network, a: Switch, b: Switch): Link {
    const link = this.#addLink(name, network);
    link.out.toSwitch = b;
    link.in.toSwitch = a;
    return link;
  }

  /** Adds a port and begins to connect its end. */
  addPort(plan: PortPlan, network: Network, end: PortEnd): Link {
    const at = network.switches[plan.switch]!;
    const link = this.#addLink(plan.link.name, network);
    const id = this.#freePorts.pop() ?? this.fabric.ports.length;
    const guest = plan.end.kind === 'guest' ? { guest: plan.end.guest } : {};
    const endpoint = this.endpointId({ network: network.name, link: link.name, ...guest });
    const port = newPort(id, plan, at, link, end, endpoint);
    this.fabric.ports[id] = port;
    link.port = port;
    link.out.toSwitch = at;
    link.in.toPort = port;
    at.ports.push(port);
    this.#claimOwn(port);
    end.start(this.#sinkOf(port));
    return link;
  }

  /** Of guests that have run before: each may have shown then that it routes IPv6, and need not do so again. */
  takeAllForRouters(): void {
    for (const { port } of this.links.values()) if (port !== undefined) port.isIpv6Router = true;
  }

  /** Takes a link away, with what is on its way over it. */
  removeLink(link: Link): void {
    const { port } = link;
    if (port !== undefined) {
      port.end.stop();
      port.isConnected = false;
      port.switch.ports.splice(port.switch.ports.indexOf(port), 1);
      for (const entry of this.fabric.macs.ofPort(port.id)) this.fabric.macs.remove(entry);
      this.#freePorts.push(port.id);
      delete this.fabric.ports[port.id];
    }
    for (const direction of [link.out, link.in]) {
      for (const event of this.fabric.wheel.take(direction.id)) this.fabric.pool.release(event.slot);
    }
    this.#freeDirections.push(link.out.id);
    this.links.delete(link.name);
    for (const key of this.#told.keys()) if (key.startsWith(`${link.name} `)) this.#told.delete(key);
  }

  /** @throws LodgeError `spec-value` for a shape that cannot be, with nothing changed */
  setShape(link: Link, name: DirectionName | undefined, shape: Shape): void {
    checkShape(shape, link.name);
    for (const direction of this.#directions(link, name)) this.#reshape(direction, shape);
  }

  setCut(link: Link, name: DirectionName | undefined, isCut: boolean): void {
    let isChanged = false;
    for (const direction of this.#directions(link, name)) {
      if (direction.isCut !== isCut) isChanged = true;
      direction.isCut = isCut;
    }
    if (!isChanged) return;
    link.network.routes.forget();
    this.tell(
      link.name,
      { kind: isCut ? 'cut' : 'healed', ...(name === undefined ? {} : { detail: name }) },
      false,
    );
  }

  /** Forgets what was learnt; ports have the addresses of the plan again. */
  forgetAddresses(): void {
    const ports = [...this.links.values()].flatMap(({ port }) => (port === undefined ? [] : [port]));
    for (const port of ports) {
      for (const entry of this.fabric.macs.ofPort(port.id)) this.fabric.macs.remove(entry);
      port.macs = 0;
      port.sourceEntry = -1;
    }
    for (const port of ports) this.#claimOwn(port);
  }

  /** Gives a port the addresses that its plan now has, and takes those away that it had by another. */
  claimAgain(port: Port): void {
    const { macs } = this.fabric;
    for (const entry of macs.ofPort(port.id)) {
      if (!macs.isStatic(entry)) continue;
      macs.remove(entry);
      port.macs--;
    }
    port.sourceEntry = -1;
    this.#claimOwn(port);
  }

  /** @throws LodgeError `usage` when the link is none of a port, or there is no such switch */
  move(link: Link, switchName: string): void {
    const { port } = link;
    if (port === undefined) {
      throw new LodgeError('usage', `'${link.name}' joins two switches: only ports can be moved`);
    }
    const to = link.network.switches.find((one) => one.name === switchName);
    if (to === undefined) {
      throw new LodgeError('usage', `the network '${link.network.name}' has no switch '${switchName}'`);
    }
    if (to === port.switch) return;
    port.switch.ports.splice(port.switch.ports.indexOf(port), 1);
    to.ports.push(port);
    port.switch = to;
    link.out.toSwitch = to;
    this.tell(link.name, { kind: 'moved', detail: switchName }, false);
  }

  setCapture(link: Link, capture: Capture): void {
    this.captures.set(link.name, capture);
    link.out.observer = capture.out;
    link.in.observer = capture.in;
  }

  /** Takes the capture off a link. @returns it, to be closed */
  takeCapture(link: Link): Capture | undefined {
    const capture = this.captures.get(link.name);
    this.captures.delete(link.name);
    link.out.observer = undefined;
    link.in.observer = undefined;
    return capture;
  }

  /** Sends an event; of those that guests can bring about, one of a kind and link in 10 s. */
  tell(
    link: string,
    event: Pick<FabricEvent, 'kind' | 'detail' | 'reason' | 'count'>,
    isLimited = true,
  ): void {
    const atMs = Date.now();
    if (isLimited) {
      const key = `${link} ${event.kind}`;
      const told = this.#told.get(key);
      if (told !== undefined && atMs - told.atMs < eventEveryMs) {
        told.untold++;
        return;
      }
      this.#told.set(key, { atMs, untold: 0 });
      if (told !== undefined && told.untold > 0) event = { ...event, count: told.untold + 1 };
    }
    this.fabric.onEvent({ atMs, link, ...event });
  }

  /** Number of an endpoint in the matrix. Whoever was there before under the same link or address has the same. */
  endpointId(endpoint: MatrixEndpoint): number {
    const { network, link, mac } = endpoint;
    const key = mac === undefined ? link : `${network} ${mac}`;
    const known = this.#endpointIds.get(key);
    if (known !== undefined) {
      this.endpoints[known] = endpoint;
      return known;
    }
    this.#endpointIds.set(key, this.endpoints.length);
    return this.endpoints.push(endpoint) - 1;
  }

  #addLink(name: string, network: Network): Link {
    const { directions } = this.fabric;
    const first = this.#freeDirections.pop() ?? directions.length;
    const link: Link = {
      name,
      network,
      out: new Direction(first, name, true, this.seed),
      in: new Direction(first + 1, name, false, this.seed),
      port: undefined,
    };
    directions[first] = link.out;
    directions[first + 1] = link.in;
    this.links.set(name, link);
    return link;
  }

  /** Frames that wait for the bandwidth are queued anew; those on their way arrive within the new delay. */
  #reshape(direction: Direction, shape: Shape): void {
    const { wheel, pool, clock } = this.fabric;
    const events = direction.heldFrames > 0 ? wheel.take(direction.id) : [];
    const { delayNs } = direction;
    const nowNs = clock.now();
    direction.setShape(shape);
    direction.freeNs = nowNs;
    for (const { deadlineNs, slot, root } of events) {
      const newNs = direction.replan(nowNs, deadlineNs - delayNs, deadlineNs, pool.length(slot));
      wheel.insert(newNs, direction.id, slot, root);
    }
    this.fabric.onWork();
  }

  /** The addresses of the plan are the port's from the beginning, whoever was heard with them before. */
  #claimOwn(port: Port): void {
    const own = ownMac(port.plan);
    if (own !== undefined) this.#claim(port, own, port.endpoint);
    const { end } = port.plan;
    if (end.kind !== 'trunk') return;
    const network = port.network.name;
    for (const { mac, link, guest } of end.members ?? []) {
      const endpoint = this.endpointId({ network, link, ...(guest === undefined ? {} : { guest }) });
      this.#claim(port, parseMac(mac)!, endpoint);
    }
  }

  #claim(port: Port, { hi, lo }: { hi: number; lo: number }, endpoint: number): void {
    const { macs, ports } = this.fabric;
    const entry = macs.find(port.network.id, hi, lo);
    port.macs++;
    if (entry < 0) {
      macs.add(port.network.id, hi, lo, port.id, endpoint, true, this.fabric.clock.now());
      return;
    }
    const before = ports[macs.port(entry)]!;
    before.macs--;
    before.sourceEntry = -1;
    macs.move(entry, port.id, endpoint, true);
  }

  #sinkOf(port: Port): PortSink {
    const { fabric } = this;
    return {
      frame: (buffer, offset, length) => fabric.receive(port, buffer, offset, length),
      frames: (buffer, offset, bytes) => fabric.receiveMany(port, buffer, offset, bytes),
      connected: () => {
        port.isConnected = true;
        this.tell(port.name, { kind: 'connected' });
      },
      disconnected: (reason) => {
        port.isConnected = false;
        this.tell(port.name, { kind: 'disconnected', detail: reason });
      },
      dropped: (reason, frames) => fabric.refuse(port, drop[reason], frames, 0),
      framingLost: (detail) => this.tell(port.name, { kind: 'framing-lost', detail }),
    };
  }

  #endpointFor(port: Port, hi: number, lo: number): number {
    if (!port.isTrunk || this.#trunkEndpoints >= mostTrunkEndpoints) return port.endpoint;
    const mac = macText(hi, lo);
    const known = this.endpoints.length;
    const { network, name: link } = port;
    const endpoint = this.endpointId({ network: network.name, link, mac });
    if (endpoint === known) this.#trunkEndpoints++;
    return endpoint;
  }
}
