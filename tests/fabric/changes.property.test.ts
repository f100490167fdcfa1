/**
 * A fabric that is asked for anything at all while frames go through it: what is refused changes nothing, what is not is
 * in force, and no request or frame takes the fabric away.
 */

import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changedFabric } from '../../src/cluster/fabric-change.ts';
import { LodgeError } from '../../src/errors.ts';
import { filterOf, leastFileBytes, openCapture } from '../../src/fabric/capture/capture.ts';
import type { RequestKind } from '../../src/fabric/control.ts';
import type { FabricPlan, NetworkPlan } from '../../src/fabric/plan.ts';
import { changeOf, questionOf } from '../../src/server/requests.ts';
import { temporaryDirectory } from './frames.ts';
import { broadcast, frameOf, linkPlan, macOf, planOf, portPlan, Rig } from './rig.ts';

const directory = temporaryDirectory();
const guests = 3;

/** Three guests on two switches. */
function ring(): NetworkPlan {
  return {
    name: 'lan',
    subnet: '10.1.0.0/16',
    mtuBytes: 1500,
    switches: ['s1', 's2'],
    links: [{ link: linkPlan('lan/s1-s2'), a: 0, b: 1 }],
    ports: Array.from({ length: guests }, (_, i) => portPlan(i + 1, { switch: i % 2, macs: 2 })),
  };
}

const names = [
  'lan/v1',
  'lan/v2',
  'lan/v3',
  'lan/s1-s2',
  'lan',
  '',
  '__proto__',
  '../v1',
  'lan/v1\0',
  '*',
  'é',
];
const link = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...names) }, fc.string());
const number = fc.oneof(
  fc.constantFrom(
    0,
    -0,
    1,
    -1,
    0.5,
    8,
    1e3,
    86_400_000,
    86_400_001,
    1e15,
    1e16,
    1e308,
    5e-324,
    2 ** 53,
    'x',
    null,
  ),
  fc.double(),
);
const shape = fc.oneof(
  fc.record(
    {
      ...{ bandwidthBitsPerSecond: number, delayMs: number, jitterMs: number, queueBytes: number },
      ...{ loss: number, duplicate: number, reorder: number },
    },
    { requiredKeys: [] },
  ),
  fc.record(
    {
      ...{
        bandwidthBitsPerSecond: fc.nat(1e9),
        delayMs: fc.nat(50),
        jitterMs: fc.nat(9),
        queueBytes: fc.nat(1e5),
      },
      ...{ loss: fc.double({ min: 0, max: 1 }), duplicate: fc.double({ min: 0, max: 1 }) },
    },
    { requiredKeys: [] },
  ),
);
const capture = fc.record(
  {
    directory: fc.constantFrom(
      join(directory, 'a'),
      join(directory, 'b'),
      '',
      'here',
      '/dev/null',
      '/proc/x',
    ),
    snapLengthBytes: fc.oneof(fc.constantFrom(14, 60, 1e9), number),
    files: fc.oneof(fc.constantFrom(1, 2, 1000), number),
    fileBytes: fc.oneof(fc.constantFrom(1, leastFileBytes - 1, leastFileBytes), number),
  },
  { requiredKeys: ['directory', 'snapLengthBytes', 'files', 'fileBytes'] },
);
const request = fc.oneof(
  fc.record({
    kind: fc.constantFrom(
      'shape',
      'shape',
      'cut',
      'heal',
      'move',
      'capture-start',
      'capture-stop',
      'apply',
      'load',
    ),
    ask: fc.record(
      {
        link,
        direction: fc.constantFrom('out', 'in', 'up', 7),
        shape,
        switch: fc.oneof(fc.constantFrom('s1', 's2', 's3'), link),
        capture,
      },
      { requiredKeys: ['link'] },
    ),
  }),
  fc.anything(),
);

/** Keys that a request of a kind has: others are refused by its schema alone, and would hide what is behind it. */
const keysOf: Record<string, string[]> = {
  ...{ shape: ['link', 'direction', 'shape'], cut: ['link'], heal: ['link'], move: ['link', 'switch'] },
  ...{ 'capture-start': ['link', 'capture'], 'capture-stop': ['link'] },
};

function fitting(value: unknown): unknown {
  const { kind, ask } = (value ?? {}) as { kind?: string; ask?: Record<string, unknown> };
  const keys = typeof kind === 'string' ? keysOf[kind] : undefined;
  if (keys === undefined || typeof ask !== 'object' || ask === null) return value;
  return { kind, ask: Object.fromEntries(Object.entries(ask).filter(([key]) => keys.includes(key))) };
}

