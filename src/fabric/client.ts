/** The host agent's side of a fabric: starts its worker, asks it, and hears when it died. */

import { Worker } from 'node:worker_threads';
import { LodgeError } from '../errors.ts';
import { builtWorker } from '../installation.ts';
import type { FabricEvent, RequestKind, Requests, WorkerData, WorkerMessage } from './control.ts';

export interface FabricCallbacks {
  onEvent?: (event: FabricEvent) => void;
  /**
   * The worker ended without being asked to. What was on its way is lost; whoever wants the fabric back starts another
   * and applies the plan again.
   */
  onDeath?: (error: Error) => void;
}

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: Error): void;
}

export class FabricClient {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #ended: Error | undefined;
  #isStopping = false;
  readonly #exited: Promise<void>;

  /** @throws LodgeError `missing-program` when lodge was not built */
  constructor(
    callbacks: FabricCallbacks = {},
    data: WorkerData = {},
    file: string | URL = builtWorker('fabric'),
  ) {
    this.#worker = new Worker(file, { workerData: data, name: 'lodge fabric' });
    let cause: Error | undefined;
    this.#worker.on('message', (message: WorkerMessage) => {
      if ('event' in message) callbacks.onEvent?.(message.event);
      else this.#answered(message);
    });
    this.#worker.on('error', (error) => {
      cause = error;
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        const died = new LodgeError('fabric-unavailable', `the fabric ended with code ${code}`, {
          ...(cause?.stack === undefined ? {} : { detail: cause.stack }),
          cause,
        });
        this.#ended = died;
        for (const { reject } of this.#waiting.values()) reject(died);
        this.#waiting.clear();
        resolve();
        if (!this.#isStopping) callbacks.onDeath?.(died);
      });
    });
  }

  /**
   * @throws LodgeError what the fabric says is wrong; `fabric-unavailable` when it ended before it answered
   */
  ask<Kind extends RequestKind>(
    kind: Kind,
    ask: Requests[Kind]['ask'],
    moved: ArrayBuffer[] = [],
  ): Promise<Requests[Kind]['answer']> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      // Sent first: what cannot be sent is the caller's fault, and nobody waits for it.
      this.#worker.postMessage({ id, kind, ask }, moved);
      this.#waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject });
    });
  }

  /** Closes ports and captures and ends the worker; after `graceMs` it is ended whatever it does. */
  async stop(graceMs = 2000): Promise<void> {
    this.#isStopping = true;
    const timer = setTimeout(() => void this.#worker.terminate(), graceMs);
    await this.ask('stop', {}).catch(() => {});
    await this.#exited;
    clearTimeout(timer);
  }

  #answered(message: Exclude<WorkerMessage, { event: FabricEvent }>): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('error' in message) {
      const { code, message: text, ...details } = message.error;
      waiting?.reject(new LodgeError(code, text, details));
    } else waiting?.resolve(message.answer);
  }
}
