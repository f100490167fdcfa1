import type { DirectionState, LinkState, Matrix } from '../../src/fabric/control.ts';
import { toAll } from '../../src/fabric/control.ts';

export function direction(changes: Partial<DirectionState> = {}): DirectionState {
  return {
    frames: 0,
    bytes: 0,
    deliveredFrames: 0,
    deliveredBytes: 0,
    dropped: {},
    queueBytes: 0,
    heldFrames: 0,
    shape: {},
    isCut: false,
    ...changes,
  };
}

export const links: LinkState[] = [
  {
    name: 'lan/v01',
    network: 'lan',
    port: { isConnected: true, switch: 'lan', macs: ['02:4c:00:00:00:01'] },
    out: direction({
      frames: 12,
      bytes: 1500,
      deliveredFrames: 9,
      deliveredBytes: 1100,
      dropped: { loss: 2, queue: 1 },
      queueBytes: 1_500_000,
      heldFrames: 3,
      shape: {
        bandwidthBitsPerSecond: 1.5e6,
        delayMs: 20,
        jitterMs: 2,
        loss: 0.001,
        reorder: 0.5,
        queueBytes: 64_000,
      },
    }),
    in: direction({ isCut: true }),
    capture: { directory: '/captures', snapLengthBytes: 65_549, files: 1, fileBytes: 2 ** 26 },
  },
  { name: 'lan/s1-s2', network: 'lan', out: direction(), in: direction() },
];

export const matrix: Matrix = {
  timeNs: 12e9,
  sinceNs: 2e9,
  halfLifeMs: 5000,
  endpoints: [
    { network: 'lan', link: 'lan/v01', guest: 'v01' },
    { network: 'lan', link: 'lan/v02', guest: 'v02' },
    { network: 'lan', link: 'lan/trunk-n2', mac: '02:4c:00:00:00:09' },
  ],
  source: Uint32Array.of(0, 1, 2),
  destination: Uint32Array.of(1, toAll, 0),
  frames: Float64Array.of(10, 1, 2 ** 40),
  bytes: Float64Array.of(15_000, 5_000, 80_000),
  bytesPerSecond: Float64Array.of(1000, 0.5, 0),
};
