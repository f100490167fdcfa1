/** Bodies of requests and answers, as JSON. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { LodgeError } from '../errors.ts';
import { bodyOfError } from './api.ts';

/** Requests are small: a plan is some tens of kilobytes. */
const bodyLimitBytes = 4 * 1024 * 1024;

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

/** Answers with lines of JSON: `{progress}` as it goes, last what the action gives, or `{error}`. */
export async function answerWithProgress(
  response: ServerResponse,
  action: (onProgress: (text: string) => void) => Promise<object>,
): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  const tell = (event: object): void => {
    response.write(`${JSON.stringify(event)}\n`);
  };
  try {
    tell(await action((progress) => tell({ progress })));
  } catch (error) {
    tell({ error: bodyOfError(error) });
  }
  response.end();
}

/** @throws LodgeError `usage` */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request) {
    bytes += (piece as Buffer).length;
    if (bytes > bodyLimitBytes) throw new LodgeError('usage', 'the request is too large');
    pieces.push(piece as Buffer);
  }
  return jsonOf(Buffer.concat(pieces).toString(), 'request');
}

/** @throws LodgeError `usage` */
export function jsonOf(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new LodgeError('usage', `the ${what} is not JSON`, { cause });
  }
}
