/**
 * What a person asks of a guest: the keys of a spec file and the flags of `lodge run` are the same, and this is
 * their one schema. From it come the types, the checks, `docs/reference/spec.md` and the JSON Schema.
 */

import * as z from 'zod';
import { LodgeError } from '../errors.ts';
import { parseCpuList, parseSizeBytes, parseTimeMs, patterns } from '../units.ts';
import type { HostPages } from './layout.ts';
import { colonFix } from './volumes.ts';

/** The issue of what a parser refuses: its fix stays apart from what is wrong. */
export function issueOf(error: unknown): { code: 'custom'; message: string; params?: { fix: string } } {
  if (!(error instanceof LodgeError)) throw error;
  const { message, fix } = error;
  return { code: 'custom', message, ...(fix === undefined ? {} : { params: { fix } }) };
}

/**
 * A value read by one of the parsers of units.ts; its error becomes the schema's.
 * @param pattern what editors hold it to; it is no bare number then
 */
export function unit<T>(parse: (text: string) => T, what: string, pattern?: RegExp) {
  return z
    .union([z.string(), z.number()], { error: `must be ${what}` })
    .meta(pattern === undefined ? {} : { type: 'string', pattern: pattern.source })
    .transform((value, context) => {
      try {
        return parse(String(value));
      } catch (error) {
        context.addIssue(issueOf(error));
        return z.NEVER;
      }
    });
}

export const size = unit(parseSizeBytes, 'a size such as 512M or 4G', patterns.size);
export const time = unit(parseTimeMs, 'a time such as 500ms, 30s or 2m', patterns.time).refine(
  (ms) => ms > 0,
  {
    error: 'must be more than 0',
  },
);

const hostPages = z.enum(['any', '4K', 'thp', '2M', '1G'] satisfies HostPages[], {
  error: "must be one of any, 4K, thp, 2M, 1G (the page size that backs the guest's memory)",
});

const volumePattern = /^([^:]+):([^:]+)(?::(ro|rw))?$/;
/** Tried first: a path in the guest is never `ro`, as it begins with a slash. */
const directoryPattern = /^([^:]+)()(?::(ro|rw))?$/;

const volume = z.string().transform((text, context): Volume => {
  const match = directoryPattern.exec(text) ?? volumePattern.exec(text);
  if (match === null) {
    const message = `'${text}' is not SRC:DST or SRC:DST:ro`;
    const hasMore = text.replace(/:r[ow]$/, '').split(':').length > 2;
    context.addIssue({ code: 'custom', message, ...(hasMore ? { params: { fix: colonFix } } : {}) });
    return z.NEVER;
  }
  const source = match[1]!;
  return { source, target: match[2] === '' ? source : match[2]!, readOnly: match[3] === 'ro' };
});

/** A directory of the host, seen in the guest. */
export interface Volume {
  source: string;
  target: string;
  readOnly: boolean;
}

export const guestNamePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';

/** A guest's own name, or `CLUSTER.GUEST`, which clusters alone give. */
export const fullNamePattern = new RegExp(`^${label}(?:\\.${label})?$`);

export const fullName = z.string().regex(fullNamePattern, {
  error: 'must be the name of a guest, or CLUSTER.GUEST',
});

export const guestName = z.string().regex(guestNamePattern, {
  error: 'must be 1 to 63 lower-case letters, digits and dashes, as in a host name',
});

/** With its domain, and as sysfs writes it. */
const pciAddress = z
  .string()
  .regex(/^(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i, {
    error: 'must be the address of a PCI function, such as 3b:00.1 or 0000:3b:00.1',
  })
  .transform((text) => (text.length === 7 ? `0000:${text}` : text).toLowerCase());

export const guestSpecSchema = z.strictObject({
  name: guestName
    .optional()
    .describe('Name of the guest and its host name; unique among your guests on this host.'),
  image: z
    .union([
      z.string().min(1),
      z.strictObject({
        kernel: z.string().min(1).describe('Path of a kernel: bzImage, multiboot or PVH ELF.'),
        initrd: z.string().min(1).exactOptional().describe('Path of its initial RAM disk.'),
      }),
    ])
    .default('host')
    .describe('`host`, the name of an image in the store, a path, or `{kernel, initrd}`.'),
  kernel: z
    .string()
    .min(1)
    .optional()
    .describe("A Linux kernel to boot the image with, instead of lodge's default."),
  accelerator: z
    .enum(['auto', 'kvm', 'uml', 'tcg', 'netns'])
    .default('auto')
    .describe(
      '`auto` takes the first of kvm, uml, tcg that is usable and can give what is asked. `netns` is no virtual machine: namespaces of the host, with its kernel.',
    ),
  cpus: z
    .int({ error: 'must be a whole number from 1 to 4096' })
    .min(1)
    .max(4096)
    .default(1)
    .describe('vCPUs.'),
  memory: size.prefault('1G').describe('Memory of the guest.'),
  pages: z
    .union([hostPages, z.strictObject({ host: hostPages, strict: z.boolean().default(true) })])
    .prefault('any')
    .transform((pages) => (typeof pages === 'string' ? { host: pages, strict: true } : pages))
    .describe("Page size that backs the guest's memory on the host; strict unless said otherwise."),
  pin: z
    .union([z.boolean(), unit(parseCpuList, 'true, or host CPUs such as 0-3,8')])
    .prefault(false)
    .describe('Pin vCPUs: `true` chooses host CPUs, a list names them.'),
  numa: z
    .enum(['none', 'mirror'])
    .default('none')
    .describe(
      '`mirror` gives the guest the NUMA nodes, distances, cores and caches of the CPUs it is pinned to.',
    ),
  placement: z
    .enum(['strict', 'prefer'])
    .default('strict')
    .describe('Whether pages, pins and NUMA that cannot be met refuse the guest, or are reported.'),
  volumes: z.array(volume).prefault([]).describe('Directories shared with the guest: SRC:DST[:ro].'),
  share: z
    .boolean()
    .default(true)
    .describe('Share the home and the working directory, at the same paths, as commands expect them.'),
  'mount-type': z
    .enum(['9p', 'virtiofs'])
    .optional()
    .describe(
      'How shared directories come into the guest: `9p` (the default under kvm and tcg) or `virtiofs`; uml has its own way.',
    ),
  pci: z
    .array(pciAddress)
    .default([])
    .describe('PCI functions of the host, such as 3b:00.1, given to the guest for itself (VFIO).'),
  append: z.string().default('').describe('Words added to the kernel command line.'),
  firmware: z
    .enum(['bios', 'uefi'])
    .optional()
    .describe('Firmware for disks and ISOs; found from the image by default.'),
  'boot-timeout': time
    .optional()
    .describe('How long the guest may take to come up; by default 1 min, 5 min under tcg, 30 s under netns.'),
});

/** A guest spec as people write it. */
export type GuestSpecInput = z.input<typeof guestSpecSchema>;

/** A guest spec, checked and completed with defaults. Sizes are in bytes, times in milliseconds. */
export type GuestSpec = z.output<typeof guestSpecSchema>;
