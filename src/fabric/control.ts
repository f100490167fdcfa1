/**
 * What the host agent and a fabric's worker say to each other: plain values, sent with `postMessage`. Each request
 * has one answer, in the order of the requests; events come at any time. `client.ts` is the agent's side.
 */

import type { ErrorCode } from '../errors.ts';
import type { DropReason } from './drops.ts';
import type { CapturePlan, FabricPlan, Shape } from './plan.ts';

export type DirectionName = 'out' | 'in';

/** Requests by kind: what is asked and what is answered. */
export interface Requests {
  /**
   * Makes the fabric what the plan says. What is the same already is not disturbed. All or nothing.
   * `guestsRan`: before this fabric did, and what they told one before they need not tell again.
   */
  apply: { ask: { plan: FabricPlan; guestsRan?: boolean }; answer: ApplyResult };
  /**
   * Says who the other hosts of the cluster are, and where this one listens. Before the first plan with trunks. Asked
   * again, other peers take the place of those before; the rest must be the same.
   */
  hosts: { ask: HostsRequest; answer: { port: number } };
  /** Connects what is not connected now, not when its turn comes: for when guests have just come up. */
  connect: { ask: { links?: string[] }; answer: null };
  links: { ask: { links?: string[] }; answer: LinkState[] };
  matrix: { ask: MatrixRequest; answer: Matrix };
  /** Replaces the shape of a link's direction, or of both. Holds until the next shape or plan. */
  shape: { ask: { link: string; direction?: DirectionName; shape: Shape }; answer: null };
  /** A link that is cut drops what comes; what is on its way arrives. */
  cut: { ask: { link: string; direction?: DirectionName }; answer: null };
  heal: { ask: { link: string; direction?: DirectionName }; answer: null };
  /** Joins a port to another switch of its network. */
  move: { ask: { link: string; switch: string }; answer: null };
  'capture-start': { ask: { link: string; capture: CapturePlan }; answer: null };
  'capture-stop': { ask: { link: string }; answer: null };
  status: { ask: Record<never, never>; answer: FabricStatus };
  /**
   * Stops the fabric's time: nothing is taken in or delivered until `thaw`. Frozen already: nothing happens. With a
   * mark, each other host is sent it after the last frame that went to it.
   */
  freeze: { ask: { mark?: string }; answer: { timeNs: number } };
  /**
   * All that is on its way, what was learnt, counters and random numbers, as one versioned binary value. Frozen only.
   * With `drainMs`, frames that wait in the sockets are first taken in, without time going on: until none came for a
   * while, and for so long at most. For this the guests are stopped after the fabric is frozen. With `mark`, also what
   * is on its way from other hosts: until that mark came from each of them, which must all be frozen with it.
   */
  save: { ask: { drainMs?: number; mark?: string }; answer: { bytes: Uint8Array<ArrayBuffer> } };
  /** Takes back what was saved, into a fabric that is frozen and has the plan of that time applied. */
  load: { ask: { bytes: Uint8Array<ArrayBuffer> }; answer: null };
  thaw: { ask: Record<never, never>; answer: null };
  /** Closes all ports and captures; the worker ends. */
  stop: { ask: Record<never, never>; answer: null };
}

/** This host among those of its cluster. */
export interface ClusterHosts {
  /** Name of this host. */
  host: string;
  /** For connections of other hosts; port 0 is any that is free. */
  listen: { address: string; port: number };
  /** The job's key; see trunk/secure.ts. */
  keyFile: string;
  /** All other hosts. */
  peers: readonly HostAddress[];
}

export interface HostAddress {
  host: string;
  address: string;
  port: number;
}

export interface HostsRequest extends ClusterHosts {
  cluster: string;
}

/** How far the connection to another host has come. */
export interface TrunkState extends HostAddress {
  /** Whether this host connects to the other, not the other way. */
  connects: boolean;
  state: 'up' | 'down' | 'refused';
  /** Why it is not up, as far as this host knows. What the other side said of itself may be in it. */
  reason?: string;
}

