/**
 * What a person asks of a cluster: `cluster.yaml`. One schema, from which come the types, the check,
 * `docs/reference/cluster-spec.md` and the JSON Schema. Keys of guests are those of the guest spec.
 */

import * as z from 'zod';
import { LodgeError } from '../errors.ts';
import { leastFileBytes, mostFiles } from '../fabric/capture/capture.ts';
import { guestName, guestSpecSchema, issueOf, size, time, unit } from '../guest/spec.ts';
import { expandHostList } from '../host-list.ts';
import {
  formatSize,
  parseBandwidthBitsPerSecond,
  parseDelayMs,
  parsePercentage,
  parseSizeBytes,
  patterns,
} from '../units.ts';
import { parseMac, parseSubnet } from './address.ts';
import { parseRoute } from './routes.ts';
import { parseTopology } from './topology-text.ts';
import { parseUplinkRule } from './uplink-rule.ts';

const percentage = unit(parsePercentage, 'a percentage such as 0.1%', patterns.percentage);
const delay = unit(parseDelayMs, 'a delay such as 50us, 10ms or 1s', patterns.delay);
const bandwidth = unit(
  parseBandwidthBitsPerSecond,
  'a bandwidth such as 100Mbit or 10Gbit',
  patterns.bandwidth,
);

/** Keys of the guest spec as parts of one: without defaults, because a part says only what it says. */
function guestParts() {
  const { name: _, ...shape } = guestSpecSchema.shape;
  const parts: Record<string, z.ZodType> = {};
  for (const [key, schema] of Object.entries(shape) as [string, z.ZodType][]) {
    const part = withoutDefault(schema).optional();
    parts[key] = schema.description === undefined ? part : part.describe(schema.description);
  }
  return parts;
}

function withoutDefault(schema: z.ZodType): z.ZodType {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) {
    return withoutDefault(schema.unwrap() as z.ZodType);
  }
  if (schema instanceof z.ZodPipe && schema.in instanceof z.ZodPrefault) {
    return withoutDefault(schema.in as z.ZodType);
  }
  return schema;
}

/** Keys that guests have only in a cluster. */
const networkKeys = {
  forward: z.boolean().optional().describe('Whether it passes packets on between its networks.'),
  routes: z
    .array(unit(parseRoute, 'a route such as 10.2.0.0/16 via router'))
    .optional()
    .describe('Ways to other networks: `10.2.0.0/16 via router`, `default via 10.1.0.1`.'),
};

const guestPart = z.strictObject({ ...guestParts(), ...networkKeys }).nullable();

/** What a guest has from these keys: checked, with what it has when nothing is said. */
export const networkKeysSchema = z.object({
  forward: z.boolean().default(false),
  routes: networkKeys.routes.transform((routes) => routes ?? []),
});

const guestWithRole = z
  .strictObject({
    role: z
      .string()
      .min(1)
      .optional()
      .describe('A key of `roles`: its keys hold where the guest has none itself. Of guests alone.'),
    ...guestParts(),
    ...networkKeys,
  })
  .nullable();

const shapeKeys = {
  bandwidth: bandwidth.optional().describe('Rate of each direction, such as `10Gbit`; full duplex.'),
  queue: size
    .optional()
    .describe('Bytes that may wait for the bandwidth; more are dropped. By default 100 ms worth, 64K to 4M.'),
  delay: delay.optional().describe('How long a frame is on its way: `50us`, `10ms`.'),
  jitter: delay.optional().describe('Frames are earlier or later than the delay by up to this.'),
  loss: percentage.optional().describe('Share of the frames that are lost.'),
  duplicate: percentage.optional().describe('Share of the frames that come twice.'),
  reorder: percentage
    .optional()
    .describe('Share of the frames that go at once, before those that wait for their delay.'),
};

const directionShape = z.strictObject(shapeKeys);

/** What a link does to frames, as it was written. Keys that are not there say nothing; 0 takes away. */
export type ShapeSpec = z.output<typeof directionShape>;

function parseCaptureSize(text: string): number {
  const bytes = parseSizeBytes(text);
  if (bytes >= leastFileBytes) return bytes;
  throw new LodgeError('spec-value', `'${text}' is too small for a file of a capture`, {
    fix: `at least ${formatSize(leastFileBytes)}`,
  });
}

const capture = z.union([
  z.boolean(),
  z.strictObject({
    directory: z
      .string()
      .min(1)
      .optional()
      .describe("Where the cluster's own directory of captures is made; by default the working directory."),
    'snap-length': z
      .int()
      .min(14)
      .max(65_549)
      .optional()
      .describe('Bytes kept of each frame; all by default.'),
    files: z
      .int()
      .min(1)
      .max(mostFiles)
      .optional()
      .describe('More than one makes a ring: the oldest is replaced.'),
    'file-size': unit(parseCaptureSize, 'a size such as 64M or 1G', patterns.size)
      .optional()
      .describe('Size of one file; 64M by default.'),
    filter: z.string().min(1).optional().describe('Expression of pcap-filter(7); all frames without.'),
  }),
]);

export type CaptureSpec = z.output<typeof capture>;

const limits = z.strictObject({
  macs: z
    .int()
    .min(1)
    .max(4096)
    .optional()
    .describe('Source addresses that a port may use; 1: only its own.'),
  broadcasts: z
    .int()
    .min(1)
    .max(10_000_000)
    .optional()
    .describe('Broadcast and multicast frames that a port may send each second; 1000 by default.'),
});

