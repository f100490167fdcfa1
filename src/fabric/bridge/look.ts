/** Looks at what this host has for bridges: tried in a network namespace that is thrown away. */

import { readFileSync } from 'node:fs';
import { runProgram } from '../../process.ts';
import { type BridgeHost, type Feature, features } from './requirements.ts';

/** Says the name of each feature that works. */
const script = `
ip link add name b0 type bridge && ip tuntap add dev t0 mode tap vnet_hdr && ip link set dev t0 master b0 && echo bridge
bridge fdb replace 02:4c:00:00:00:01 dev t0 master static && bridge link set dev t0 learning off locked on && echo locked
ip link add name v0 type veth peer name v1 && echo veth
tc qdisc add dev t0 root handle 1: tbf rate 1mbit burst 10kb limit 10kb && echo tbf
tc qdisc del dev t0 root
tc qdisc add dev t0 root handle 2: netem delay 1ms && echo netem
echo namespace`;

/** Rights over network devices, in the effective set of capabilities(7). */
const netAdmin = 12n;

/** @throws LodgeError `missing-program` */
export async function lookAtBridges(): Promise<BridgeHost> {
  for (const program of ['ip', 'tc', 'bridge', 'nsenter']) await runProgram([program, '-V']);
  let said = '';
  for (const way of [['--net'], ['--user', '--map-root-user', '--net']]) {
    said = (await runProgram(['unshare', ...way, 'sh', '-c', script])).stdout;
    if (said !== '') break;
  }
  const found = new Set(said.split('\n'));
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return {
    features: new Set(features.filter((feature): feature is Feature => found.has(feature))),
    mayChangeHost: (effective & (1n << netAdmin)) !== 0n,
    bridges: await bridgesHere(),
  };
}

/** Names of the bridges in this process's own namespace. */
async function bridgesHere(): Promise<string[]> {
  const { stdout } = await runProgram(['ip', '-json', 'link', 'show', 'type', 'bridge']);
  const found = JSON.parse(stdout.trim() || '[]') as { ifname?: string }[];
  return found.flatMap(({ ifname }) => (ifname === undefined ? [] : [ifname])).sort();
}
