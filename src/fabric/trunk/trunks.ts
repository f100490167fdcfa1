/**
 * The trunks of one host: one connection to each other host of the cluster, which carries all networks that both have.
 * Of two hosts, the one whose name comes first connects; so there is never more than one connection between them. The
 * other one *knocks* when it comes up: it connects, says hello and is sent away, and the first connects at once.
 *
 * No loops: each host has a trunk to each other, and a frame that came by a trunk goes into no trunk again. The second
 * is the fabric's part (fabric.ts).
 */

import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer, type Server } from 'node:tls';

import { LodgeError } from '../../errors.ts';
import type { HostAddress, TrunkState } from '../control.ts';
import type { SocketIo } from '../guest-end.ts';
import type { PortEnd } from '../port-end.ts';
import { Connection, type ConnectionOwner, type Fault } from './connection.ts';
import { knock } from './knock.ts';
import { type NetworkEnd, Peer } from './peer.ts';
import { clientSecurity, connectionFault, serverSecurity } from './secure.ts';
import { Strangers } from './strangers.ts';
import { encodeHello, type Hello } from './wire.ts';

export interface TrunkEvent {
  kind: 'trunk-up' | 'trunk-down' | 'trunk-refused';
  /** The other host; an address while it is not known who it is. */
  subject: string;
  /** For people; empty where the kind says all. What the other side said of itself may be in it. */
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
  peers: readonly HostAddress[];
  io: SocketIo;
  onEvent: (event: TrunkEvent) => void;
}

/** Connections that have not proved anything yet. */
const mostStrangers = 64;
const handshakeWithinMs = 5000;
/** To one that connects before this host was told who the others are. */
const notYet = 'this host was not told of the others yet';
/** To one that this host connects to. */
const knocked = 'this host connects to it';

export class Trunks {
  readonly #options: TrunksOptions;
  readonly #peers = new Map<string, Peer>();
  readonly #server: Server;
  /** Connections from others, proved or not. */
  readonly #incoming = new Set<Socket>();
  /** Connections by which this host tells others that it is there. */
  readonly #knocking = new Set<Socket>();
  /** Connections that this host made, and to whom. */
  readonly #expected = new WeakMap<Connection, Peer>();
  #digest: string;
  /** Of any other host. */
  #isTold = false;
  #helloIsDue = false;
  #isStopped = false;
  readonly #strangers = new Strangers((from, reason) => this.#tell('trunk-refused', from, reason));
  readonly #owner: ConnectionOwner;

