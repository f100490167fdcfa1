import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { clusterKeys, planSetUps, setUpSteps } from '../../src/cluster/guest-setup.ts';
import { sshKeyPair } from '../../src/cluster/ssh-key.ts';
import { cluster } from './sample.ts';

const secret = Buffer.alloc(32, 7);

describe('keys of a cluster', () => {
  it('are the same for the same secret and purpose, and others for others', () => {
    const pair = sshKeyPair(secret, 'user', 'lodge-lab');
    expect(sshKeyPair(secret, 'user', 'lodge-lab')).toEqual(pair);
    expect(sshKeyPair(secret, 'host', 'lodge-lab').publicKey).not.toBe(pair.publicKey);
    expect(sshKeyPair(Buffer.alloc(32, 8), 'user', 'lodge-lab').publicKey).not.toBe(pair.publicKey);
  });
  it('have the form of OpenSSH, all lengths of comments padded', () => {
    for (const comment of ['', 'a', 'ab', 'abc', 'lodge-lab', 'x'.repeat(60)]) {
      const { publicKey, privateKey } = sshKeyPair(secret, 'user', comment);
      expect(publicKey).toMatch(/^ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43} /);
      const blob = Buffer.from(privateKey.split('\n').slice(1, -2).join(''), 'base64');
      expect(blob.subarray(0, 15).toString()).toBe('openssh-key-v1\0');
      // After the magic, three fields and the count: the public key and the rest, whose length is a multiple of 8.
      const at = 15 + 8 + 8 + 4 + 4;
      const publicBytes = blob.readUInt32BE(at);
      expect(blob.readUInt32BE(at + 4 + publicBytes) % 8).toBe(0);
      expect(at + 8 + publicBytes + blob.readUInt32BE(at + 4 + publicBytes)).toBe(blob.length);
    }
  });
  it.skipIf(!existsSync('/usr/bin/ssh-keygen'))('are read by OpenSSH itself', () => {
    const dir = mkdtempSync(join(tmpdir(), 'lodge-key-'));
    try {
      const { publicKey, privateKey } = sshKeyPair(secret, 'user', 'lodge-lab');
      const file = join(dir, 'id');
      writeFileSync(file, privateKey, { mode: 0o600 });
      expect(execFileSync('ssh-keygen', ['-y', '-f', file]).toString().trim()).toBe(publicKey);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});

describe('what guests are given', () => {
  const plan = cluster("guests: {'v[1-3]': }\n");
  const keys = clusterKeys('lab', secret);
  const setUps = planSetUps(plan, keys);
  it('changes when the keys do', () => {
    const others = planSetUps(plan, clusterKeys('lab', Buffer.alloc(32, 9)));
    expect(others.get('lab.v1')!.digest).not.toBe(setUps.get('lab.v1')!.digest);
  });
  it('keeps private keys from whom they are not for, and listens on the fabric alone', () => {
    const steps = setUpSteps(plan, plan.guests[1]!, setUps.get('lab.v2')!, keys, true);
    const modes = new Map(
      steps.flatMap(([kind, path = '', mode = '']) => (kind === 'write' ? [[path, mode]] : [])),
    );
    expect(modes.get('/etc/lodge/ssh/id-root')).toBe('600');
    expect(modes.get('/etc/lodge/ssh/host_key')).toBe('600');
    const server = steps.find(([, path]) => path === '/etc/lodge/ssh/sshd_config')![3];
    expect(server).toContain('ListenAddress 10.1.0.2\n');
    expect(server!.match(/ListenAddress/g)).toHaveLength(1);
  });
  it('is the names alone where nothing else can be written', () => {
    const steps = setUpSteps(plan, plan.guests[0]!, setUps.get('lab.v1')!, keys, false);
    expect(steps.map(([kind, path]) => [kind, path])).toEqual([['write', '/etc/hosts']]);
  });
});
