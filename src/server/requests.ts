/** The shapes of what clients of the API send, checked: a mistake in a request is told as one, with the key it is in. */

import * as z from 'zod';
import { checkValue } from '../document.ts';
import { guestName } from '../guest/spec.ts';
import type { ExecClientMessage, StartRequest, StopRequest } from './api.ts';

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
    name: guestName,
    id: z.string().regex(/^[0-9a-f]{16}$/, { error: 'must be 16 hexadecimal digits' }),
    dir: z.string(),
    argv: z.array(z.string()).min(1),
    objects: z.array(z.string()),
  }),
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
