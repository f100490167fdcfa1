/** Ethernet frames made by hand, so that tests know each byte. */

export function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

export function addressBytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

export function ethernet(to: string, from: string, type: number, payload: Buffer): Buffer {
  const head = Buffer.concat([macBytes(to), macBytes(from), Buffer.from([type >> 8, type & 255])]);
  return Buffer.concat([head, payload]);
}

export interface Ipv4Options {
  protocol: number;
  from: string;
  to: string;
  payload: Buffer;
  /** The flags and the offset of a fragment, as the header has them. */
  fragment?: number;
  options?: Buffer;
  ttl?: number;
}

export function ipv4({
  protocol,
  from,
  to,
  payload,
  fragment = 0,
  options = Buffer.alloc(0),
  ttl = 64,
}: Ipv4Options): Buffer {
  const header = Buffer.alloc(20 + options.length);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + payload.length, 2);
  header.writeUInt16BE(0x1234, 4);
  header.writeUInt16BE(fragment, 6);
  header[8] = ttl;
  header[9] = protocol;
  addressBytes(from).copy(header, 12);
  addressBytes(to).copy(header, 16);
  options.copy(header, 20);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** The Internet checksum (RFC 1071) of bytes whose own checksum field is zero. */
export function checksum(...parts: Buffer[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function pseudoHeader(protocol: number, from: string, to: string, length: number): Buffer {
  const tail = Buffer.from([0, protocol, length >> 8, length & 255]);
  return Buffer.concat([addressBytes(from), addressBytes(to), tail]);
}

export interface PortsOptions {
  from: string;
  to: string;
  fromPort: number;
  toPort: number;
  data?: Buffer;
}

export function udp({ from, to, fromPort, toPort, data = Buffer.alloc(0) }: PortsOptions): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(fromPort, 0);
  header.writeUInt16BE(toPort, 2);
  header.writeUInt16BE(8 + data.length, 4);
  const payload = Buffer.concat([header, data]);
  payload.writeUInt16BE(checksum(pseudoHeader(17, from, to, payload.length), payload) || 0xffff, 6);
  return ipv4({ protocol: 17, from, to, payload });
}

export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 } as const;

export function tcp(
  options: PortsOptions & {
    flags?: number;
    sequence?: number;
    acknowledged?: number;
    window?: number;
    /** TCP options, whole words of 4 bytes. */
    extra?: Buffer;
  },
): Buffer {
  const { from, to, fromPort, toPort, data = Buffer.alloc(0), flags = tcpFlags.syn } = options;
  const { window = 65_535, extra = Buffer.alloc(0) } = options;
  const header = Buffer.alloc(20 + extra.length);
  extra.copy(header, 20);
  header.writeUInt16BE(fromPort, 0);
  header.writeUInt16BE(toPort, 2);
  header.writeUInt32BE(options.sequence ?? 0, 4);
  header.writeUInt32BE(options.acknowledged ?? 0, 8);
  header[12] = (header.length / 4) << 4;
  header[13] = flags;
  header.writeUInt16BE(window, 14);
  const payload = Buffer.concat([header, data]);
  payload.writeUInt16BE(checksum(pseudoHeader(6, from, to, payload.length), payload), 16);
  return ipv4({ protocol: 6, from, to, payload });
}

export function icmpEcho(from: string, to: string, type: 0 | 8, id: number): Buffer {
  const payload = Buffer.alloc(16);
  payload[0] = type;
  payload.writeUInt16BE(id, 4);
  payload.writeUInt16BE(checksum(payload), 2);
  return ipv4({ protocol: 1, from, to, payload });
}

export function arpRequest(mac: string, from: string, to: string): Buffer {
  const head = Buffer.from([0, 1, 8, 0, 6, 4, 0, 1]);
  const payload = Buffer.concat([head, macBytes(mac), addressBytes(from), Buffer.alloc(6), addressBytes(to)]);
  return ethernet('ff:ff:ff:ff:ff:ff', mac, 0x0806, payload);
}

export interface DhcpAsked {
  type: number;
  from?: string;
  chaddr?: string;
  ciaddr?: string;
  flags?: number;
  giaddr?: string;
  options?: [code: number, value: Buffer][];
  op?: number;
}

/** A DHCP message of a client, to everybody. */
export function dhcpRequest({
  type,
  from = '02:4c:01:00:00:01',
  chaddr = from,
  ciaddr = '0.0.0.0',
  flags = 0,
  giaddr = '0.0.0.0',
  options: more = [],
  op = 1,
}: DhcpAsked): Buffer {
  const message = Buffer.alloc(240);
  message.set([op, 1, 6, 0]);
  message.writeUInt32BE(0xdeadbeef, 4);
  message.writeUInt16BE(flags, 10);
  addressBytes(ciaddr).copy(message, 12);
  addressBytes(giaddr).copy(message, 24);
  macBytes(chaddr).copy(message, 28);
  message.writeUInt32BE(0x63825363, 236);
  const all: [number, Buffer][] = [[53, Buffer.of(type)], ...more];
  const encoded = all.flatMap(([code, value]) => [Buffer.of(code, value.length), value]);
  const data = Buffer.concat([message, ...encoded, Buffer.of(255)]);
  return ethernet(
    'ff:ff:ff:ff:ff:ff',
    from,
    0x0800,
    udp({ from: ciaddr, to: '255.255.255.255', fromPort: 68, toPort: 67, data }),
  );
}
