/** `lodge fabric prove`: what guests can reach, looked at from outside and tried from inside. */

import type { JobCluster } from '../cluster/engine/rendezvous.ts';
import type { IsolationFinding } from '../fabric/isolation/finding.ts';
import { call } from '../server/client.ts';
import { proveFabric } from '../server/cluster-client.ts';
import { thisJobId } from '../server/locate.ts';
import type { ClusterFlag } from './fabric.ts';
import { hostClusterNamed, jobClusterNamed } from './job-names.ts';
import { printJson } from './print-json.ts';
import { table } from './table.ts';

/** In a job, with the host that found it. */
type Finding = IsolationFinding & { host?: string };

/** @returns the exit code: 1 when anything is open that nobody asked for */
export async function proveVerb(flags: ClusterFlag & { json: boolean }): Promise<number> {
  const ofJob = jobClusterNamed(flags.cluster);
  const cluster = ofJob?.plan.name ?? hostClusterNamed(flags.cluster);
  const findings: Finding[] = ofJob === undefined ? await proveFabric(cluster) : await proveInJob(ofJob);
  const isProved = findings.every(({ verdict }) => verdict !== 'fail');
  if (flags.json) printJson({ cluster, isProved, findings });
  else {
    const order = ['fail', 'note', 'pass'];
    const rows = findings
      .toSorted((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict))
      .map(({ verdict, host, subject, found }) => [
        verdict.toUpperCase(),
        ...(host === undefined ? [] : [host]),
        subject,
        found,
      ]);
    process.stdout.write(table(rows));
    process.stdout.write(isProved ? `${cluster} is isolated\n` : `${cluster} is NOT isolated\n`);
  }
  return isProved ? 0 : 1;
}

/** Each host proves its own part; one that cannot be asked has nothing proved. @throws LodgeError `host-agent` */
async function proveInJob({ plan, hostOfGuest }: JobCluster): Promise<Finding[]> {
  const { openJob } = await import('../server/job.ts');
  const { hosts } = await openJob(thisJobId());
  const used = [...new Set(Object.values(hostOfGuest))].sort();
  const findings = await Promise.all(
    used.map(async (name): Promise<Finding[]> => {
      const host = hosts.find((one) => one.name === name);
      if (host === undefined) {
        return [{ verdict: 'fail', host: name, subject: name, found: 'no agent answers there: lodge apply' }];
      }
      const text = await call(host.door, 'POST', `/v1/clusters/${plan.name}/prove`);
      return (JSON.parse(text) as IsolationFinding[]).map((finding) => ({ host: name, ...finding }));
    }),
  );
  return findings.flat();
}
