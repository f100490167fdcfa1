/**
 * Key pairs for SSH, made from a secret: the same secret and name give the same keys. Pure.
 *
 * Formats: RFC 8709 (ssh-ed25519), RFC 4716, and PROTOCOL.key of OpenSSH (openssh-key-v1, without encryption). The
 * private key is derived by HKDF (RFC 5869) with SHA-256.
 */

import { createPrivateKey, createPublicKey, hkdfSync } from 'node:crypto';

export interface SshKeyPair {
  /** One line, as in authorized_keys: `ssh-ed25519 AAAA… COMMENT`. */
  publicKey: string;
  /** As in a file of OpenSSH, with its newlines. */
  privateKey: string;
}

/** What stands before the 32 bytes of an Ed25519 key in PKCS #8: RFC 8410. */
const pkcs8Head = Buffer.from('302e020100300506032b657004220420', 'hex');

/** @param purpose what tells this pair from others of the same secret */
export function sshKeyPair(secret: Uint8Array, purpose: string, comment: string): SshKeyPair {
  const seed = Buffer.from(hkdfSync('sha256', secret, '', `lodge ssh ${purpose}`, 32));
  const key = createPrivateKey({ key: Buffer.concat([pkcs8Head, seed]), format: 'der', type: 'pkcs8' });
  const { x = '' } = createPublicKey(key).export({ format: 'jwk' });
  const point = Buffer.from(x, 'base64url');
  const publicBlob = Buffer.concat([field('ssh-ed25519'), field(point)]);
  // Twice the same number tells a reader that the key was unlocked; there is no lock here.
  const check = Buffer.from(hkdfSync('sha256', seed, '', 'check', 4));
  const inner = Buffer.concat([
    check,
    check,
    field('ssh-ed25519'),
    field(point),
    field(Buffer.concat([seed, point])),
    field(comment),
  ]);
  const padding = Buffer.from(Array.from({ length: (8 - (inner.length % 8)) % 8 }, (_, i) => i + 1));
  const whole = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    u32(1),
    field(publicBlob),
    field(Buffer.concat([inner, padding])),
  ]);
  const lines = whole.toString('base64').match(/.{1,70}/g)!;
  return {
    publicKey: `ssh-ed25519 ${publicBlob.toString('base64')} ${comment}`,
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`,
  };
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A `string` of SSH: its length before it (RFC 4251). */
function field(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([u32(bytes.length), bytes]);
}
