import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findPasst, passtArguments } from '../../../src/fabric/uplink/passt.ts';
import { hasProgram } from '../../image/samples.ts';
import { temporaryDirectory } from '../frames.ts';

const root = temporaryDirectory();

it('without passt says what to install', () => {
  expect(() => findPasst('/nonexistent:/proc')).toThrow(
    expect.objectContaining({ code: 'missing-program', fix: 'apt-get install passt' }),
  );
});

it('tells passt of a gateway that is not the address it gives', () => {
  const gatewayOf = (address: string) => {
    const argv = passtArguments(address, '10.1.0.0/16');
    return argv[argv.indexOf('--gateway') + 1];
  };
  expect(gatewayOf('10.1.255.254')).toBe('10.1.0.1');
  expect(gatewayOf('10.1.0.1')).toBe('10.1.0.2');
});

// A network namespace with an address of its own takes root: as a plain user this is skipped, and shown as such.
const canRun = process.getuid!() === 0 && ['passt', 'unshare', 'ip'].every(hasProgram);

describe.skipIf(!canRun)('an uplink', () => {
  it('reaches what is declared, and nothing else', { timeout: 60_000 }, () => {
    const bundle = join(root, 'uplink.mjs');
    const script = new URL('uplink-process.ts', import.meta.url).pathname;
    execFileSync(
      'node_modules/.bin/esbuild',
      [script, '--bundle', '--platform=node', '--format=esm', `--outfile=${bundle}`],
      { stdio: 'ignore' },
    );
    const setUp = [
      'ip link set lo up',
      'ip link add veth0 type veth peer name veth1',
      'ip address add 198.51.100.1/24 dev veth0',
      'ip link set veth0 up',
      'ip link set veth1 up',
      'ip route add default via 198.51.100.254 dev veth0',
      `exec timeout 50 ${process.execPath} ${bundle}`,
    ].join(' && ');
    const output = execFileSync('unshare', ['--net', 'sh', '-c', setUp], { encoding: 'utf8' });
    const found = JSON.parse(output);
    expect(found).toMatchObject({
      reply: 'you said hello',
      source: '198.51.100.1',
      echoed: 'echo ping',
      datagrams: ['ping'],
      connections: { allowed: 1, other: 0, loopback: 0 },
    });
    // The four connections and the datagram that no rule allows.
    expect(found.counts['not-allowed']).toBe(5);
    expect(found.denied).toBe(5);
    expect(found.counts.answer).toBeGreaterThan(0);
    expect(found.interfaces).toContain('veth0');
  });
});
