/** The shapes of what clients of the API send, checked: a mistake in a request is told as one, with the key it is in. */

import * as z from 'zod';
import { checkValue } from '../check-value.ts';
import { type ClusterEvent, eventKinds } from '../cluster/events.ts';
import type { FabricChange } from '../cluster/fabric-change.ts';
import type { ClusterHosts } from '../fabric/control.ts';
import { fullName } from '../guest/spec.ts';
import type {
  ConfigureRequest,
  ExecClientMessage,
  QuestionRequest,
  StartRequest,
  StopRequest,
} from './api.ts';
import type { PartRequest } from './job-checkpoints.ts';
import type { ServiceGroup } from './services.ts';
import type { ToPart } from './together.ts';

const u32 = z.int().min(0).max(0xffff_ffff);
const u16 = z.int().min(0).max(0xffff);
const text = z.string().refine((value) => !value.includes('\0'), { error: 'must not hold a NUL byte' });

const execRequest = z.object({
  argv: z.array(text).min(1),
  env: z.record(text, text),
  cwd: text,
  uid: u32,
  gid: u32,
  user: text.max(256).exactOptional(),
  groups: z.array(u32),
  umask: z.int().min(0).max(0o777),
  terminal: z.object({ rows: u16, columns: u16 }).exactOptional(),
});

const clientMessage: z.ZodType<ExecClientMessage> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('exec'), request: execRequest }),
  z.object({ type: z.literal('end-input') }),
  z.object({ type: z.literal('signal'), signal: z.int().min(1).max(64) }),
  z.object({ type: z.literal('resize'), rows: u16, columns: u16 }),
]);

const stopRequest: z.ZodType<StopRequest> = z.object({ graceMs: z.number().min(0).max(1_800_000_000) });

/** What of a plan the start itself relies on before anything is run; the rest is as `lodge run --dry-run` gave it. */
const startRequest = z.object({
  plan: z.looseObject({
    name: fullName,
    id: z.string().regex(/^[0-9a-f]{16}$/, { error: 'must be 16 hexadecimal digits' }),
    dir: z.string(),
    argv: z.array(z.string()).min(1),
    objects: z.array(z.string()),
  }),
});

const configureRequest: z.ZodType<ConfigureRequest> = z.object({
  steps: z.array(z.array(text).min(1)),
}) as unknown as z.ZodType<ConfigureRequest>;

const share = z.number().min(0).max(1).exactOptional();
const shape = z.strictObject({
  bandwidthBitsPerSecond: z.number().positive().exactOptional(),
  delayMs: z.number().min(0).exactOptional(),
  jitterMs: z.number().min(0).exactOptional(),
  loss: share,
  duplicate: share,
  reorder: share,
  queueBytes: z.int().positive().exactOptional(),
});
const absolutePath = text.refine((path) => path.startsWith('/'), { error: 'must be an absolute path' });
const direction = z.enum(['out', 'in']).exactOptional();
const capturePlan = z.strictObject({
  directory: absolutePath,
  snapLengthBytes: z.int().min(14),
  files: z.int().min(1),
  fileBytes: z.int().min(1),
  filter: text.exactOptional(),
});

const fabricChange: z.ZodType<FabricChange> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('shape'), ask: z.strictObject({ link: text, direction, shape }) }),
  z.object({ kind: z.enum(['cut', 'heal']), ask: z.strictObject({ link: text }) }),
  z.object({ kind: z.literal('move'), ask: z.strictObject({ link: text, switch: text }) }),
  z.object({ kind: z.literal('capture-start'), ask: z.strictObject({ link: text, capture: capturePlan }) }),
  z.object({ kind: z.literal('capture-stop'), ask: z.strictObject({ link: text }) }),
]);

const question: z.ZodType<QuestionRequest> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('links'), ask: z.strictObject({ links: z.array(text).exactOptional() }) }),
  z.object({
    kind: z.literal('matrix'),
    ask: z.strictObject({ window: text.exactOptional(), reset: z.boolean().exactOptional() }),
  }),
  z.object({ kind: z.literal('status'), ask: z.strictObject({}) }),
]);

const clusterEvent: z.ZodType<Omit<ClusterEvent, 'timeNs'>> = z.object({
  kind: z.enum(eventKinds),
  subject: text,
  text,
});

