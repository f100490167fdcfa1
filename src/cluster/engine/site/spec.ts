/**
 * What an administrator asks of guests as nodes of the site's Slurm: `/etc/lodge/slurm.yaml`. One schema gives the
 * types, the check and the reference page. Pure.
 */

import * as z from 'zod';
import { type LocatedDocument, parseLocatedYaml } from '../../../document.ts';
import { LodgeError } from '../../../errors.ts';
import { guestNamePattern, guestSpecSchema, size, unit } from '../../../guest/spec.ts';
import { expandHostList } from '../../../host-list.ts';
import { parseTimeMs, patterns } from '../../../units.ts';
import { formatPrefix, parsePrefix, parseSubnet } from '../../address.ts';
import { hostList } from '../../spec.ts';
import { parseUplinkRule } from '../../uplink-rule.ts';
import { checkFabric } from './fabric.ts';

/** Words that go into slurm.conf and scripts as they stand. */
const word = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, {
  error: 'must be 1 to 63 letters, digits, dots, dashes and underscores',
});

const absolutePath = z.string().regex(/^\/[\x21-\x7e]*$/, { error: 'must be an absolute path' });

/** What an image is known by: the id that `lodge image inspect` tells; `host` is the root of each host. */
const allowedImage = z.string().regex(/^(host|[0-9a-f]{64})$/, {
  error:
    "must be the whole digest of an image (64 hexadecimal digits, as lodge image inspect tells), or 'host'",
});

const prefix = unit((text) => formatPrefix(parsePrefix(text)), 'a network such as 10.1.0.0/16');
const seconds = unit(
  (text) => Math.ceil(parseTimeMs(text) / 1000),
  'a time such as 30s or 10m',
  patterns.time,
).refine((value) => value >= 1, { error: 'must be at least 1s' });

const fabric = z.strictObject({
  subnet: unit((text) => formatPrefix(parseSubnet(text)), 'a subnet such as 10.214.0.0/16')
    .prefault('10.214.0.0/16')
    .describe('Its addresses, used nowhere else: the first v-node has the first one, and so on.'),
  'first-port': z
    .int()
    .min(1024)
    .max(60_000)
    .default(18_001)
    .describe(
      'Port at which the first v-node is reached by the others, on its host; each has one more than the one before.',
    ),
  key: absolutePath
    .default('/etc/lodge/fabric.key')
    .describe('32 random bytes, the same on each host, that SlurmUser alone can read.'),
});

const { accelerator, cpus, kernel, pages, pin, volumes } = guestSpecSchema.shape;

const node = z.strictObject({
  hosts: hostList.describe(
    'The hosts that they are on, by the names that Slurm has for them: the first on the first, and so on, over again when there are more nodes than hosts.',
  ),
  image: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, {
      error: 'must be the name of an image in the store, or host',
    })
    .describe('`host`, or the name of an image in the store of each host; its content must be on the list.'),
  cpus,
  memory: size.describe('Memory of the guest. Jobs have four fifths of it.'),
  accelerator: accelerator.describe('As in the guest spec, but `netns`, in which no slurmd runs.'),
  kernel,
  pages,
  pin,
  volumes,
  features: z.array(word).default([]).describe('Features for `--constraint`, beside `lodge` and `on-HOST`.'),
});

export const siteSpecSchema = z.strictObject({
  partition: word.default('virtual').describe('The partition of the v-nodes.'),
  networks: z
    .array(prefix)
    .min(1)
    .describe(
      "Networks of Slurm's hosts and of the hosts that people log in on: guests reach Slurm's ports there, and nothing else.",
    ),
  reach: z
    .array(unit(parseUplinkRule, 'a rule such as tcp 192.0.2.0/24:443'))
    .default([])
    .describe('What else guests may reach, such as file servers: `tcp 10.1.0.5:2049`.'),
  images: z.array(allowedImage).min(1).describe('The images that may boot, by content: digests, and `host`.'),
  'munge-key': absolutePath
    .default('/etc/lodge/munge.key')
    .describe("A copy of the site's key of munge, on each host, that SlurmUser alone can read."),
  store: absolutePath
    .default('/var/lib/lodge')
    .describe('Directory of SlurmUser on each host: its images, and what lodge keeps (`LODGE_DATA_DIR`).'),
  'first-port': z
    .int()
    .min(1024)
    .max(60_000)
    .default(17_001)
    .describe('Port of the first v-node; each has one more than the one before, on its host.'),
  fabric: fabric
    .optional()
    .describe(
      'A network between all v-nodes, for MPI: `fabric: {}`. None unless declared, because it needs a key, ports between hosts, and names of v-nodes that lead to their hosts.',
    ),
  'suspend-time': seconds.prefault('10m').describe('How long a v-node is idle before it is powered down.'),
  'suspend-timeout': seconds
    .prefault('30s')
    .describe('How long the end of a v-node may take, after which it can be powered up again.'),
  'resume-timeout': seconds
    .prefault('5m')
    .describe(
      'How long it may take from asking for a v-node until it has joined, with the wait for room on its host.',
    ),
  sbatch: z
    .array(
      z.string().regex(/^-[\x21-\x7e]+$/, { error: 'must be an option of sbatch, such as --account=ops' }),
    )
    .default([])
    .describe('Options for the holder jobs: `--partition=phys`, `--account=ops`, `--qos=high`.'),
  nodes: z
    .record(hostList, node)
    .describe('The v-nodes: names, with ranges as in `v[01-04]`, and what they are.'),
});