  private constructor(options: TrunksOptions) {
    this.#options = options;
    this.#digest = options.digest;
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
      if (!this.#isStopped) this.#strangers.failed(socket.remoteAddress ?? 'somebody', error.message);
    });
    // A connection that was cut while it was taken is the other side's to make again.
    this.#server.on('error', () => {});
  }

  /**
   * Listens, and begins to connect.
   * @throws LodgeError `host-io` when it cannot listen
   */
  static async open(options: TrunksOptions): Promise<Trunks> {
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
    trunks.setPeers(options.peers);
    return trunks;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get states(): TrunkState[] {
    const peers = [...this.#peers.values()].filter(
      ({ address, ends }) => address !== undefined || ends.size > 0,
    );
    return peers.map(({ state }) => state).sort((a, b) => (a.host < b.host ? -1 : 1));
  }

  /** Who the other hosts are from now on. Connections to those that stay where they are go on. */
  setPeers(peers: readonly HostAddress[]): void {
    this.#server.maxConnections = mostStrangers + peers.length;
    this.#isTold ||= peers.length > 0;
    const told = new Set(peers.map(({ host }) => host));
    for (const peer of this.#peers.values()) {
      if (told.has(peer.host) || peer.address === undefined) continue;
      peer.address = undefined;
      peer.forgetTries();
      peer.connection?.close('it is no host of the cluster any more');
    }
    for (const address of peers) {
      const peer = this.#peer(address.host);
      const before = peer.address;
      if (before?.address === address.address && before.port === address.port) continue;
      peer.address = address;
      if (!peer.connects) {
        this.#knock(address);
        continue;
      }
      peer.forgetTries();
      if (peer.connection === undefined) this.#connect(peer);
      else peer.connection.close('it has another address');
    }
  }

  /** The plan was changed: the other hosts are told which this host has. */
  setDigest(digest: string): void {
    this.#digest = digest;
    this.#sayHelloSoon();
  }

  /**
   * The end of a port that is a trunk.
   * @param host may be one that is told of later
   * @throws LodgeError `internal` for a trunk to this host
   */
  end(host: string, network: string): PortEnd {
    if (host === this.#options.host) throw new LodgeError('internal', `a trunk of '${host}' to itself`);
    const peer = this.#peer(host);
    const end: NetworkEnd = { sink: undefined, isConnected: false, isPaused: false };
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
        peer.joinEnds();
      },
      send: (buffer, offset, length) =>
        end.isConnected && (peer.connection?.send(id, buffer, offset, length) ?? false),
      pause: () => {
        end.isPaused = true;
        peer.setPaused();
      },
      resume: () => {
        end.isPaused = false;
        peer.setPaused();
      },
      stop: () => {
        if (peer.ends.get(network) === end) {
          peer.ends.delete(network);
          peer.networks[id] = '';
          this.#sayHelloSoon();
        }
        end.isConnected = false;
        end.sink = undefined;
        peer.connection?.sinksChanged();
        peer.setPaused();
      },
    };
  }

  /** Sends a mark on each trunk, after all frames that it was given so far. */
  mark(mark: string): void {
    for (const { connection } of this.#peers.values()) connection?.sendMark(mark);
  }

  /** What has not come yet: hosts with networks of this one that are not up, or have sent no such mark. */
  withoutMark(mark: string): { host: string; isUp: boolean }[] {
    return [...this.#peers.values()]
      .filter(({ ends, connection }) => ends.size > 0 && connection?.heardMark !== mark)
      .map(({ host, connection }) => ({ host, isUp: connection !== undefined }));
  }

  /** Closes all connections. The ends are the fabric's to stop. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const peer of this.#peers.values()) {
      peer.forgetTries();
      peer.connection?.close('this host ended it');
    }
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of [...this.#incoming, ...this.#knocking]) socket.destroy();
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

  #peer(host: string): Peer {
    let peer = this.#peers.get(host);
    if (peer === undefined) {
      peer = new Peer(host, this.#options.host < host);
      this.#peers.set(host, peer);
    }
    return peer;
  }

  #connect(peer: Peer): void {
    if (this.#isStopped || peer.address === undefined || peer.connection !== undefined) return;
    const { address, port } = peer.address;
    const socket = connect({ host: address, port, ...clientSecurity(this.#options.key) });
    peer.connecting = socket;
    let fault = '';
    const failed = () => {
      // Given up for another address.
      if (peer.connecting !== socket) return;
      if (fault !== '') this.#refused(peer, fault);
      this.#retry(peer);
    };
    const timer = setTimeout(() => socket.destroy(), handshakeWithinMs);
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // Of TLS, not of the network: somebody is there, and is not one of us.
      const isNetwork = error.syscall !== undefined || error.code === 'ECONNRESET';
      if (isNetwork) peer.lastFault = error.message;
      else fault = `it has not got the job's key (${error.code ?? error.message})`;
    });
    socket.once('close', failed);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      socket.off('close', failed);
      if (peer.connecting !== socket) {
        socket.destroy();
        return;
      }
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

  /** Has a host that connects to this one do so now, and not when its turn comes. */
  #knock(address: HostAddress): void {
    const { cluster, host, key } = this.#options;
    const hello = encodeHello({ cluster, host, digest: this.#digest, networks: [] });
    const socket = knock(address, key, hello, handshakeWithinMs);
    this.#knocking.add(socket);
    socket.once('close', () => this.#knocking.delete(socket));
  }

  #retry(peer: Peer): void {
    peer.connecting = undefined;
    if (!this.#isStopped && peer.address !== undefined) peer.retryLater(() => this.#connect(peer));
  }

  #peerOf(connection: Connection): Peer | undefined {
    const { peer } = connection;
    return peer === undefined ? undefined : this.#peers.get(peer.host);
  }

  #judge(connection: Connection, { cluster, host }: Hello): Fault | undefined {
    const own = this.#options;
    const refused = (reason: string): Fault => ({ reason, isRefusal: true });
    if (cluster !== own.cluster)
      return refused(`it belongs to the cluster '${cluster}', not to '${own.cluster}'`);
    if (host === own.host) return refused(`it says that it is '${host}', which is this host`);
    if (connection.peer !== undefined && connection.peer.host !== host) return refused('it changed its name');
    const expected = this.#expected.get(connection);
    if (expected !== undefined) {
      return expected.host === host ? undefined : refused(`it is '${host}', not '${expected.host}'`);
    }
    const peer = this.#peers.get(host);
    if (peer?.address === undefined) {
      // It has the key, and may be told of here in a moment.
      if (!this.#isTold) return { reason: notYet, isRefusal: false };
      return refused(`there is no host '${host}' in the plan of '${own.host}'`);
    }
    if (!peer.connects) return undefined;
    peer.tryNow(() => this.#connect(peer));
    return { reason: knocked, isRefusal: false };
  }

  #greeted(connection: Connection, hello: Hello): void {
    const peer = this.#peers.get(hello.host)!;
    const before = peer.connection;
    const isNew = before !== connection;
    if (isNew) {
      // The other host was started again before the end of its last connection came through.
      peer.connection = connection;
      if (before !== undefined) {
        peer.partEnds('the other host connected again');
        before.close('the other host connected again');
      }
      peer.isGood();
    }
    const other = hello.digest === this.#digest ? '' : 'it has another plan of the cluster';
    if (isNew) {
      // Who connected has said it before; but what changed since then was not told, while nobody was known to be there.
      connection.sayHello();
      this.#tell('trunk-up', hello.host, other);
    }
    peer.setPaused();
    peer.joinEnds();
  }

  #closed(connection: Connection, reason: string, isRefusal: boolean): void {
    const peer = this.#peerOf(connection) ?? this.#expected.get(connection);
    if (peer === undefined) {
      if (!this.#isStopped && reason !== notYet && reason !== knocked)
        this.#strangers.failed('a host that connected', reason);
      return;
    }
    const wasUp = peer.connection === connection;
    if (wasUp) {
      peer.connection = undefined;
      peer.partEnds(reason);
    }
    if (peer.connection === undefined) peer.lastFault = reason;
    if (isRefusal) this.#refused(peer, reason);
    else if (wasUp && !this.#isStopped) this.#tell('trunk-down', peer.host, reason);
    if (peer.connects && peer.connection === undefined) this.#retry(peer);
  }

  #refused(peer: Peer, reason: string): void {
    peer.retrySeldom();
    if (this.#isStopped || peer.lastRefusal === reason) return;
    peer.lastRefusal = reason;
    this.#tell('trunk-refused', peer.host, reason);
  }

  #tell(kind: TrunkEvent['kind'], subject: string, text: string): void {
    this.#options.onEvent({ kind, subject, text });
  }
}
