/** The API of a guest in the foreground, at its directory's owner.sock: others can exec into it while it runs. */

import { createServer } from 'node:net';
import { join } from 'node:path';
import { guestFiles } from '../guest/plan.ts';
import type { RunningGuest } from '../guest/start.ts';
import { installationVersion } from '../installation.ts';

/**
 * Listens at once, but loads the API only when somebody comes: most runs are over before anyone does.
 */
export function openOwnerSocket(guest: RunningGuest): { close: () => void } {
  const server = createServer((socket) => {
    void import('./single-guest.ts').then(({ serveSingleGuest }) => {
      serveSingleGuest(guest, installationVersion()).emit('connection', socket);
    });
  });
  server.on('error', () => {});
  server.listen(join(guest.plan.dir, guestFiles.owner));
  server.unref();
  return { close: () => server.close() };
}
