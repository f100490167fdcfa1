/**
 * The host agent: one process per user and host that owns detached guests for as long as anybody needs it.
 * It keeps no truth of its own: killed at any moment, the next one finds the guests in their directories.
 */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import { Channel } from '../guest/channel/channel.ts';
import { guestFiles } from '../guest/plan.ts';
import { startGuest } from '../guest/start.ts';
import { listGuests, requireGuest, runtimeDir } from '../guest/state.ts';
import { stopGuest } from '../guest/stop.ts';
import { sweep } from '../guest/sweep.ts';
import { thisUser } from '../guest/user.ts';
import { openStore } from '../image/store.ts';
import { installationVersion } from '../installation.ts';
import type { StartRequest } from './api.ts';
import { createApi, type GuestOwner } from './http.ts';

/** With no guest running and no client, the agent goes after this long. */
const idleLimitMs = 60_000;

/** How long the agent of a guest that runs already may take to answer. */
const adoptionLimitMs = 15_000;

export function agentSocketPath(): string {
  return join(runtimeDir(), 'agent.sock');
}

/**
 * Serves until told to leave or idle. The caller holds the lock that makes this the only one; a socket that is
 * there was left by one that was killed.
 */
export async function serveHostAgent(): Promise<void> {
  const owner = new HostAgent();
  const path = agentSocketPath();
  rmSync(path, { force: true });
  const server = createApi(owner);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  let clients = 0;
  let lastBusyMs = performance.now();
  server.on('connection', (socket) => {
    clients++;
    socket.on('close', () => {
      clients--;
      lastBusyMs = performance.now();
    });
  });
  await new Promise<void>((resolve) => {
    owner.onLeave = resolve;
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
    setInterval(() => {
      const isNeeded = clients > 0 || listGuests().some((guest) => guest.status !== 'exited');
      if (isNeeded) lastBusyMs = performance.now();
      else if (performance.now() - lastBusyMs > idleLimitMs) resolve();
    }, 5000);
  });
  rmSync(path, { force: true });
}

class HostAgent implements GuestOwner {
  readonly version = installationVersion();
  onLeave: () => void = () => {};
  readonly #store = openStore();
  /** Channels to guests, by guest id; shared by all that ask at the same time. */
  readonly #channels = new Map<string, Promise<Channel>>();

  async start({ plan }: StartRequest, onProgress: (text: string) => void): Promise<void> {
    await sweep(this.#store);
    const guest = await startGuest(plan, {
      mode: 'detached',
      store: this.#store,
      user: thisUser(),
      onProgress,
    });
    if (guest.channel !== undefined) this.#keep(plan.id, Promise.resolve(guest.channel));
  }

  channel(name: string): Promise<Channel> {
    const guest = requireGuest(name);
    const { plan } = guest;
    if (guest.status !== 'running') {
      throw new LodgeError('guest-not-running', `'${name}' is ${guest.status}`, {
        fix:
          guest.status === 'exited'
            ? `lodge logs ${name} shows its end; lodge rm ${name} removes it`
            : 'wait',
      });
    }
    if (!plan.agent) {
      throw new LodgeError('no-agent-in-guest', `'${name}' has no agent to run commands`, {
        fix: `lodge console ${name}`,
      });
    }
    const known = this.#channels.get(plan.id);
    if (known !== undefined) return known;
    const address = {
      socketPath: join(guest.dir, guestFiles.channel),
      ...(plan.relay ? { ringPath: join(guest.dir, guestFiles.ring) } : {}),
    };
    return this.#keep(plan.id, Channel.connect(address, adoptionLimitMs));
  }

  async stop(name: string, graceMs: number): Promise<void> {
    const { plan, status } = requireGuest(name);
    const channel =
      plan.agent && status === 'running' ? await this.channel(name).catch(() => undefined) : undefined;
    await stopGuest(name, channel, graceMs);
  }

  leave(): void {
    this.onLeave();
  }

  #keep(id: string, connecting: Promise<Channel>): Promise<Channel> {
    this.#channels.set(id, connecting);
    const forget = (): void => {
      if (this.#channels.get(id) === connecting) this.#channels.delete(id);
    };
    connecting.then((channel) => channel.ended.then(forget), forget);
    return connecting;
  }
}
