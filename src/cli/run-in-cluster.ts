/** `lodge run --cluster`: a command in a guest of a cluster that is up, as if it ran here. */

import { rankGuests } from '../cluster/guest-files.ts';
import { readClusterPlan } from '../cluster/state.ts';
import { LodgeError } from '../errors.ts';
import { suggestGuest } from '../nearest.ts';
import type { CommandFlags } from './command-flags.ts';
import { execInto } from './exec.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';

export interface ClusterRunFlags extends CommandFlags {
  cluster?: string;
  on?: string;
}

/** @returns the exit code of the command */
export async function runInCluster(argv: readonly string[], flags: ClusterRunFlags): Promise<number> {
  const ofJob = jobClusterNamed(flags.cluster);
  const name = ofJob?.plan.name ?? hostClusterNamed(flags.cluster);
  const plan = ofJob?.plan ?? readClusterPlan(name);
  if (plan === undefined) {
    throw new LodgeError('no-such-cluster', `the plan of cluster '${name}' is gone`, {
      fix: `lodge down ${name}`,
    });
  }
  const own = flags.on?.startsWith(`${name}.`) === true ? flags.on.slice(name.length + 1) : flags.on;
  const guest = own === undefined ? rankGuests(plan)[0] : plan.guests.find((one) => one.name === own);
  if (guest !== undefined) return execInto(guest.fullName, argv, flags);
  if (own === undefined) {
    throw new LodgeError('no-agent-in-guest', `no guest of '${name}' can run commands`, {
      fix: 'lodge console GUEST',
    });
  }
  throw new LodgeError('no-such-guest', `there is no guest '${own}' in cluster '${name}'`, {
    where: '--on',
    fix: suggestGuest(
      own,
      plan.guests.map((one) => one.name),
    ),
  });
}