async function stateOf(rig: Rig): Promise<unknown> {
  const states = await rig.service.ask('links', {});
  return states.map(({ name, out, in: inwards }) => [
    name,
    out.shape,
    out.isCut,
    inwards.shape,
    inwards.isCut,
  ]);
}

/** As the host agent does it. @returns the plan after it */
async function change(rig: Rig, plan: FabricPlan, value: unknown): Promise<FabricPlan> {
  const before = await stateOf(rig);
  const captured = [...rig.service.graph.captures.keys()];
  try {
    // Over the socket it is JSON.
    const wanted = changeOf(JSON.parse(JSON.stringify(fitting(value)) ?? 'null'));
    const after = changedFabric(plan, wanted);
    await rig.service.ask(wanted.kind as RequestKind, wanted.ask as never);
    return after;
  } catch (error) {
    if (!(error instanceof LodgeError)) throw error;
    expect(error.code).not.toBe('internal');
    expect(await stateOf(rig)).toEqual(before);
    expect([...rig.service.graph.captures.keys()]).toEqual(captured);
    return plan;
  }
}

describe('changes asked of a fabric', () => {
  it('are in force or refused, whatever is asked', async () => {
    const frame = fc.record({
      from: fc.integer({ min: 1, max: guests }),
      bytes: fc.integer({ min: 0, max: 1600 }),
    });
    const step = fc.oneof(request, frame);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const rig = new Rig({ openCapture, filterOf });
        let plan = planOf(ring());
        await rig.apply(plan);
        for (const one of steps) {
          const { from, bytes } = (one ?? {}) as { from?: number; bytes?: number };
          if (typeof from === 'number' && typeof bytes === 'number') {
            const whole = frameOf(from === 1 ? broadcast : macOf(1), macOf(from), '', 0x88b5, 1600);
            rig.end(from).emit(whole.subarray(0, bytes));
          } else plan = await change(rig, plan, one);
          rig.run(1);
        }
        // Nothing is to be done to make it what the plan on disk says.
        const fresh = new Rig({ openCapture, filterOf });
        await fresh.apply({ ...plan, networks: plan.networks.map(withoutCaptures) });
        expect(await stateOf(rig)).toEqual(await stateOf(fresh));
        await rig.apply(planOf(ring()));
        rig.run(86_400_000 * 3);
        expect(rig.service.fabric.pool.usedBytes).toBe(0);
        await rig.service.ask('stop', {});
      }),
      { numRuns: 25 },
    );
  });

  it('that only ask are answered or refused', async () => {
    const rig = new Rig();
    await rig.apply(planOf(ring()));
    const question = fc.oneof(
      fc.record({
        kind: fc.constantFrom('links', 'matrix', 'status'),
        ask: fc.record(
          { links: fc.array(link), window: fc.string(), reset: fc.boolean() },
          { requiredKeys: [] },
        ),
      }),
      fc.anything(),
    );
    await fc.assert(
      fc.asyncProperty(question, async (value) => {
        try {
          const { kind, ask } = questionOf(JSON.parse(JSON.stringify(value) ?? 'null'));
          await rig.service.ask(kind, ask as never);
        } catch (error) {
          expect(error).toBeInstanceOf(LodgeError);
          expect((error as LodgeError).code).not.toBe('internal');
        }
      }),
    );
  });
});

describe('a capture that cannot be begun', () => {
  it('leaves the one that runs as it is', async () => {
    const rig = new Rig({ openCapture, filterOf });
    const plan = planOf(ring());
    await rig.apply(plan);
    const capture = {
      directory: join(directory, 'kept'),
      snapLengthBytes: 60,
      files: 1,
      fileBytes: leastFileBytes,
    };
    const ask = { link: 'lan/v1', capture };
    await rig.service.ask('capture-start', ask);
    await expect(
      rig.service.ask('capture-start', { ...ask, capture: { ...capture, fileBytes: 1 } }),
    ).rejects.toMatchObject({ code: 'spec-value' });
    await expect(
      rig.service.ask('capture-start', { ...ask, capture: { ...capture, directory: '/dev/null' } }),
    ).rejects.toMatchObject({ code: 'host-io' });
    expect([...rig.service.graph.captures.keys()]).toEqual(['lan/v1']);
    expect(rig.events.filter(({ kind }) => kind === 'capture-failed')).toEqual([]);
    await rig.service.ask('stop', {});
  });
});

function withoutCaptures(network: NetworkPlan): NetworkPlan {
  const bare = <T extends { link: { capture?: unknown } }>(one: T): T => {
    const { capture: _, ...link } = one.link;
    return { ...one, link };
  };
  return { ...network, ports: network.ports.map(bare), links: network.links.map(bare) };
}
