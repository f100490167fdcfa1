/**
 * For uplink.test.ts, in a network namespace made for it: servers on the address 198.51.100.1 of a veth, a fabric with an
 * uplink, and one guest whose TCP is spoken by hand. Prints what came of it as JSON.
 */

import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { PortPlan } from '../../../src/fabric/plan.ts';
import type { PortSink } from '../../../src/fabric/port-end.ts';
import { FabricService } from '../../../src/fabric/service.ts';
import { hostTrunks } from '../../../src/fabric/trunk/host-trunks.ts';
import { openUplinkEnd, type UplinkPortEnd } from '../../../src/fabric/uplink/uplink-end.ts';
import { arpRequest, ethernet, tcp, tcpFlags, udp } from '../packets.ts';

const host = '198.51.100.1';
const guest = '10.1.0.1';
const guestMac = '02:4c:01:00:00:01';
const gateway = '10.1.255.254';
const gatewayMac = '02:4c:01:ff:ff:fe';

const connections: Record<string, number> = {};
function listen(address: string): Promise<number> {
  const server = createServer((socket) => {
    const { port } = server.address() as { port: number };
    connections[port] = (connections[port] ?? 0) + 1;
    socket.on('data', (data) => socket.write(`you said ${data}`));
    socket.on('error', () => {});
  });
  return new Promise((resolve) =>
    server.listen(0, address, () => resolve((server.address() as { port: number }).port)),
  );
}

const allowedPort = await listen(host);
const otherPort = await listen(host);
const loopbackPort = await listen('127.0.0.1');
const datagrams: string[] = [];
const udpServer = createSocket('udp4', (message, from) => {
  datagrams.push(String(message));
  udpServer.send(`echo ${message}`, from.port, from.address);
});
const udpPort = await new Promise<number>((resolve) =>
  udpServer.bind(0, host, () => resolve(udpServer.address().port)),
);

let sink: PortSink;
let uplink: UplinkPortEnd;
const waiting: { matches: (frame: Buffer) => boolean; resolve: (frame: Buffer) => void }[] = [];
const service = new FabricService(
  {
    openEnd(plan, context, io) {
      if (plan.end.kind === 'uplink') {
        uplink = openUplinkEnd(plan.end, context, io);
        return uplink;
      }
      return {
        start(given) {
          sink = given;
          given.connected();
        },
        send(buffer, offset, length) {
          const frame = Buffer.from(buffer.subarray(offset, offset + length));
          const index = waiting.findIndex(({ matches }) => matches(frame));
          if (index >= 0) waiting.splice(index, 1)[0]!.resolve(frame);
          return true;
        },
        pause() {},
        resume() {},
        stop() {},
      };
    },
    openCapture: () => {
      throw new Error('no captures here');
    },
    filterOf: async () => undefined,
    trunks: hostTrunks(() => {}),
  },
  (event) => {
    if (event.kind === 'disconnected') process.stderr.write(`${event.link}: ${event.detail}\n`);
  },
);
const port = (name: string, end: PortPlan['end']): PortPlan => ({
  link: { name: `lan/${name}`, out: {}, in: {}, isCut: false },
  switch: 0,
  end,
  limits: { macs: 1, broadcastsPerSecond: 1000 },
});
const face = { network: 'lan', name: 'eth0', mac: guestMac, address: `${guest}/16`, mtuBytes: 1500 };
const allow = [
  { protocol: 'tcp', destination: `${host}/32`, ports: [allowedPort, allowedPort] },
  { protocol: 'udp', destination: `${host}/32`, ports: [udpPort, udpPort] },
  // Would lead to the loopback, were it not refused always.
  { protocol: 'tcp', destination: '127.0.0.0/8' },
] as const;
await service.ask('apply', {
  plan: {
    version: 1,
    name: 'lab',
    seed: 1,
    networks: [
      {
        name: 'lan',
        subnet: '10.1.0.0/16',
        mtuBytes: 1500,
        switches: ['lan'],
        links: [],
        ports: [
          port('v01', { kind: 'guest', guest: 'v01', interface: face, socketPath: '/nonexistent' }),
          port('uplink', {
            kind: 'uplink',
            gateway,
            mac: gatewayMac,
            allow: allow.map((rule) => ({ ...rule })) as never,
          }),
        ],
      },
    ],
  },
});

const send = (frame: Buffer) => sink.frame(frame, 0, frame.length);
/** Sends until an answer comes: passt may be starting still. */
async function exchange(frame: Buffer, matches: (frame: Buffer) => boolean): Promise<Buffer> {
  const answer = new Promise<Buffer>((resolve) => waiting.push({ matches, resolve }));
  send(frame);
  const timer = setInterval(() => send(frame), 500);
  const found = await answer;
  clearInterval(timer);
  return found;
}
const toGateway = (packet: Buffer) => ethernet(gatewayMac, guestMac, 0x0800, packet);
const fromPort = 40_000;
const isTcp = (frame: Buffer) =>
  frame.readUInt16BE(12) === 0x0800 && frame[23] === 6 && frame.readUInt16BE(36) === fromPort;

await exchange(
  arpRequest(guestMac, guest, gateway),
  (frame) => frame.readUInt16BE(12) === 0x0806 && frame[21] === 2,
);
for (const [to, toPort] of [
  [host, otherPort],
  ['127.0.0.1', loopbackPort],
  [gateway, loopbackPort],
  ['10.1.0.2', loopbackPort],
] as const) {
  send(toGateway(tcp({ from: guest, to, fromPort: 41_000, toPort })));
}
send(
  toGateway(udp({ from: guest, to: host, fromPort: 5000, toPort: udpPort + 1, data: Buffer.from('denied') })),
);

const ends = { from: guest, to: host, fromPort, toPort: allowedPort };
const synAck = await exchange(
  toGateway(tcp({ ...ends, sequence: 100 })),
  (frame) => isTcp(frame) && frame[47] === 0x12,
);
const acknowledged = synAck.readUInt32BE(38) + 1;
send(toGateway(tcp({ ...ends, sequence: 101, acknowledged, flags: tcpFlags.ack })));
const data = Buffer.from('hello');
const reply = await exchange(
  toGateway(tcp({ ...ends, sequence: 101, acknowledged, flags: tcpFlags.ack | tcpFlags.psh, data })),
  (frame) => isTcp(frame) && frame.length > 14 + 40 && frame.includes('you said'),
);
const echoed = await exchange(
  toGateway(udp({ from: guest, to: host, fromPort: 5000, toPort: udpPort, data: Buffer.from('ping') })),
  (frame) => frame[23] === 17,
);

process.stdout.write(
  JSON.stringify({
    reply: reply.toString('latin1', 54),
    source: [...reply.subarray(26, 30)].join('.'),
    echoed: echoed.toString('latin1', 42),
    datagrams: [...new Set(datagrams)],
    connections: {
      allowed: connections[allowedPort] ?? 0,
      other: connections[otherPort] ?? 0,
      loopback: connections[loopbackPort] ?? 0,
    },
    counts: uplink!.counts(),
    denied: (await service.ask('links', { links: ['lan/uplink'] }))[0]!.out.dropped.denied,
    interfaces: Object.keys(networkInterfaces()),
  }),
);
// passt is reaped before this process ends.
await service.ask('stop', {});
setTimeout(() => process.exit(), 300);
