/**
 * The trunks of one host: one connection to each other host of the cluster, which carries all networks that both have.
 * Of two hosts, the one whose name comes first connects; so there is never more than one connection between them.
 *
 * No loops: each host has a trunk to each other, and a frame that came by a trunk goes into no trunk again. The second
 * is the fabric's part (fabric.ts).
 */

import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { LodgeError } from '../../errors.ts';
import type { SocketIo } from '../guest-end.ts';
import type { PortEnd, PortSink } from '../port-end.ts';
import { Connection, type ConnectionOwner } from './connection.ts';
import { clientSecurity, connectionFault, serverSecurity } from './secure.ts';
import type { Hello } from './wire.ts';

export interface TrunkPeer {
  host: string;
  address: string;
  port: number;
}

export interface TrunkEvent {
  kind: 'trunk-up' | 'trunk-down' | 'trunk-refused';
  /** The other host; an address while it is not known who it is. */
  subject: string;
  /** For people. What the other side said of itself may be in it. */
  text: string;
}

export interface TrunksOptions {
  cluster: string;
  /** This host. */
  host: string;
  /** Of the cluster's plan: where hosts differ, it is told, since one of them has not got the last plan yet. */
  digest: string;
  key: Buffer;
  /** Port 0 is any that is free. */
  listen: { address: string; port: number };
  peers: readonly TrunkPeer[];
  io: SocketIo;
  onEvent: (event: TrunkEvent) => void;
}

const firstRetryMs = 100;
const lastRetryMs = 5000;
/** Connections that have not proved anything yet. */
const mostStrangers = 64;
const handshakeWithinMs = 5000;
/** Between two events about strangers. */
const strangersEveryMs = 10_000;

interface Peer extends TrunkPeer {
  connects: boolean;
  connection: Connection | undefined;
  /** By network. */
  ends: Map<string, End>;
  /** The networks of our hellos to it; their place is their id, an empty one is free. */
  networks: string[];
  retryMs: number;
  retryTimer: NodeJS.Timeout | undefined;
  connecting: TLSSocket | undefined;
  /** So that a refusal that goes on is told once. */
  lastRefusal: string | undefined;
}

interface End {
  sink: PortSink | undefined;
  isConnected: boolean;
  isPaused: boolean;
}

export class Trunks {
  readonly #options: TrunksOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #server: Server;
  /** Connections from others, proved or not. */
  readonly #incoming = new Set<Socket>();
  /** Connections that this host made, and to whom. */
  readonly #expected = new WeakMap<Connection, Peer>();
  #digest: string;
  #helloIsDue = false;
  #isStopped = false;
  #strangers = 0;
  #toldOfStrangersAtMs = Number.NEGATIVE_INFINITY;
  readonly #owner: ConnectionOwner;

