/**
 * The HTTP and WebSocket API of a process that owns guests: the host agent, or a run in the foreground.
 * It is served on a unix socket that only its user can reach; docs/reference/api.md describes it.
 */

import { type ErrorCode, LodgeError } from '../errors.ts';
import type { Requests } from '../fabric/control.ts';
import type { Fix, SpecPath } from '../fix.ts';
import type { Step } from '../guest/channel/channel.ts';
import type { CommandRequest } from '../guest/named-user.ts';
import type { GuestPlan } from '../guest/plan.ts';
import type { Question } from './fabrics.ts';

/** GET /v1/health */
export interface Health {
  pid: number;
  /** Of the installation; a client of another one asks the agent to make way (POST /v1/leave). */
  version: string;
}

/** POST /v1/guests; the answer is lines of JSON: {@link ProgressEvent}, the last `{name}` or `{error}`. */
export interface StartRequest {
  plan: GuestPlan;
}

/** What requests that take their time answer with before their last line. */
export type ProgressEvent = { progress: string } | { error: ErrorBody };

/** POST /v1/guests/NAME/stop */
export interface StopRequest {
  /** Between asking the guest to go down and ending it. */
  graceMs: number;
}

/** POST /v1/guests/NAME/configure: steps of the agent protocol, done in a guest that runs. */
export interface ConfigureRequest {
  steps: Step[];
}

/** POST /v1/clusters/NAME/ask; the answer is that of the fabric, its typed arrays as lists. */
export type QuestionRequest = {
  [Kind in Question]: { kind: Kind; ask: Requests[Kind]['ask'] };
}[Question];

/** Any answer with a status of 400 or more. */
export interface ErrorBody {
  code: ErrorCode;
  message: string;
  where?: string;
  fix?: string;
  detail?: string;
  /** What in a guest's spec asked for what cannot be: a key, and what is within it. */
  asked?: SpecPath;
  /** What `fix` is made of, where it speaks of keys of a spec. */
  fixWords?: Fix;
}

/**
 * WebSocket /v1/guests/NAME/exec. Text messages are JSON of these types; binary ones are a byte for the stream
 * (0 standard input, 1 standard output, 2 standard error) and its data.
 */
export type ExecClientMessage =
  | { type: 'exec'; request: CommandRequest }
  | { type: 'end-input' }
  | { type: 'signal'; signal: number }
  | { type: 'resize'; rows: number; columns: number };

export type ExecServerMessage =
  | { type: 'started'; pid: number }
  | { type: 'exit'; code: number; signal: number }
  | { type: 'error'; error: ErrorBody };

export function bodyOfError(error: unknown): ErrorBody {
  if (!(error instanceof LodgeError)) return { code: 'internal', message: String(error) };
  const { code, message, where, fix, fixWords, detail, asked } = error;
  return {
    code,
    message,
    ...(where === undefined ? {} : { where }),
    ...(fix === undefined ? {} : { fix }),
    ...(detail === undefined ? {} : { detail }),
    ...(asked === undefined ? {} : { asked }),
    ...(fixWords === undefined || typeof fixWords === 'string' ? {} : { fixWords }),
  };
}

export function errorOfBody(body: ErrorBody): LodgeError {
  const { code, message, fixWords, ...details } = body;
  return new LodgeError(code, message, fixWords === undefined ? details : { ...details, fix: fixWords });
}
