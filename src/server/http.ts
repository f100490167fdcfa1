/** The API as routes over whatever owns the guests. No logic of its own. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { LodgeError } from '../errors.ts';
import type { Channel } from '../guest/channel/channel.ts';
import type { Session } from '../guest/channel/session.ts';
import { type CommandRequest, withNamedUser } from '../guest/named-user.ts';
import { fullNamePattern } from '../guest/spec.ts';
import { requireGuest } from '../guest/state.ts';
import {
  bodyOfError,
  type ExecClientMessage,
  type ExecServerMessage,
  type Health,
  type StartRequest,
} from './api.ts';
import { answerCluster, type ClusterOwner } from './cluster-routes.ts';
import { answerWithProgress, json, jsonOf, readJson } from './http-json.ts';
import {
  configureRequestOf,
  execMessageOf,
  serviceGroupOf,
  startRequestOf,
  stopRequestOf,
  toPartOf,
} from './requests.ts';
import type { Services } from './services.ts';
import { serveTogether } from './together.ts';
import type { Verbs } from './verb.ts';

/** What a process that owns guests can do for others. */
export interface GuestOwner {
  readonly version: string;
  /** The channel to a guest's agent. @throws LodgeError when it has none or does not run */
  channel(name: string): Promise<Channel>;
  stop(name: string, graceMs: number): Promise<void>;
  /** Starts a detached guest; only the host agent can. */
  start?(request: StartRequest, onProgress: (text: string) => void): Promise<void>;
  /** What can be done with clusters; only the host agent has them. */
  readonly clusters?: ClusterOwner;
  /** Programs that run beside guests; only the host agent has them. */
  readonly services?: Services;
  /** Ends this process, but not its guests. */
  leave?(): void;
  /** Runs verbs for whoever reaches it; only agents of jobs do. */
  readonly verbs?: Verbs | undefined;
}

const messageLimitBytes = 1024 * 1024;

/** The plan of a host's part of a cluster is in one. */
const partLimitBytes = 64 * 1024 * 1024;

/** What may wait in a socket to a client before its guest is held back. */
const bufferLimitBytes = 1024 * 1024;

export function createApi(owner: GuestOwner): Server {
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: messageLimitBytes,
  });
  const server = createServer((request, response) => {
    answer(owner, request, response).catch((error) => {
      if (response.headersSent) response.end();
      else json(response, error instanceof LodgeError ? 422 : 500, bodyOfError(error));
    });
  });
  const parts = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: partLimitBytes,
  });
  server.on('upgrade', (request, socket, head) => {
    const cluster = /^\/v1\/clusters\/([a-z0-9-]{1,32})\/part$/.exec(request.url ?? '')?.[1];
    const name = /^\/v1\/guests\/([a-z0-9.-]+)\/exec$/.exec(request.url ?? '')?.[1];
    const { verbs } = owner;
    if (verbs !== undefined && request.url === '/v1/verb') {
      sockets.handleUpgrade(request, socket, head, (client) => verbs.serve(client));
    } else if (cluster !== undefined && owner.clusters?.doPart !== undefined) {
      const { clusters } = owner;
      parts.handleUpgrade(request, socket, head, (client) =>
        serveTogether(client, toPartOf, (asked, session) => clusters.doPart!(cluster, asked, session)),
      );
    } else if (name === undefined || !fullNamePattern.test(name)) socket.destroy();
    else sockets.handleUpgrade(request, socket, head, (client) => serveExec(owner, name, client));
  });
  return server;
}

