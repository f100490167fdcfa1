/** Routes of the host agent about clusters and their fabrics. No logic of their own. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Taken } from '../cluster/checkpoint/take.ts';
import type { IsolationFinding } from '../fabric/isolation/finding.ts';
import { answerText } from './fabric-json.ts';
import type { Fabrics } from './fabrics.ts';
import { answerWithProgress, json, readJson } from './http-json.ts';
import type { PartRequest } from './job-checkpoints.ts';
import { changeOf, directoryOf, eventOf, hostsOf, questionOf } from './requests.ts';
import type { PartSession } from './together.ts';

/** What the host agent can do with clusters. */
export interface ClusterOwner {
  readonly fabrics: Fabrics;
  checkpoint(name: string, dir: string, onProgress: (text: string) => void): Promise<Taken>;
  restore(name: string, dir: string, onProgress: (text: string) => void): Promise<void>;
  prove(name: string): Promise<IsolationFinding[]>;
  /** Does what is to be done with a cluster when its job ends; only agents of jobs do. */
  endOfJob?(name: string): Promise<void>;
  /** Does this host's part of what several hosts of a job do as one; only agents of jobs do. */
  doPart?(name: string, request: PartRequest, session: PartSession): Promise<unknown>;
}

/**
 * Answers a request about a cluster.
 * @returns whether it was one
 */
export async function answerCluster(
  owner: ClusterOwner,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  const [, name = '', what = ''] =
    /^\/v1\/clusters\/([a-z0-9-]{1,32})\/(apply|change|ask|events|hosts|stop|end|checkpoint|restore|prove)$/.exec(
      request.url ?? '',
    ) ?? [];
  if (name === '' || request.method !== 'POST') return false;
  const { fabrics } = owner;
  switch (what) {
    case 'checkpoint': {
      const { dir } = directoryOf(await readJson(request));
      await answerWithProgress(response, async (tell) => ({
        taken: await owner.checkpoint(name, dir, tell),
      }));
      return true;
    }
    case 'restore': {
      const { dir } = directoryOf(await readJson(request));
      await answerWithProgress(response, async (tell) => {
        await owner.restore(name, dir, tell);
        return { name };
      });
      return true;
    }
    case 'prove':
      json(response, 200, await owner.prove(name));
      return true;
    case 'apply':
      json(response, 200, await fabrics.apply(name));
      return true;
    case 'hosts':
      json(response, 200, await fabrics.joinHosts(name, hostsOf(await readJson(request))));
      return true;
    case 'change':
      await fabrics.change(name, changeOf(await readJson(request)));
      break;
    case 'ask': {
      const { kind, ask } = questionOf(await readJson(request));
      const text = answerText(await fabrics.ask(name, kind, ask));
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(text);
      return true;
    }
    case 'events':
      fabrics.note(name, eventOf(await readJson(request)));
      break;
    case 'stop':
      await fabrics.stop(name);
      break;
    case 'end':
      await owner.endOfJob?.(name);
      break;
  }
  json(response, 200, {});
  return true;
}