const hostName = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$/, {
  error: 'must be 1 to 63 letters, digits, dots and dashes',
});
const directory = z.object({ dir: absolutePath });

const partRequest: z.ZodType<PartRequest> = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('save'),
    part: absolutePath,
    host: hostName.exactOptional(),
    mark: z.string().regex(/^[0-9a-f]{16}$/, { error: 'must be 16 hexadecimal digits' }),
  }),
  z.strictObject({
    op: z.literal('restore'),
    dir: absolutePath,
    job: z.string().regex(/^\d{1,15}$/, { error: 'must be the number of a job' }),
    saved: hostName.exactOptional(),
    hosts: z.array(z.tuple([hostName, hostName])),
    // As the verb that asks has made it of the checkpoint.
    cluster: z.looseObject({ version: z.literal(1), name: text, guests: z.array(z.looseObject({})) }),
  }),
]) as unknown as z.ZodType<PartRequest>;

const toPart: z.ZodType<ToPart<PartRequest>> = z.discriminatedUnion('type', [
  z.object({ type: z.literal('begin'), request: partRequest }),
  z.object({ type: z.literal('go') }),
  z.object({ type: z.literal('give-up'), reason: text }),
]);

const clusterHosts: z.ZodType<ClusterHosts> = z
  .strictObject({
    host: hostName,
    listen: z.strictObject({ address: text.min(1), port: u16 }),
    keyFile: absolutePath,
    peers: z.array(z.strictObject({ host: hostName, address: text.min(1), port: u16.min(1) })),
  })
  .refine(({ host, peers }) => new Set([host, ...peers.map((peer) => peer.host)]).size > peers.length, {
    error: 'must name each host once, and this host not among the peers',
    path: ['peers'],
  });

/** Name of a file in a group's directory. */
const fileName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/, { error: 'must be the name of a file' });
const serviceGroup: z.ZodType<ServiceGroup> = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]{1,64}$/, { error: 'must be lower-case letters, digits and dashes' }),
  dir: absolutePath,
  files: z.array(z.strictObject({ name: fileName, text })),
  directories: z.array(fileName),
  programs: z.array(
    z.strictObject({ name: fileName, argv: z.array(text).min(1), ready: fileName.exactOptional() }),
  ),
  boundTo: z.strictObject({ pid: z.int().min(1), startTicks: z.int().min(0) }).exactOptional(),
});

const locate = (path: readonly PropertyKey[]): string => path.join('.') || 'the request';

/** @throws LodgeError `spec-value` */
export function execMessageOf(value: unknown): ExecClientMessage {
  return checkValue(value, clientMessage, locate);
}

/** @throws LodgeError `spec-value` */
export function stopRequestOf(value: unknown): StopRequest {
  return checkValue(value, stopRequest, locate);
}

/** @throws LodgeError `spec-value` */
export function startRequestOf(value: unknown): StartRequest {
  return checkValue(value, startRequest, locate) as unknown as StartRequest;
}

/** @throws LodgeError `spec-value` */
export function configureRequestOf(value: unknown): ConfigureRequest {
  return checkValue(value, configureRequest, locate);
}

/** @throws LodgeError `spec-value` */
export function changeOf(value: unknown): FabricChange {
  return checkValue(value, fabricChange, locate);
}

/** @throws LodgeError `spec-value` */
export function questionOf(value: unknown): QuestionRequest {
  return checkValue(value, question, locate);
}

/** @throws LodgeError `spec-value` */
export function hostsOf(value: unknown): ClusterHosts {
  return checkValue(value, clusterHosts, locate);
}

/** @throws LodgeError `spec-value` */
export function eventOf(value: unknown): Omit<ClusterEvent, 'timeNs'> {
  return checkValue(value, clusterEvent, locate);
}

/** @throws LodgeError `spec-value` */
export function directoryOf(value: unknown): { dir: string } {
  return checkValue(value, directory, locate);
}

/** @throws LodgeError `spec-value` */
export function toPartOf(value: unknown): ToPart<PartRequest> {
  return checkValue(value, toPart, locate);
}

/** @throws LodgeError `spec-value` */
export function serviceGroupOf(value: unknown): ServiceGroup {
  return checkValue(value, serviceGroup, locate);
}
