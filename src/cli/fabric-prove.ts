/** `lodge fabric prove`: what guests can reach, looked at from outside and tried from inside. */

import { whichCluster } from '../cluster/state.ts';
import { proveFabric } from '../server/cluster-client.ts';
import type { ClusterFlag } from './fabric.ts';
import { table } from './table.ts';

/** @returns the exit code: 1 when anything is open that nobody asked for */
export async function proveVerb(flags: ClusterFlag & { json: boolean }): Promise<number> {
  const cluster = whichCluster(flags.cluster);
  const findings = await proveFabric(cluster);
  const isProved = findings.every(({ verdict }) => verdict !== 'fail');
  if (flags.json) process.stdout.write(`${JSON.stringify({ cluster, isProved, findings }, null, 2)}\n`);
  else {
    const order = ['fail', 'note', 'pass'];
    const rows = findings
      .toSorted((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict))
      .map(({ verdict, subject, found }) => [verdict.toUpperCase(), subject, found]);
    process.stdout.write(table(rows));
    process.stdout.write(isProved ? `${cluster} is isolated\n` : `${cluster} is NOT isolated\n`);
  }
  return isProved ? 0 : 1;
}
