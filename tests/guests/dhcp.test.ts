/** Guests that configure themselves: they ask by DHCP, and are told what was planned for them. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Runtime } from './lodge.ts';

describe('a guest that asks by DHCP', () => {
  let here: Runtime;

  beforeAll(async () => {
    here = new Runtime();
    writeFileSync(
      join(here.work, 'asks.yaml'),
      `defaults: {accelerator: netns}
guests: {'n[1-2]': }
fabric:
  lan: {members: ['n[1-2]'], mtu: 1400}
  quiet: {members: ['n[1-2]'], dhcp: false}\n`,
    );
    writeFileSync(join(here.work, 'told'), '#!/bin/sh\necho "$1 $interface $ip/$mask $mtu $hostname"\n', {
      mode: 0o755,
    });
    const { code, stderr } = await here.lodge(['-q', 'up', 'asks.yaml']);
    expect([code, stderr]).toEqual([0, '']);
  });

  afterAll(async () => {
    await here.lodge(['down']);
    expect(await here.close()).toEqual([]);
  });

  const ask = (guest: string, name: string) =>
    here.lodge([
      'exec',
      guest,
      '--',
      'busybox',
      'udhcpc',
      '-i',
      name,
      '-f',
      '-n',
      '-q',
      '-t',
      '5',
      '-T',
      '2',
      '-s',
      './told',
    ]);

  it.each([
    ['n1', '10.1.0.1'],
    ['n2', '10.1.0.2'],
  ])('is told what it has by the plan: %s', async (guest, address) => {
    const { code, stdout, stderr } = await ask(guest, 'eth0');
    expect(code, stderr).toBe(0);
    expect(stdout.toString().trim().split('\n').at(-1)).toBe(`bound eth0 ${address}/16 1400 ${guest}`);
  });

  it('is told nothing in a network without', async () => {
    const { code, stdout } = await ask('n1', 'eth1');
    expect(code).not.toBe(0);
    expect(stdout.toString()).not.toContain('bound');
  });
});
