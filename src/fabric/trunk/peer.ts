/** Another host of the cluster, as the trunks of this one know it. */

import type { TLSSocket } from 'node:tls';
import type { HostAddress, TrunkState } from '../control.ts';
import type { PortSink } from '../port-end.ts';
import type { Connection } from './connection.ts';

const firstRetryMs = 100;
const lastRetryMs = 5000;

/** A network's place at a trunk. */
export interface NetworkEnd {
  sink: PortSink | undefined;
  isConnected: boolean;
  isPaused: boolean;
}

export class Peer {
  readonly host: string;
  /** Whether this host connects to it. */
  readonly connects: boolean;
  /** Where it is; undefined while that was not told. */
  address: HostAddress | undefined;
  connection: Connection | undefined;
  connecting: TLSSocket | undefined;
  /** By network. */
  readonly ends = new Map<string, NetworkEnd>();
  /** The networks of our hellos to it; their place is their id, an empty one is free. */
  readonly networks: string[] = [];
  /** So that a refusal that goes on is told once. */
  lastRefusal: string | undefined;
  /** Why the last try came to nothing. */
  lastFault: string | undefined;
  #retryMs = firstRetryMs;
  #retryTimer: NodeJS.Timeout | undefined;

  constructor(host: string, connects: boolean) {
    this.host = host;
    this.connects = connects;
  }

  get state(): TrunkState {
    const { host, connects, connection, lastRefusal } = this;
    const { address, port } = this.address ?? { address: '', port: 0 };
    const isUp = connection !== undefined;
    const reason = lastRefusal ?? this.lastFault;
    return {
      host,
      address,
      port,
      connects,
      state: isUp ? 'up' : lastRefusal === undefined ? 'down' : 'refused',
      ...(isUp || reason === undefined ? {} : { reason }),
    };
  }

  /** The other side has been found to be what it should. */
  isGood(): void {
    this.#retryMs = firstRetryMs;
    this.lastRefusal = undefined;
    this.lastFault = undefined;
  }

  /** Tries again after a while, twice as long each time. */
  retryLater(connect: () => void): void {
    if (this.#retryTimer !== undefined) return;
    const waitMs = this.#retryMs * (0.75 + Math.random() / 2);
    this.#retryMs = Math.min(lastRetryMs, 2 * this.#retryMs);
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      connect();
    }, waitMs);
  }

  /** It has come up: tries again now, where the next try was waited for; one that is under way goes on. */
  tryNow(connect: () => void): void {
    this.#retryMs = firstRetryMs;
    if (this.#retryTimer === undefined) return;
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    connect();
  }

  /** One that is wrong stays wrong: no more than one try in five seconds. */
  retrySeldom(): void {
    this.#retryMs = lastRetryMs;
  }

  /** Gives up what is under way; the next try is the first again. */
  forgetTries(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#retryMs = firstRetryMs;
    this.lastRefusal = undefined;
    this.lastFault = undefined;
    this.connecting?.destroy();
    this.connecting = undefined;
  }

  /** Ends are connected once the other side has their network. */
  joinEnds(): void {
    const networks = this.connection?.peer?.networks;
    if (networks === undefined) return;
    for (const [network, end] of this.ends) {
      const isThere = networks.includes(network);
      if (isThere === end.isConnected) continue;
      end.isConnected = isThere;
      if (isThere) end.sink?.connected();
      else end.sink?.disconnected('the other host no longer has this network');
    }
    this.connection!.sinksChanged();
  }

  partEnds(reason: string): void {
    for (const end of this.ends.values()) {
      if (!end.isConnected) continue;
      end.isConnected = false;
      end.sink?.disconnected(reason);
    }
  }

  /** All networks share the connection: it stands still when one of them does. */
  setPaused(): void {
    this.connection?.setPaused([...this.ends.values()].some(({ isPaused }) => isPaused));
  }
}