export type SiteSpec = z.output<typeof siteSpecSchema>;

/** A v-node, as it is to be. Sizes in bytes. */
export interface VirtualNode {
  name: string;
  host: string;
  /**
   * By which Slurm reaches it: the name of its host. Where v-nodes have a network, its own, which leads to its host
   * everywhere but in other v-nodes: there it leads to it by that network.
   */
  slurmAddress: string;
  /** At which its slurmd is reached at its host. */
  port: number;
  image: string;
  cpus: number;
  memoryBytes: number;
  features: string[];
  /** The keys of a guest in a cluster spec, as they were written. */
  guest: Record<string, unknown>;
  /** Where it is in the site file. */
  where: string;
}

export interface Site {
  file: string;
  spec: SiteSpec;
  nodes: VirtualNode[];
}

/**
 * Reads the text of a site file.
 * @param file what errors name it by
 * @throws LodgeError `spec-syntax`, `spec-unknown-key`, `spec-value` with file, line and column
 */
export function readSite(text: string, file: string): Site {
  const document = parseLocatedYaml(text, siteSpecSchema, file);
  const nodes = virtualNodes(document);
  checkFabric(document.value, nodes, (key) => document.locate(['fabric', key]));
  return { file, spec: document.value, nodes };
}

function virtualNodes({ value, written, locate }: LocatedDocument<SiteSpec>): VirtualNode[] {
  const nodes: VirtualNode[] = [];
  const seen = new Set<string>();
  for (const [names, spec] of Object.entries(value.nodes)) {
    const where = locate(['nodes', names], 'key');
    if (spec.accelerator === 'netns') {
      throw new LodgeError('spec-value', 'in guests of namespaces no slurmd runs', {
        where: locate(['nodes', names, 'accelerator']),
        fix: 'use kvm, uml or tcg, or leave it out',
      });
    }
    if (spec.accelerator === 'uml' && spec.cpus > 1) {
      throw new LodgeError('spec-value', `user-mode Linux has one vCPU, not ${spec.cpus}`, {
        where: locate(['nodes', names, 'cpus']),
        fix: 'cpus: 1, or accelerator: kvm or tcg',
      });
    }
    const hosts = expandHostList(spec.hosts, locate(['nodes', names, 'hosts']));
    const {
      hosts: _,
      features: __,
      ...guest
    } = (written as { nodes: Record<string, Record<string, unknown>> }).nodes[names]!;
    expandHostList(names, where).forEach((name, i) => {
      if (!guestNamePattern.test(name)) {
        throw new LodgeError('spec-value', `'${name}' cannot be the name of a v-node`, {
          where,
          fix: 'use lower-case letters, digits and dashes, as in a host name',
        });
      }
      if (seen.has(name)) {
        throw new LodgeError('spec-value', `'${name}' is there twice`, {
          where,
          fix: 'name each v-node once',
        });
      }
      if (hosts.includes(name)) {
        throw new LodgeError('spec-value', `'${name}' is a host and a v-node`, {
          where,
          fix: `name v-nodes otherwise: ${name.replace(/^./, 'v')}`,
        });
      }
      seen.add(name);
      const port = value['first-port'] + nodes.length;
      if (port > 65_535) {
        throw new LodgeError('spec-value', 'there are more v-nodes than ports', {
          where: locate(['first-port']),
          fix: 'begin lower',
        });
      }
      const host = hosts[i % hosts.length]!;
      nodes.push({
        ...{ name, host, port, slurmAddress: value.fabric === undefined ? host : name, image: spec.image },
        ...{ cpus: spec.cpus, memoryBytes: spec.memory, features: spec.features, guest, where },
      });
    });
  }
  if (nodes.length === 0) {
    throw new LodgeError('spec-value', 'there is no v-node', {
      where: locate(['nodes']),
      fix: "name some: nodes: {'v[01-04]': {hosts: 'n[01-04]', image: host, memory: 4G}}",
    });
  }
  return nodes;
}
