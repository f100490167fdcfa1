import { describe, expect, test } from 'vitest';
import { withSlurmNetwork } from '../../../src/cluster/engine/slurm-network.ts';
import { outlineCluster, readClusterSpec } from '../../../src/cluster/plan.ts';
import { LodgeError } from '../../../src/errors.ts';
import type { UplinkEnd } from '../../../src/fabric/plan.ts';

function outlined(text: string, allow = ['tcp 192.0.2.1/32:10000', 'tcp 192.0.2.2/32:10000-10100']) {
  const extension = withSlurmNetwork(allow, [10_001, 10_002]);
  const document = extension.document(readClusterSpec(text, 'lab.yaml'));
  const input = { file: '/x/lab.yaml', asGraphs: new Map(), guestsDir: '/run/guests', cwd: '/x', home: '/x' };
  return extension.outline(outlineCluster({ ...input, document }));
}

describe('the network of Slurm', () => {
  test('stands beside what the file says, or the one network of all', () => {
    const names = (text: string) => outlined(text).fabric.networks.map(({ name }) => name);
    expect(names("guests: {'v[1-2]': }")).toEqual(['lan', 'slurm']);
    expect(names("guests: {'v[1-2]': }\nfabric: {wan: {members: [v1, v2]}}")).toEqual(['wan', 'slurm']);
  });

  test('leads the port of each guest to it, and its guests to what is allowed', () => {
    const { fabric, guests } = outlined("guests: {'v[1-2]': }");
    const network = fabric.networks.find(({ name }) => name === 'slurm')!;
    const end = network.ports.map((port) => port.end).find((one): one is UplinkEnd => one.kind === 'uplink')!;
    const faces = guests.map(({ interfaces }) => interfaces.find((one) => one.network === 'slurm')!);
    expect(end.publish).toEqual(
      faces.map(({ address, mac }, i) => ({ port: 10_001 + i, address: address.split('/')[0], mac })),
    );
    for (const { routes } of guests) {
      // Also where another network has the default route.
      for (const destination of ['192.0.2.1/32', '192.0.2.2/32']) {
        expect(routes).toContainEqual({ destination, gateway: end.gateway });
      }
    }
  });

  test('has a name that no other may have', () => {
    const text = 'guests: {v1: }\nfabric:\n  slurm: {members: [v1]}\n';
    expect(() => outlined(text)).toThrow(LodgeError);
    expect(() => outlined(text)).toThrow(/slurm/);
  });
});
