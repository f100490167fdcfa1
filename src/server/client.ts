/** Talking to whoever owns a guest: the host agent, started when it is needed, or a run in the foreground. */

import { spawn } from 'node:child_process';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { LodgeError } from '../errors.ts';
import type { Step } from '../guest/channel/channel.ts';
import type { CommandRequest } from '../guest/named-user.ts';
import { type GuestPlan, guestFiles } from '../guest/plan.ts';
import { type GuestView, runtimeDir, viewGuest } from '../guest/state.ts';
import { installationVersion } from '../installation.ts';
import { makeDirectory } from '../make-directory.ts';
import { startEnvironment } from '../start-environment.ts';
import {
  type ConfigureRequest,
  type ErrorBody,
  errorOfBody,
  type Health,
  type ProgressEvent,
} from './api.ts';
import { type Door, doorText, requestThrough, webSocketThrough } from './door.ts';
import { locateGuest } from './locate.ts';
import { RemoteSession } from './remote-session.ts';

/** A second in all but a host that has much else to do. */
const agentStartLimitMs = 60_000;
const agentRetryMs = 1000;

/** Where the process that owns a guest is reached. */
async function ownerDoor(guest: GuestView, far: Door | undefined): Promise<Door> {
  if (far !== undefined) return far;
  return guest.record.mode === 'foreground' ? join(guest.dir, guestFiles.owner) : await ensureHostAgent();
}

/** Starts a command in a guest. @throws LodgeError `no-such-guest`, `guest-not-running`, `host-agent` */
export async function execInGuest(name: string, request: CommandRequest): Promise<RemoteSession> {
  const { guest, door } = await locateGuest(name);
  if (guest.status !== 'running') {
    throw new LodgeError('guest-not-running', `'${name}' is ${guest.status}`, { fix: 'lodge ps' });
  }
  const owner = await ownerDoor(guest, door);
  return new RemoteSession(webSocketThrough(owner, `/v1/guests/${name}/exec`), request);
}

/** Brings a guest down in good order. */
export async function stopThroughOwner(name: string, graceMs: number): Promise<void> {
  const { guest, door } = await locateGuest(name);
  const owner = await ownerDoor(guest, door);
  try {
    await call(owner, 'POST', `/v1/guests/${name}/stop`, { graceMs });
  } catch (error) {
    // A run in the foreground ends with its guest, now and then before it has answered.
    const isDown = (viewGuest(name)?.status ?? 'exited') === 'exited';
    if (!isDown || !(error instanceof LodgeError) || error.code !== 'host-agent') throw error;
  }
}

/** Has steps of the agent protocol done in a guest that runs. */
export async function configureGuest(name: string, steps: readonly Step[]): Promise<void> {
  const body = { steps: steps as Step[] } satisfies ConfigureRequest;
  const { guest, door } = await locateGuest(name);
  await call(await ownerDoor(guest, door), 'POST', `/v1/guests/${name}/configure`, body);
}

/** Has the host agent end a group of services, if it runs one of that name. */
export async function stopServices(group: string): Promise<void> {
  await call(await ensureHostAgent(), 'POST', `/v1/services/${group}/stop`);
}

/** Has the host agent start a guest that outlives this process. @returns its name */
export async function startDetached(plan: GuestPlan, onProgress: (text: string) => void): Promise<string> {
  return (await callWithProgress<{ name: string }>('/v1/guests', { plan }, onProgress)).name;
}

/** A request to the host agent that takes its time. @returns the last line of its answer */
export async function callWithProgress<Answer extends object>(
  path: string,
  body: unknown,
  onProgress: (text: string) => void,
): Promise<Answer> {
  return callDoorWithProgress(await ensureHostAgent(), path, body, onProgress);
}

/** As {@link callWithProgress}, to the agent behind a door. */
export async function callDoorWithProgress<Answer extends object>(
  door: Door,
  path: string,
  body: unknown,
  onProgress: (text: string) => void,
): Promise<Answer> {
  let last: ProgressEvent | Answer | undefined;
  await call(door, 'POST', path, body, (line) => {
    last = JSON.parse(line) as ProgressEvent | Answer;
    if ('progress' in last) onProgress(last.progress);
  });
  if (last !== undefined && 'error' in last) throw errorOfBody(last.error);
  if (last === undefined || 'progress' in last) {
    throw new LodgeError('host-agent', 'the host agent ended before it was done', { fix: 'try again' });
  }
  return last;
}

/**
 * The socket of the host agent of this installation, which is started when there is none.
 * @throws LodgeError `host-agent`
 */
export async function ensureHostAgent(): Promise<string> {
  const socketPath = join(runtimeDir(), 'agent.sock');
  const deadline = performance.now() + agentStartLimitMs;
  let startedAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    const health = await call(socketPath, 'GET', '/v1/health').catch(() => undefined);
    const version = health === undefined ? undefined : (JSON.parse(health) as Health).version;
    if (version === installationVersion()) return socketPath;
    if (version !== undefined) {
      // Another build of lodge: it makes way, and its guests go on.
      await call(socketPath, 'POST', '/v1/leave').catch(() => undefined);
    }
    // One that is on its way out may still hold the lock: then the new one has ended at once.
    if (performance.now() - startedAt > agentRetryMs) {
      spawnHostAgent();
      startedAt = performance.now();
    }
    if (performance.now() > deadline) {
      throw new LodgeError('host-agent', 'the host agent did not come up', {
        where: socketPath,
        fix: 'run it in the foreground to see why: lodge agent',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Starts an agent; where there is one already, the lock makes the new one end at once. */
function spawnHostAgent(): void {
  makeDirectory(runtimeDir(), 0o700);
  const child = spawn(
    'flock',
    [
      '--nonblock',
      '--no-fork',
      join(runtimeDir(), 'agent.lock'),
      process.execPath,
      process.argv[1]!,
      'agent',
    ],
    { detached: true, stdio: 'ignore', cwd: '/', env: startEnvironment(process.env) },
  );
  child.on('error', () => {});
  child.unref();
}

/** One request; gives the body of the answer. @throws LodgeError that the other side gave, or `host-agent` */
export function call(
  door: Door,
  method: string,
  path: string,
  body?: unknown,
  onLine?: (line: string) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const unreachable = (cause: Error): void =>
      reject(
        new LodgeError('host-agent', `the process that owns the guest went away: ${cause.message}`, {
          where: doorText(door),
          fix: 'lodge ps shows what is left; try again',
          cause,
        }),
      );
    const request = httpRequest({ ...requestThrough(door), method, path }, (response) => {
      let text = '';
      let unread = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        if (onLine === undefined) text += piece;
        else {
          const lines = (unread + piece).split('\n');
          unread = lines.pop()!;
          lines.forEach(onLine);
        }
      });
      response.on('end', () => {
        if (response.statusCode! < 400) resolve(text);
        else reject(errorOfBody(JSON.parse(text) as ErrorBody));
      });
      response.on('error', unreachable);
    });
    request.on('error', unreachable);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
