/** A site for tests, and what a real Slurm said of itself. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SiteFound } from '../../../../src/cluster/engine/site/conf.ts';
import { parseConfig, parseRecords } from '../../../../src/cluster/engine/site/scontrol.ts';
import { readSite, type Site } from '../../../../src/cluster/engine/site/spec.ts';

export const digest = 'ab'.repeat(32);

export const siteText = `networks: [10.99.0.0/24]
images: [${digest}]
resume-timeout: 2m
sbatch: [--partition=phys]
nodes:
  'v[01-04]': {hosts: 'n[01-02]', image: compute, cpus: 2, memory: 2G, features: [el9], accelerator: tcg}
`;

export function sampleSite(text = siteText): Site {
  return readSite(text, 'slurm.yaml');
}

export function recorded(name: string): string {
  return readFileSync(join(import.meta.dirname, 'recorded', `${name}.txt`), 'utf8');
}

/** What scontrol printed, parsed as lodge does. */
export function recordedSite(): SiteFound {
  const by = (name: string, key: string) =>
    new Map(parseRecords(recorded(name)).map((record) => [record.get(key)!, record]));
  return {
    config: parseConfig(recorded('config')),
    nodes: by('nodes', 'NodeName'),
    partitions: by('partitions', 'PartitionName'),
    topology: recorded('topology'),
  };
}