  private constructor(options: TrunksOptions) {
    this.#options = options;
    this.#digest = options.digest;
    for (const peer of options.peers) {
      this.#peers.set(peer.host, {
        ...peer,
        connects: options.host < peer.host,
        connection: undefined,
        ends: new Map(),
        networks: [],
        retryMs: firstRetryMs,
        retryTimer: undefined,
        connecting: undefined,
        lastRefusal: undefined,
      });
    }
    this.#owner = {
      io: options.io,
      hello: (connection) => this.#hello(connection),
      judge: (connection, hello) => this.#judge(connection, hello),
      greeted: (connection, hello) => this.#greeted(connection, hello),
      sink: (connection, network) => {
        const end = this.#peerOf(connection)?.ends.get(network);
        return end?.isConnected === true ? end.sink : undefined;
      },
      closed: (connection, reason, isRefusal) => this.#closed(connection, reason, isRefusal),
    };
    this.#server = createServer({ ...serverSecurity(options.key), handshakeTimeout: handshakeWithinMs });
    this.#server.maxConnections = mostStrangers + options.peers.length;
    this.#server.on('secureConnection', (socket) => {
      if (this.#isStopped) socket.destroy();
      else new Connection(socket, this.#owner);
    });
    this.#server.on('connection', (socket: Socket) => {
      this.#incoming.add(socket);
      socket.once('close', () => this.#incoming.delete(socket));
    });
    this.#server.on('tlsClientError', (error, socket) => {
      socket.destroy();
      this.#strangerFailed(socket.remoteAddress ?? 'somebody', error.message);
    });
    // A connection that was cut while it was taken is the other side's to make again.
    this.#server.on('error', () => {});
  }

  /**
   * Listens, and begins to connect.
   * @throws LodgeError `host-io` when it cannot listen
   */
  static async open(options: TrunksOptions): Promise<Trunks> {
    if (options.peers.some(({ host }) => host === options.host)) {
      throw new LodgeError('internal', `a trunk of ${options.host} to itself`);
    }
    const trunks = new Trunks(options);
    const { address, port } = options.listen;
    await new Promise<void>((resolve, reject) => {
      trunks.#server.once('error', (cause) =>
        reject(
          new LodgeError('host-io', `trunks cannot listen: ${cause.message}`, {
            where: `${address}:${port}`,
            cause,
          }),
        ),
      );
      trunks.#server.listen(port, address, resolve);
    });
    for (const peer of trunks.#peers.values()) if (peer.connects) trunks.#connect(peer);
    return trunks;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The plan was changed: the other hosts are told which this host has. */
  setDigest(digest: string): void {
    this.#digest = digest;
    this.#sayHelloSoon();
  }

  /**
   * The end of a port that is a trunk.
   * @throws LodgeError `internal` for a host that is no peer, or a network that has one already
   */
  end(host: string, network: string): PortEnd {
    const peer = this.#peers.get(host);
    if (peer === undefined) throw new LodgeError('internal', `there is no trunk to '${host}'`);
    const end: End = { sink: undefined, isConnected: false, isPaused: false };
    let id = -1;
    return {
      start: (sink) => {
        if (peer.ends.has(network))
          throw new LodgeError('internal', `two trunks of '${network}' to '${host}'`);
        end.sink = sink;
        peer.ends.set(network, end);
        const free = peer.networks.indexOf('');
        id = free >= 0 ? free : peer.networks.length;
        peer.networks[id] = network;
        this.#sayHelloSoon();
        this.#joinEnds(peer);
      },
      send: (buffer, offset, length) =>
        end.isConnected && (peer.connection?.send(id, buffer, offset, length) ?? false),
      pause: () => {
        end.isPaused = true;
        this.#setPaused(peer);
      },
      resume: () => {
        end.isPaused = false;
        this.#setPaused(peer);
      },
      waiting: () => peer.connection?.waiting(id) ?? Buffer.alloc(0),
      stop: () => {
        if (peer.ends.get(network) === end) {
          peer.ends.delete(network);
          peer.networks[id] = '';
          this.#sayHelloSoon();
        }
        end.isConnected = false;
        end.sink = undefined;
        peer.connection?.sinksChanged();
        this.#setPaused(peer);
      },
    };
  }

  /** Closes all connections. The ends are the fabric's to stop. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const peer of this.#peers.values()) {
      clearTimeout(peer.retryTimer);
      peer.connecting?.destroy();
      peer.connection?.close('this host ended it');
    }
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#incoming) socket.destroy();
    });
  }

  #hello(connection: Connection): Omit<Hello, 'version'> {
    const { cluster, host } = this.#options;
    const peer = this.#expected.get(connection) ?? this.#peerOf(connection);
    return { cluster, host, digest: this.#digest, networks: peer?.networks ?? [] };
  }

  /** Once for all that changes in this turn. */
  #sayHelloSoon(): void {
    if (this.#helloIsDue) return;
    this.#helloIsDue = true;
    setImmediate(() => {
      this.#helloIsDue = false;
      for (const { connection } of this.#peers.values()) connection?.sayHello();
    });
  }

  #connect(peer: Peer): void {
    peer.retryTimer = undefined;
    if (this.#isStopped) return;
    const { key } = this.#options;
    const socket = connect({ host: peer.address, port: peer.port, ...clientSecurity(key) });
    peer.connecting = socket;
    let fault = '';
    const failed = () => {
      if (fault !== '') this.#refused(peer, fault);
      this.#retry(peer);
    };
    const timer = setTimeout(() => socket.destroy(), handshakeWithinMs);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Of TLS, not of the network: somebody is there, and is not one of us.
      const isNetwork = error.syscall !== undefined || error.code === 'ECONNRESET';
      if (!isNetwork) fault = `it has not got the job's key (${error.code ?? error.message})`;
    });
    socket.once('close', failed);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('close', failed);
      peer.connecting = undefined;
      const unsafe = connectionFault(socket);
      if (unsafe === undefined && !this.#isStopped) {
        const connection = new Connection(socket, this.#owner);
        this.#expected.set(connection, peer);
        connection.sayHello();
        return;
      }
      socket.destroy();
      if (unsafe !== undefined) this.#refused(peer, unsafe);
      this.#retry(peer);
    });
    socket.once('close', () => clearTimeout(timer));
  }

  #retry(peer: Peer): void {
    peer.connecting = undefined;
    if (this.#isStopped || peer.retryTimer !== undefined) return;
    const waitMs = peer.retryMs * (0.75 + Math.random() / 2);
    peer.retryMs = Math.min(lastRetryMs, 2 * peer.retryMs);
    peer.retryTimer = setTimeout(() => this.#connect(peer), waitMs);
  }

  #peerOf(connection: Connection): Peer | undefined {
    const { peer } = connection;
    return peer === undefined ? undefined : this.#peers.get(peer.host);
  }

  #judge(connection: Connection, { cluster, host }: Hello): string | undefined {
    const { options, expected } = { options: this.#options, expected: this.#expected.get(connection) };
    if (cluster !== options.cluster)
      return `it belongs to the cluster '${cluster}', not to '${options.cluster}'`;
    if (host === options.host) return `it says that it is '${host}', which is this host`;
    if (connection.peer !== undefined && connection.peer.host !== host) return 'it changed its name';
    if (expected !== undefined) {
      return expected.host === host ? undefined : `it is '${host}', not '${expected.host}'`;
    }
    const peer = this.#peers.get(host);
    if (peer === undefined) return `there is no host '${host}' in the plan of '${options.host}'`;
    return peer.connects ? `'${options.host}' connects to '${host}', not the other way` : undefined;
  }

  #greeted(connection: Connection, hello: Hello): void {
    const peer = this.#peers.get(hello.host)!;
    const before = peer.connection;
    const isNew = before !== connection;
    if (isNew) {
      // The other host was started again before the end of its last connection came through.
      peer.connection = connection;
      if (before !== undefined) {
        this.#partEnds(peer, 'the other host connected again');
        before.close('the other host connected again');
      }
      peer.retryMs = firstRetryMs;
      peer.lastRefusal = undefined;
    }
    const other = hello.digest === this.#digest ? '' : '; it has another plan of the cluster';
    if (isNew) {
      if (!peer.connects) connection.sayHello();
      this.#tell('trunk-up', hello.host, `connected${other}`);
    }
    this.#setPaused(peer);
    this.#joinEnds(peer);
  }

  /** Ends are connected once the other side has their network. */
  #joinEnds(peer: Peer): void {
    const { connection } = peer;
    const networks = connection?.peer?.networks;
    if (networks === undefined) return;
    for (const [network, end] of peer.ends) {
      const isThere = networks.includes(network);
      if (isThere === end.isConnected) continue;
      end.isConnected = isThere;
      if (isThere) end.sink?.connected();
      else end.sink?.disconnected('the other host no longer has this network');
    }
    connection!.sinksChanged();
  }

  #partEnds(peer: Peer, reason: string): void {
    for (const end of peer.ends.values()) {
      if (!end.isConnected) continue;
      end.isConnected = false;
      end.sink?.disconnected(reason);
    }
  }

  #setPaused(peer: Peer): void {
    const ends = [...peer.ends.values()];
    peer.connection?.setPaused(ends.some(({ isPaused }) => isPaused));
  }

  #closed(connection: Connection, reason: string, isRefusal: boolean): void {
    const peer = this.#peerOf(connection) ?? this.#expected.get(connection);
    if (peer === undefined) {
      if (!this.#isStopped) this.#strangerFailed('a host that connected', reason);
      return;
    }
    const wasUp = peer.connection === connection;
    if (wasUp) {
      peer.connection = undefined;
      this.#partEnds(peer, reason);
    }
    if (isRefusal) this.#refused(peer, reason);
    else if (wasUp && !this.#isStopped) this.#tell('trunk-down', peer.host, reason);
    if (peer.connects && peer.connection === undefined) this.#retry(peer);
  }

  #refused(peer: Peer, reason: string): void {
    // One that is wrong stays wrong: no more than one try in five seconds.
    peer.retryMs = lastRetryMs;
    if (this.#isStopped || peer.lastRefusal === reason) return;
    peer.lastRefusal = reason;
    this.#tell('trunk-refused', peer.host, reason);
  }

  /** Anybody can knock at the port, as often as they like: told now and then. */
  #strangerFailed(from: string, reason: string): void {
    this.#strangers++;
    const nowMs = performance.now();
    if (this.#isStopped || nowMs - this.#toldOfStrangersAtMs < strangersEveryMs) return;
    this.#toldOfStrangersAtMs = nowMs;
    const times = this.#strangers === 1 ? '' : ` (${this.#strangers} since the last time)`;
    this.#strangers = 0;
    this.#tell('trunk-refused', from, `${reason}${times}`);
  }

  #tell(kind: TrunkEvent['kind'], subject: string, text: string): void {
    this.#options.onEvent({ kind, subject, text });
  }
}
