/**
 * What several hosts of a job do as one. Each does its part, and at *meetings* all wait until the last one has come so
 * far. When one fails, goes away or is not heard any more, all the others are told to give up what they are at. Both
 * sides of it: whoever brings the hosts together, and the agent of each.
 *
 * A WebSocket for each host (`/v1/clusters/NAME/part`), with messages of JSON.
 */

import type { WebSocket } from 'ws';
import { LodgeError } from '../errors.ts';
import { bodyOfError, type ErrorBody, errorOfBody } from './api.ts';
import { type FarDoor, webSocketThrough } from './door.ts';
import { jsonOf } from './http-json.ts';

export type ToPart<Request> =
  | { type: 'begin'; request: Request }
  /** All have met: it may go on. */
  | { type: 'go' }
  | { type: 'give-up'; reason: string };

type FromPart =
  | { type: 'progress'; text: string }
  | { type: 'met'; meeting: string; told: unknown }
  | { type: 'done'; answer: unknown }
  | { type: 'error'; error: ErrorBody };

/** Each side is heard within three of these. */
const aliveEveryMs = 5000;
const silentTicks = 3;
/** How long those that gave up may take to undo what they had done. */
const undoWithinMs = 60_000;

/** Ends a connection on which nothing is heard any more. */
function keepAlive(socket: WebSocket): void {
  let silentFor = 0;
  const heard = (): void => {
    silentFor = 0;
  };
  for (const event of ['message', 'ping', 'pong'] as const) socket.on(event, heard);
  const timer = setInterval(() => {
    if (++silentFor > silentTicks) socket.terminate();
    else if (socket.readyState === socket.OPEN) socket.ping();
  }, aliveEveryMs);
  socket.once('close', () => clearInterval(timer));
}

export interface PartCall<Request> {
  door: FarDoor;
  request: Request;
}

export interface TogetherOptions {
  cluster: string;
  /** In their order. */
  meetings: readonly string[];
  onProgress: (text: string) => void;
  /** All have come to a meeting, and told this; they wait until it resolves. */
  onMeeting?: (meeting: string, told: readonly unknown[]) => Promise<void>;
  /** All give up. */
  signal?: AbortSignal;
}

/**
 * Has each host do its part.
 * @returns what they answered, in their order
 * @throws LodgeError that of the first host that failed, told with its name; by then all have undone what they had begun
 */
export async function doTogether<Request, Answer>(
  calls: readonly PartCall<Request>[],
  { cluster, meetings, onProgress, onMeeting, signal }: TogetherOptions,
): Promise<Answer[]> {
  const parts = calls.map((call) => new FarPart(call, `/v1/clusters/${cluster}/part`, onProgress));
  const aborted = new Promise<never>((_, reject) => {
    const tell = (): void => reject(signal!.reason);
    if (signal?.aborted === true) tell();
    else signal?.addEventListener('abort', tell, { once: true });
  });
  aborted.catch(() => {});
  try {
    for (const meeting of meetings) {
      const told = await Promise.race([Promise.all(parts.map((part) => part.arrival(meeting))), aborted]);
      await onMeeting?.(meeting, told);
      for (const part of parts) part.tell({ type: 'go' });
    }
    return (await Promise.race([Promise.all(parts.map((part) => part.answer)), aborted])) as Answer[];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    for (const part of parts) part.tell({ type: 'give-up', reason });
    await Promise.all(parts.map((part) => part.untilClosed(undoWithinMs)));
    throw error;
  }
}

/** A host that does its part, as whoever asked it sees it. */
class FarPart<Request> {
  readonly answer: Promise<unknown>;
  readonly #socket: WebSocket;
  readonly #host: string;
  readonly #closed: Promise<void>;
  readonly #met = new Map<string, { promise: Promise<unknown>; resolve: (told: unknown) => void }>();
  #fail!: (error: LodgeError) => void;

