/** `lodge host-part`: what a host does of a cluster that goes over several; the agent of a job runs it. */

import type { Command } from 'commander';
import type { AskedGuest } from '../cluster/look.ts';
import type { Places } from '../cluster/placed-fault.ts';
import type { ClusterPlan } from '../cluster/plan.ts';

/** What is read from standard input, one value of JSON. The answer is one, too; progress is lines on standard error. */
export type HostPartRequest =
  /** What these guests get here, and what there is for them. */
  | { op: 'look'; cwd: string; guests: AskedGuest[] }
  /** The steps to make the part so, and, with `apply`, their doing. */
  | {
      op: 'check' | 'apply';
      whole: ClusterPlan;
      part: ClusterPlan;
      secret: string;
      /** Of the part's guests. */
      places: Places;
      /** A checkpoint begun where the cluster is to be saved, for this host to see. */
      trial?: string;
    }
  | { op: 'down'; name: string; graceMs: number }
  /** Holds the lock of a cluster until standard input ends. */
  | { op: 'lock'; name: string };

export function defineHostPart(program: Command): void {
  program
    .command('host-part', { hidden: true })
    .description('Do what a host does of a cluster that goes over several; run by agents of jobs.')
    .action(async () => {
      const { hostPartVerb } = await import('./host-part-actions.ts');
      await hostPartVerb();
    });
}