async function answer(owner: GuestOwner, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const route = `${request.method} ${request.url}`;
  if (route === 'GET /v1/health') {
    json(response, 200, { pid: process.pid, version: owner.version } satisfies Health);
    return;
  }
  if (route === 'POST /v1/leave' && owner.leave !== undefined) {
    json(response, 200, {});
    response.on('finish', () => owner.leave!());
    return;
  }
  if (route === 'POST /v1/guests' && owner.start !== undefined) {
    const body = startRequestOf(await readJson(request));
    await answerWithProgress(response, async (onProgress) => {
      await owner.start!(body, onProgress);
      return { name: body.plan.name };
    });
    return;
  }
  const asked = /^GET \/v1\/guests\/([a-z0-9.-]+)$/.exec(route)?.[1];
  if (asked !== undefined && fullNamePattern.test(asked)) {
    json(response, 200, requireGuest(asked));
    return;
  }
  const stopped = /^POST \/v1\/guests\/([a-z0-9.-]+)\/stop$/.exec(route)?.[1];
  if (stopped !== undefined && fullNamePattern.test(stopped)) {
    const { graceMs } = stopRequestOf(await readJson(request));
    await owner.stop(stopped, graceMs);
    json(response, 200, {});
    return;
  }
  const configured = /^POST \/v1\/guests\/([a-z0-9.-]+)\/configure$/.exec(route)?.[1];
  if (configured !== undefined && fullNamePattern.test(configured)) {
    const { steps } = configureRequestOf(await readJson(request));
    await (await owner.channel(configured)).configure(steps);
    json(response, 200, {});
    return;
  }
  if (route === 'POST /v1/services' && owner.services !== undefined) {
    await owner.services.start(serviceGroupOf(await readJson(request)));
    json(response, 200, {});
    return;
  }
  const group = /^POST \/v1\/services\/([a-z0-9-]+)\/stop$/.exec(route)?.[1];
  if (group !== undefined && owner.services !== undefined) {
    await owner.services.stop(group);
    json(response, 200, {});
    return;
  }
  if (owner.clusters !== undefined && (await answerCluster(owner.clusters, request, response))) return;
  json(response, 404, bodyOfError(new LodgeError('usage', `no such route: ${route}`)));
}

/** One command in a guest for one client; when the client goes, the command is hung up on. */
function serveExec(owner: GuestOwner, name: string, client: WebSocket): void {
  let session: Session | undefined;
  // Input in its order: messages that were parsed before a pause still come, and its end must come last.
  let writing: Promise<void> = Promise.resolve();
  let queuedBytes = 0;
  const tell = (message: ExecServerMessage): void => client.send(JSON.stringify(message));
  const begin = async (request: CommandRequest): Promise<void> => {
    const channel = await owner.channel(name);
    const resolved = await withNamedUser(channel, request);
    if (client.readyState !== client.OPEN) return;
    const started = channel.exec(resolved);
    session = started;
    started.output('stdout', (bytes) => sendOutput(client, 1, bytes));
    started.output('stderr', (bytes) => sendOutput(client, 2, bytes));
    tell({ type: 'started', pid: await started.started });
    // The client closes when it has taken all that came before this: it may be a slow reader.
    tell({ type: 'exit', ...(await started.end) });
  };
  client.on('message', (data: Buffer, isBinary) => {
    if (isBinary) {
      const target = session;
      if (target === undefined || data[0] !== 0) return;
      const bytes = data.subarray(1);
      queuedBytes += bytes.length;
      if (queuedBytes > bufferLimitBytes) client.pause();
      writing = writing
        .then(() => target.write(bytes))
        .then(() => {
          queuedBytes -= bytes.length;
          if (queuedBytes <= bufferLimitBytes) client.resume();
        });
      return;
    }
    let message: ExecClientMessage;
    try {
      message = execMessageOf(jsonOf(data.toString(), 'message'));
    } catch (error) {
      tell({ type: 'error', error: bodyOfError(error) });
      return;
    }
    if (message.type === 'exec' && session === undefined) {
      begin(message.request).catch((error) => tell({ type: 'error', error: bodyOfError(error) }));
    } else if (message.type === 'end-input') writing = writing.then(() => session?.endInput());
    else if (message.type === 'signal') session?.signal(message.signal);
    else if (message.type === 'resize') session?.resize(message.rows, message.columns);
  });
  client.on('error', () => {});
  client.on('close', () => session?.close());
}

function sendOutput(client: WebSocket, stream: number, bytes: Buffer): void | Promise<void> {
  const message = Buffer.allocUnsafe(bytes.length + 1);
  message[0] = stream;
  bytes.copy(message, 1);
  if (client.bufferedAmount < bufferLimitBytes) {
    client.send(message, () => {});
    return;
  }
  return new Promise((resolve) => client.send(message, () => resolve()));
}