  constructor({ door, request }: PartCall<Request>, path: string, onProgress: (text: string) => void) {
    this.#host = door.host;
    const socket = webSocketThrough(door, path);
    this.#socket = socket;
    let done!: (answer: unknown) => void;
    this.answer = new Promise((resolve, reject) => {
      done = resolve;
      this.#fail = reject;
    });
    this.answer.catch(() => {});
    this.#closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.once('open', () => this.tell({ type: 'begin', request }));
    socket.on('message', (data: Buffer) => {
      let message: FromPart;
      try {
        message = jsonOf(data.toString(), 'message') as FromPart;
      } catch (error) {
        // Thrown here it would end this agent, and its guests.
        this.#fail(ofHost(this.#host, bodyOfError(error)));
        return;
      }
      if (message.type === 'progress') onProgress(`${this.#host}: ${message.text}`);
      else if (message.type === 'met') this.#meeting(message.meeting).resolve(message.told);
      else if (message.type === 'done') done(message.answer);
      else this.#fail(ofHost(this.#host, message.error));
    });
    let cause = 'it went away';
    socket.on('error', (error) => {
      cause = error.message;
    });
    void this.#closed.then(() =>
      this.#fail(
        new LodgeError('host-agent', `the agent on ${this.#host} did not do its part: ${cause}`, {
          fix: 'lodge status tells which guests still run',
        }),
      ),
    );
    keepAlive(socket);
  }

  /** Resolves with what it told when it came to a meeting; rejects when it never will. */
  arrival(meeting: string): Promise<unknown> {
    const never = this.answer.then(() => {
      throw new LodgeError('internal', `${this.#host} was done before '${meeting}'`);
    });
    return Promise.race([this.#meeting(meeting).promise, never]);
  }

  tell(message: ToPart<Request>): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(message), () => {});
  }

  /** Whoever gave up closes it when nothing is left to be undone. */
  async untilClosed(limitMs: number): Promise<void> {
    if (this.#socket.readyState === this.#socket.CONNECTING) this.#socket.terminate();
    const timer = setTimeout(() => this.#socket.terminate(), limitMs);
    await this.#closed;
    clearTimeout(timer);
  }

  #meeting(name: string) {
    let meeting = this.#met.get(name);
    if (meeting === undefined) {
      let resolve!: (told: unknown) => void;
      const promise = new Promise<unknown>((settle) => {
        resolve = settle;
      });
      meeting = { promise, resolve };
      this.#met.set(name, meeting);
    }
    return meeting;
  }
}

function ofHost(host: string, body: ErrorBody): LodgeError {
  return errorOfBody({ ...body, where: body.where === undefined ? host : `${host}: ${body.where}` });
}

/** What an agent that does a part knows of the others. */
export interface PartSession {
  /** Tells that this host has come so far, and waits until all have. @throws what made them give up */
  meet(meeting: string, told?: unknown): Promise<void>;
  /** They have given up, or whoever brought them together is gone. */
  signal: AbortSignal;
  onProgress(text: string): void;
}

/**
 * The agent's side: does the part that is asked for, once.
 * @param act undoes what it did when it fails
 */
export function serveTogether<Request>(
  client: WebSocket,
  parse: (value: unknown) => ToPart<Request>,
  act: (request: Request, session: PartSession) => Promise<unknown>,
): void {
  const giveUp = new AbortController();
  let goOn: (() => void) | undefined;
  let hasBegun = false;
  const tell = (message: FromPart): void => {
    if (client.readyState === client.OPEN) client.send(JSON.stringify(message), () => {});
  };
  const abandon = (reason: string): void =>
    giveUp.abort(new LodgeError('host-agent', `another host did not do its part: ${reason}`));
  const session: PartSession = {
    signal: giveUp.signal,
    onProgress: (text) => tell({ type: 'progress', text }),
    meet: (meeting, told = null) =>
      new Promise((resolve, reject) => {
        const fail = (): void => reject(giveUp.signal.reason);
        if (giveUp.signal.aborted) {
          fail();
          return;
        }
        giveUp.signal.addEventListener('abort', fail, { once: true });
        goOn = () => {
          goOn = undefined;
          giveUp.signal.removeEventListener('abort', fail);
          resolve();
        };
        tell({ type: 'met', meeting, told });
      }),
  };
  client.on('message', (data: Buffer) => {
    let message: ToPart<Request>;
    try {
      message = parse(jsonOf(data.toString(), 'message'));
    } catch (error) {
      tell({ type: 'error', error: bodyOfError(error) });
      client.close();
      return;
    }
    if (message.type === 'go') goOn?.();
    else if (message.type === 'give-up') abandon(message.reason);
    else if (!hasBegun) {
      hasBegun = true;
      act(message.request, session)
        .then(
          (answer) => tell({ type: 'done', answer }),
          (error) => tell({ type: 'error', error: bodyOfError(error) }),
        )
        .finally(() => client.close());
    }
  });
  client.on('error', () => {});
  client.on('close', () => abandon('who asked for it is gone'));
  keepAlive(client);
}
