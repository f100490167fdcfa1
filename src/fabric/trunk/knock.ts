/** How a host tells another one, which connects to it, that it has come up. */

import { connect, type TLSSocket } from 'node:tls';
import type { HostAddress } from '../control.ts';
import { clientSecurity, connectionFault } from './secure.ts';

/**
 * Connects, says hello, and waits to be sent away. The other host may not be there: then nothing happens, and what is
 * wrong is told when it connects.
 * @param hello of this host, encoded
 */
export function knock(
  { address, port }: HostAddress,
  key: Buffer,
  hello: Buffer,
  withinMs: number,
): TLSSocket {
  const socket = connect({ host: address, port, ...clientSecurity(key) });
  const timer = setTimeout(() => socket.destroy(), withinMs);
  socket.once('close', () => clearTimeout(timer));
  socket.on('error', () => {});
  socket.once('secureConnect', () => {
    if (connectionFault(socket) !== undefined) {
      socket.destroy();
      return;
    }
    socket.write(hello);
    socket.resume();
  });
  return socket;
}
