/** A host of a cluster for tests: a fabric with one guest in each network, and trunks. */

import type { HostAddress } from '../../../src/fabric/control.ts';
import type { SocketIo } from '../../../src/fabric/guest-end.ts';
import { socketIo } from '../../../src/fabric/guest-end.ts';
import type { FabricPlan, PortPlan } from '../../../src/fabric/plan.ts';
import type { PortEnd, PortSink } from '../../../src/fabric/port-end.ts';
import { FabricService } from '../../../src/fabric/service.ts';
import { hostTrunks } from '../../../src/fabric/trunk/host-trunks.ts';
import { type TrunkEvent, Trunks } from '../../../src/fabric/trunk/trunks.ts';

export interface HostOptions {
  host: string;
  /** Number that its guests' addresses end with. */
  number: number;
  key: Buffer;
  peers: HostAddress[];
  networks: string[];
  /** Hosts that its plan has trunks to; those of `peers` when not given. */
  trunksTo?: string[];
  cluster?: string;
  digest?: string;
  port?: number;
}

export interface Host {
  service: FabricService;
  trunks: Trunks;
  events: TrunkEvent[];
  plan: FabricPlan;
  /** Hands a frame to the fabric as the guest of a network. */
  send(network: string, frame: Buffer): void;
  /** Frames that guests got, oldest first. */
  received: { network: string; frame: Buffer }[];
  onReceived: (network: string, frame: Buffer) => void;
  stop(): Promise<void>;
}

export function guestMac(network: number, host: number): string {
  return `02:4c:0${network}:00:00:0${host}`;
}

export async function startHost(options: HostOptions): Promise<Host> {
  const { host, key, peers, cluster = 'lab', digest = 'abc', port = 0 } = options;
  const events: TrunkEvent[] = [];
  const sinks = new Map<string, PortSink>();
  let trunks: Trunks;
  const service = new FabricService(
    {
      openEnd: (plan, context) =>
        plan.end.kind === 'trunk' ? trunks.end(plan.end.host, context.network) : guestEnd(context.network),
      openCapture: () => {
        throw new Error('no captures here');
      },
      filterOf: async () => undefined,
      trunks: {
        ...hostTrunks(() => {}),
        mark: (mark) => trunks.mark(mark),
        withoutMark: (mark) => trunks.withoutMark(mark),
      },
    },
    () => {},
    { memoryLimitBytes: 32 << 20 },
  );
  const io: SocketIo = socketIo(service.fabric, service.turns);
  trunks = await Trunks.open({
    cluster,
    host,
    digest,
    key,
    listen: { address: '127.0.0.1', port },
    peers,
    io,
    onEvent: (event) => events.push(event),
  });
  const self: Host = {
    service,
    trunks,
    events,
    plan: planOf(options),
    send: (network, frame) => sinks.get(network)!.frame(frame, 0, frame.length),
    received: [],
    onReceived: () => {},
    async stop() {
      await service.ask('stop', {});
      await trunks.stop();
    },
  };

  function guestEnd(network: string): PortEnd {
    return {
      start(sink) {
        sinks.set(network, sink);
        sink.connected();
      },
      send(buffer, offset, length) {
        const frame = Buffer.from(buffer.subarray(offset, offset + length));
        self.received.push({ network, frame });
        self.onReceived(network, frame);
        return true;
      },
      pause() {},
      resume() {},
      stop() {},
    };
  }

  await service.ask('apply', { plan: self.plan });
  return self;
}

function planOf({ host, number, peers, networks, cluster = 'lab', ...options }: HostOptions): FabricPlan {
  return {
    version: 1,
    name: cluster,
    seed: 1,
    networks: networks.map((name, index) => {
      const port = (end: PortPlan['end'], link: string): PortPlan => ({
        link: { name: `${name}/${link}`, out: {}, in: {}, isCut: false },
        switch: 0,
        end,
        limits: { macs: 1000, broadcastsPerSecond: 1e6 },
      });
      const mac = guestMac(index, number);
      const guest = `g${number}`;
      return {
        name,
        subnet: `10.${index + 1}.0.0/16`,
        mtuBytes: 1500,
        switches: [name],
        links: [],
        ports: [
          port(
            {
              kind: 'guest',
              guest,
              interface: {
                network: name,
                name: 'eth0',
                mac,
                address: `10.${index + 1}.0.${number}/16`,
                mtuBytes: 1500,
              },
              socketPath: `/nonexistent/${host}`,
            },
            guest,
          ),
          ...(options.trunksTo ?? peers.map((peer) => peer.host)).map((other) =>
            port({ kind: 'trunk', host: other }, `trunk-${other}`),
          ),
        ],
      };
    }),
  };
}

/** Waits until something is so; the test's own time limit ends it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
