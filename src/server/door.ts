/**
 * How the API of a process that owns guests is reached: by a unix socket on this host, or, from other hosts of a job, by
 * its *door*: TCP with TLS 1.3, for whoever has the job's key. The key of doors is made from that of trunks, so that
 * neither end can be led to the other kind. What holds of trunks holds of doors: no certificates, a fresh exchange.
 */

import { hkdfSync } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import type { Server as HttpServer, RequestOptions } from 'node:http';
import { type AddressInfo, connect as connectSocket, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect, createServer, type Server, type TLSSocket } from 'node:tls';
import { type ClientOptions, WebSocket } from 'ws';
import { LodgeError } from '../errors.ts';
import { clientSecurity, connectionFault, serverSecurity } from '../fabric/trunk/secure.ts';

/** An agent on another host of the job. */
export interface FarDoor {
  host: string;
  address: string;
  port: number;
  /** The job's key. */
  key: Buffer;
}

/** The path of a unix socket, or a door. */
export type Door = string | FarDoor;

const handshakeWithinMs = 10_000;

function doorKey(key: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key, Buffer.alloc(0), 'lodge door', 32));
}

function connectDoor({ address, port, key }: FarDoor): TLSSocket {
  const socket = connect({ host: address, port, ...clientSecurity(doorKey(key)) });
  const limit = setTimeout(() => socket.destroy(new Error('it does not answer')), handshakeWithinMs);
  socket.once('close', () => clearTimeout(limit));
  socket.once('secureConnect', () => {
    clearTimeout(limit);
    const fault = connectionFault(socket);
    if (fault !== undefined) socket.destroy(new Error(fault));
  });
  socket.setNoDelay(true);
  return socket;
}

/** What `http.request` needs to go through a door. */
export function requestThrough(door: Door): RequestOptions {
  // A connection of its own for each request: with an agent of Node's, the way to connect would be the agent's. Without
  // a server name Node would compile a regular expression for addresses, a twentieth of what a short verb costs.
  return typeof door === 'string'
    ? ({ socketPath: door, agent: false, servername: '' } as RequestOptions)
    : { createConnection: () => connectDoor(door), host: 'lodge' };
}

/** A WebSocket to a path behind a door. */
export function webSocketThrough(door: Door, path: string): WebSocket {
  // Masks hide what is sent from proxies that know no WebSockets; here are none. The mask of zeros costs nothing.
  const options = { perMessageDeflate: false, generateMask: (mask: Buffer) => mask.fill(0) };
  // In a URL (`ws+unix:`), the path of a socket could hold no space, colon or control character.
  const open = () => (typeof door === 'string' ? connectSocket(door) : connectDoor(door));
  const through = { ...options, createConnection: open } as ClientOptions;
  return new WebSocket(`ws://lodge${path}`, through);
}

/** How a door is named in messages. */
export function doorText(door: Door): string {
  return typeof door === 'string' ? door : `${door.host} (${door.address}:${door.port})`;
}

/** Has an API served at a door as well. @throws LodgeError `host-io` when nothing can listen there */
export function openDoor(
  api: HttpServer,
  key: Buffer,
  address: string,
): Promise<{ port: number; server: Server }> {
  const server = createServer(
    { ...serverSecurity(doorKey(key)), handshakeTimeout: handshakeWithinMs },
    (socket) => {
      socket.setNoDelay(true);
      api.emit('connection', socket);
    },
  );
  // Strangers are turned away; that is nothing to end for.
  server.on('tlsClientError', () => {});
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new LodgeError('host-io', `nothing can listen there: ${cause.message}`, { where: address, cause }),
      ),
    );
    server.listen(0, address, () => resolve({ port: (server.address() as AddressInfo).port, server }));
  });
}

/**
 * The address by which other hosts reach this one: what its name leads to, if that is an address of its own and not
 * loopback; else its first address.
 * @param names by which the cluster knows this host
 */
export async function ownAddress(names: readonly string[]): Promise<string> {
  const all = Object.values(networkInterfaces()).flatMap((one) => one ?? []);
  const own = new Set(all.filter(({ internal }) => !internal).map(({ address }) => address));
  for (const name of names) {
    const found = await lookup(name, { all: true }).catch(() => []);
    const match = found.find(({ address }) => own.has(address));
    if (match !== undefined) return match.address;
  }
  const first = [...own].find((address) => !isIPv6(address)) ?? [...own][0];
  if (first !== undefined) return first;
  throw new LodgeError('host-io', 'this host has no address by which others could reach it', {
    fix: 'see: ip address',
  });
}
