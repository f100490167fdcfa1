/**
 * Sockets on the host that nobody is to reach: a guest that reaches one is not isolated. Proof by something of our
 * own, because what services a host has is never known.
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

export interface Canary {
  port: number;
  /** Says what reached it so far: `TCP from 10.0.0.1`, `UDP from 10.0.0.1: token`. */
  reached: () => string[];
  close: () => void;
}

/** What a datagram may have at most to be told of. */
const toldCharacters = 64;

/** Listens for TCP and UDP on the same port of all addresses of the host. @throws the socket's error */
export async function openCanary(): Promise<Canary> {
  const reached: string[] = [];
  for (;;) {
    const server = createServer((socket) => {
      reached.push(`TCP from ${socket.remoteAddress ?? 'somebody'}`);
      socket.destroy();
    });
    server.listen(0, '0.0.0.0');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const datagrams = createSocket('udp4');
    datagrams.on('message', (bytes, from) => {
      const text = bytes
        .subarray(0, toldCharacters)
        .toString('latin1')
        .replaceAll(/[^ -~]/g, '.');
      reached.push(`UDP from ${from.address}: ${text}`);
    });
    try {
      datagrams.bind(port, '0.0.0.0');
      await once(datagrams, 'listening');
    } catch (error) {
      // Somebody has that port for UDP: another pair is tried.
      server.close();
      datagrams.close();
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') continue;
      throw error;
    }
    return {
      port,
      reached: () => [...reached],
      close: () => {
        server.close();
        datagrams.close();
      },
    };
  }
}
