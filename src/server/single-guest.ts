/** The API over one guest that this process runs in the foreground. */

import type { Server } from 'node:http';
import { LodgeError } from '../errors.ts';
import type { RunningGuest } from '../guest/start.ts';
import { stopGuest } from '../guest/stop.ts';
import { createApi } from './http.ts';

let api: Server | undefined;

export function serveSingleGuest(guest: RunningGuest, version: string): Server {
  api ??= createApi({
    version,
    channel: async () => {
      if (guest.channel !== undefined) return guest.channel;
      throw new LodgeError('no-agent-in-guest', `'${guest.plan.name}' has no agent to run commands`);
    },
    stop: (name, graceMs) => stopGuest(name, guest.channel, graceMs),
  });
  return api;
}