export type RequestKind = keyof Requests;

export type RequestMessage = {
  [Kind in RequestKind]: { id: number; kind: Kind; ask: Requests[Kind]['ask'] };
}[RequestKind];

export type WorkerMessage =
  | { id: number; answer: Requests[RequestKind]['answer'] }
  | { id: number; error: SerialError }
  | { event: FabricEvent };

/** A LodgeError on its way between threads. */
export interface SerialError {
  code: ErrorCode;
  message: string;
  where?: string;
  fix?: string;
  detail?: string;
}

export interface ApplyResult {
  /** Names of links. */
  added: string[];
  removed: string[];
  changed: string[];
}

export interface DirectionState {
  /** Frames and bytes that came onto the direction, also those that it then dropped. */
  frames: number;
  bytes: number;
  /** Frames and bytes that left it on its other side. */
  deliveredFrames: number;
  deliveredBytes: number;
  /** Frames dropped; reasons that did not occur are not there. */
  dropped: Partial<Record<DropReason, number>>;
  /** Bytes that wait for the bandwidth now. */
  queueBytes: number;
  /** Frames on their way now, those that wait for the bandwidth among them. */
  heldFrames: number;
  shape: Shape;
  isCut: boolean;
}

export interface LinkState {
  name: string;
  network: string;
  /** Of a port: whether anything is connected to it, and its switch. */
  port?: { isConnected: boolean; switch: string; macs: string[] };
  out: DirectionState;
  in: DirectionState;
  /** What is captured of it, while it is. */
  capture?: CapturePlan;
}

export interface MatrixRequest {
  /** Count since the last request with this name and `reset`; without, since the fabric began. */
  window?: string;
  /** Begins the window again, after it was read. Windows are made by their first reset; 8 at most. */
  reset?: boolean;
}

/**
 * Who sent how much to whom: what was let in from a port, counted once, by its destination address. What links then
 * dropped is in their counters.
 */
export interface Matrix {
  /** Fabric time, and since when the window counts. */
  timeNs: number;
  sinceNs: number;
  halfLifeMs: number;
  endpoints: MatrixEndpoint[];
  /** Indices into `endpoints`; only pairs with traffic in the window or rate left. */
  source: Uint32Array;
  /** Index, or `toAll` for broadcast, multicast and frames to unknown addresses, once for each frame sent. */
  destination: Uint32Array;
  frames: Float64Array;
  bytes: Float64Array;
  /** Decayed exponentially with the half-life. */
  bytesPerSecond: Float64Array;
}

export const toAll = 0xffffffff;

export interface MatrixEndpoint {
  network: string;
  /** Name of the port's link. */
  link: string;
  /** The guest of the port. */
  guest?: string;
  /** An address behind a trunk. */
  mac?: string;
}

export interface FabricStatus {
  timeNs: number;
  isFrozen: boolean;
  links: number;
  connectedPorts: number;
  ports: number;
  switches: number;
  /** Memory for frames. */
  memoryBytes: number;
  memoryLimitBytes: number;
  heldFrames: number;
  /** Of each other host; none where the cluster is on this host alone. */
  trunks: TrunkState[];
}

/** Each event says what happened, on which link, and how often since the last one of this kind on this link. */
export interface FabricEvent {
  /** Milliseconds since the Unix epoch. */
  atMs: number;
  /** Of those about trunks the other host; an address while it is not known who it is. */
  link: string;
  kind:
    | 'connected'
    | 'disconnected'
    | 'dropping'
    | 'framing-lost'
    | 'capture-failed'
    | 'cut'
    | 'healed'
    | 'moved'
    | 'trunk-up'
    | 'trunk-down'
    | 'trunk-refused';
  /** For `dropping`. */
  reason?: DropReason;
  count?: number;
  detail?: string;
}

/** Given to the worker when it is made. */
export interface WorkerData {
  /** Memory for frames; 256 MiB when not given. */
  memoryLimitBytes?: number;
  matrixHalfLifeMs?: number;
}
