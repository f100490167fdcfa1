/** Whether a fabric's networks have been found on the other hosts that they go on at. */

import { setTimeout as delay } from 'node:timers/promises';
import { LodgeError } from '../errors.ts';
import type { FabricClient } from '../fabric/client.ts';
import type { FabricPlan } from '../fabric/plan.ts';

/** How long the trunks of a fabric that goes on may take to be up. */
const trunksWithinMs = 20_000;

/**
 * Waits until all other hosts have the networks that go on there.
 * @throws LodgeError `fabric-unavailable`
 */
export async function untilTrunksJoin(client: FabricClient, { networks }: FabricPlan): Promise<void> {
  const links = networks.flatMap(({ ports }) =>
    ports.flatMap(({ end, link }) => (end.kind === 'trunk' ? [link.name] : [])),
  );
  if (links.length === 0) return;
  const deadlineMs = Date.now() + trunksWithinMs;
  for (;;) {
    const away = (await client.ask('links', { links })).filter(({ port }) => port?.isConnected !== true);
    if (away.length === 0) return;
    if (Date.now() > deadlineMs) {
      throw new LodgeError('fabric-unavailable', 'the hosts of the cluster do not reach one another', {
        detail: away.map(({ name }) => `${name} is not connected`).join('\n'),
        fix: 'a firewall between them must let TCP through; then try again',
      });
    }
    await delay(20);
  }
}