const member = z
  .strictObject({
    address: z.string().optional().describe('IPv4 address in the subnet; by default the next free one.'),
    mac: unit(parseMac, 'a MAC address').optional().describe('By default made of network and member.'),
    switch: z.string().min(1).optional().describe('Switch of the topology that it is joined to.'),
    ...shapeKeys,
    out: directionShape.optional().describe('What holds only for frames from the guest.'),
    in: directionShape.optional().describe('What holds only for frames to the guest.'),
    capture: capture.optional().describe('Capture its link.'),
    limits: limits.optional().describe('What it may do to the network.'),
  })
  .nullable();

export type MemberSpec = NonNullable<z.output<typeof member>>;

/** Names and ranges. */
export const hostList = z.string().superRefine((text, context) => {
  try {
    expandHostList(text);
  } catch (error) {
    context.addIssue(issueOf(error));
  }
});

const uplink = z.strictObject({
  allow: z
    .array(unit(parseUplinkRule, 'a rule such as tcp 192.0.2.0/24:443'))
    .min(1)
    .describe('What is let out: `tcp 192.0.2.0/24:443`, `udp 192.0.2.53:53`, `icmp 192.0.2.1`.'),
  gateway: z.string().optional().describe('Its address in the subnet; by default the last one.'),
  switch: z
    .string()
    .min(1)
    .optional()
    .describe('Switch of the topology that it is joined to; the first by default.'),
});

const someMembers = z
  .record(hostList, member)
  .refine((members) => Object.keys(members).length > 0, { error: 'must not be empty' });

const network = z.strictObject({
  members: z
    .union([z.array(hostList).min(1), someMembers], {
      error: "must be a list of guests, or a mapping of guests to their links' keys",
    })
    .describe('Its guests: a list, or a mapping with keys for their links; ranges as in `v[01-04]`.'),
  subnet: unit(parseSubnet, 'a subnet such as 10.1.0.0/16')
    .optional()
    .describe('IPv4 subnet; by default 10.N.0.0/16 for the N-th network.'),
  topology: unit(parseTopology, 'a topology such as lan, ring, torus:4x4')
    .optional()
    .describe(
      '`lan` or `star` (one switch), `ring`, `ring:8`, `grid:4x4`, `torus:4x4x2`, `fat-tree:k=4`, `dragonfly:a=4,p=2,h=2`, `random:switches=20,degree=3`, `as-graph:FILE`.',
    ),
  mtu: z.int().min(576).max(65_521).default(1500).describe('Largest payload of a frame, in bytes.'),
  ...shapeKeys,
  capture: capture.optional().describe('Capture the links of all members.'),
  limits: limits.optional().describe('What members may do to the network.'),
  dhcp: z
    .boolean()
    .optional()
    .describe(
      'Whether guests that ask by DHCP are told their planned addresses, which takes the last address; true by default, but on a bridge.',
    ),
  bridge: z
    .union([
      z.boolean(),
      z
        .string()
        .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, { error: 'must be true, or the name of a bridge' }),
    ])
    .optional()
    .describe(
      "Its switch is a bridge of the kernel, for speed; members are QEMU's. `true`: of its own, isolated. `br0`: joined to that bridge of the host, a way out; needs CAP_NET_ADMIN.",
    ),
  uplink: uplink
    .optional()
    .describe('A way out by user-mode NAT, for the destinations it allows. None unless declared.'),
});

export type NetworkSpec = z.output<typeof network>;

/** Name of a network: part of the names of links and files. */
const networkName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/, {
  error: 'must be 1 to 32 lower-case letters, digits and dashes',
});

/** Short, because it is part of the paths of sockets. */
export const longestClusterName = 32;
export const clusterNamePattern = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;

const onEnd = z.strictObject({
  checkpoint: z
    .string()
    .min(1)
    .regex(/^[^\0]*$/, { error: 'must be a path' })
    .describe(
      'Where the cluster is saved, as by `lodge checkpoint`; relative to the working directory. A checkpoint of the same cluster that is there already is replaced.',
    ),
  within: time
    .optional()
    .describe(
      'How long that may take before it is given up: `25s`. By default what Slurm leaves between its two signals (`KillWait`), less 5s.',
    ),
});

export const clusterSpecSchema = z.strictObject({
  name: z
    .string()
    .regex(clusterNamePattern, { error: 'must be 1 to 32 lower-case letters, digits and dashes' })
    .optional()
    .describe('Name of the cluster; by default that of the file, without its ending.'),
  seed: z
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .default(1)
    .describe('All that is left to chance (loss, jitter, random topologies) comes from it.'),
  image: guestParts().image!.describe('Short for `image` in `defaults`.'),
  defaults: guestPart.optional().describe('Keys of the guest spec for all guests.'),
  roles: z
    .record(guestName, guestPart)
    .optional()
    .describe('Keys of the guest spec for guests with that `role`; they win over `defaults`.'),
  guests: z
    .record(
      // Every guest has that name already, for itself.
      hostList.refine((text) => !text.split(/[,[]/).includes('localhost'), {
        error: 'no guest can be named localhost; choose another name',
      }),
      guestWithRole,
    )
    .describe('The guests: names, with ranges as in `v[01-04]`, and their keys; these win over their role.'),
  fabric: z
    .record(networkName, network)
    .optional()
    .describe('The networks between them; without it, one LAN of all guests.'),
  'on-end': onEnd
    .optional()
    .describe(
      'What is done when Slurm ends the job that the cluster is in. Elsewhere nothing ends it but `lodge down`.',
    ),
  ssh: z
    .boolean()
    .default(true)
    .describe(
      "Whether guests are given keys of the cluster's and an SSH server, by which all that can run commands in one come into the others, also as root.",
    ),
});

export type ClusterSpec = z.output<typeof clusterSpecSchema>;
