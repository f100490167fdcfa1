import { describe, expect, it } from 'vitest';
import { diffFabric } from '../../src/cluster/diff.ts';
import { changedFabric, requireLink } from '../../src/cluster/fabric-change.ts';
import { faultOf, outline } from './sample.ts';

const { fabric } = outline(`
guests: {'v[1-3]': }
fabric: {net: {members: ['v[1-3]'], topology: ring, delay: 1ms}}
`);

describe('a change of a fabric that runs', () => {
  it('shapes both directions, or one', () => {
    const both = changedFabric(fabric, { kind: 'shape', ask: { link: 'net/v1', shape: { loss: 0.5 } } });
    expect(requireLink(both, 'net/v1')).toMatchObject({ out: { loss: 0.5 }, in: { loss: 0.5 } });
    const one = changedFabric(fabric, {
      kind: 'shape',
      ask: { link: 'net/s1-s2', direction: 'in', shape: {} },
    });
    expect(requireLink(one, 'net/s1-s2')).toMatchObject({ out: { delayMs: 1 }, in: {} });
  });
  it('cuts and heals, and is then as it was', () => {
    const cut = changedFabric(fabric, { kind: 'cut', ask: { link: 'net/v2' } });
    expect(diffFabric(fabric, cut)?.changed).toEqual(['net/v2']);
    expect(diffFabric(fabric, changedFabric(cut, { kind: 'heal', ask: { link: 'net/v2' } }))).toBeUndefined();
  });
  it('moves a guest to another switch', () => {
    const moved = changedFabric(fabric, { kind: 'move', ask: { link: 'net/v1', switch: 's3' } });
    expect(moved.networks[0]!.ports[0]!.switch).toBe(2);
  });
  it('starts and stops captures', () => {
    const capture = { directory: '/tmp', snapLengthBytes: 100, files: 1, fileBytes: 1000 };
    const on = changedFabric(fabric, { kind: 'capture-start', ask: { link: 'net/v1', capture } });
    expect(requireLink(on, 'net/v1').capture).toEqual(capture);
    expect(
      diffFabric(fabric, changedFabric(on, { kind: 'capture-stop', ask: { link: 'net/v1' } })),
    ).toBeUndefined();
  });
  it.each([
    [{ kind: 'cut', ask: { link: 'net/v4' } }, 'no-such-link', "did you mean 'net/v1'?"],
    [
      { kind: 'cut', ask: { link: 'elsewhere' } },
      'no-such-link',
      'lodge fabric links --cluster lab shows all 6',
    ],
    [{ kind: 'move', ask: { link: 'net/v1', switch: 's4' } }, 'usage', "did you mean 's1'?"],
    [
      { kind: 'move', ask: { link: 'net/s1-s2', switch: 's3' } },
      'usage',
      'cut it, or name the link of a guest',
    ],
  ] as const)('is refused: %j', (change, code, fix) => {
    const fault = faultOf(() => changedFabric(fabric, change));
    expect([fault.code, fault.fix]).toEqual([code, fix]);
  });
});
