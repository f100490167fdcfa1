/**
 * The trunks of one fabric, from the moment that it is told who the other hosts are. Before that there are none, and a
 * plan with trunks is refused.
 */

import { LodgeError } from '../../errors.ts';
import type { FabricEvent, HostsRequest, TrunkState } from '../control.ts';
import type { SocketIo } from '../guest-end.ts';
import type { PortEnd } from '../port-end.ts';
import { readTrunkKey } from './secure.ts';
import { Trunks } from './trunks.ts';

export interface HostTrunks {
  /**
   * Listens, and joins the other hosts; again, with others.
   * @throws LodgeError `usage` for another host, address or key than before; `host-io`
   */
  join(request: HostsRequest, io: SocketIo): Promise<{ port: number }>;
  /** @throws LodgeError `fabric-unavailable` when nobody has told this fabric its hosts */
  end(host: string, network: string): PortEnd;
  states(): TrunkState[];
  /** See `Trunks`; where there are no trunks, nothing is to be waited for. */
  mark(mark: string): void;
  withoutMark(mark: string): { host: string; isUp: boolean }[];
  /** See `FabricPlan.digest`. */
  setDigest(digest: string | undefined): void;
  stop(): Promise<void>;
}

export function hostTrunks(tell: (event: FabricEvent) => void): HostTrunks {
  let joined: { trunks: Trunks; request: HostsRequest } | undefined;
  let digest = '';

  return {
    async join(request, io) {
      if (joined === undefined) {
        const trunks = await Trunks.open({
          ...request,
          digest,
          key: readTrunkKey(request.keyFile),
          io,
          onEvent: ({ kind, subject, text }) =>
            tell({ atMs: Date.now(), link: subject, kind, ...(text === '' ? {} : { detail: text }) }),
        });
        joined = { trunks, request };
        return { port: trunks.port };
      }
      const { trunks } = joined;
      checkSame({ ...joined.request, listen: { ...joined.request.listen, port: trunks.port } }, request);
      trunks.setPeers(request.peers);
      return { port: trunks.port };
    },
    end(host, network) {
      if (joined !== undefined) return joined.trunks.end(host, network);
      throw new LodgeError(
        'fabric-unavailable',
        `network '${network}' goes on at host '${host}', and where that is was not told`,
        {
          fix: 'tell the host agent the hosts of the cluster first: POST /v1/clusters/NAME/hosts',
        },
      );
    },
    states: () => joined?.trunks.states ?? [],
    mark: (mark) => joined?.trunks.mark(mark),
    withoutMark: (mark) => joined?.trunks.withoutMark(mark) ?? [],
    setDigest(now = '') {
      if (now === digest) return;
      digest = now;
      joined?.trunks.setDigest(now);
    },
    stop: async () => joined?.trunks.stop(),
  };
}

/** @throws LodgeError `usage` */
function checkSame(before: HostsRequest, now: HostsRequest): void {
  const differs = (what: string, a: string | number, b: string | number): void => {
    if (a === b) return;
    throw new LodgeError('usage', `the fabric of '${now.cluster}' has the ${what} ${a} already, not ${b}`, {
      fix: 'end the fabric first: POST /v1/clusters/NAME/stop, or lodge down',
    });
  };
  differs('host name', before.host, now.host);
  differs('address', before.listen.address, now.listen.address);
  if (now.listen.port !== 0) differs('port', before.listen.port, now.listen.port);
  differs('key file', before.keyFile, now.keyFile);
}
