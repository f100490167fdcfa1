/**
 * How trunks are kept from others: TLS 1.3 with the job's key.
 *
 * The key is 32 random bytes in a file that only the job's user can read, made once for a job and given to its hosts by
 * the engine. Both sides prove that they have it by TLS's own pre-shared keys (RFC 8446, 2.2), so no certificates are
 * made, and there are no names to get wrong. Node.js speaks this for TLS 1.3: tried with its OpenSSL 3.0.
 *
 * - *Forward secrecy*: OpenSSL takes a pre-shared key only together with a fresh Diffie-Hellman exchange (`psk_dhe_ke`),
 *   here on X25519. Who gets the key later cannot read what was recorded before. The side that connects checks that the
 *   exchange took place.
 * - *Cipher*: ChaCha20-Poly1305. AES-GCM is quicker but may be used for some 400 GB only under one key (RFC 8446,
 *   5.5), and Node.js gives no way to change keys on a connection; a trunk can carry that in minutes.
 * - *No certificate is ever accepted*: the side that listens has none, and the side that connects refuses a peer that
 *   shows one, whoever signed it.
 * - *Reflection*: all hosts have the same key, so one that connected could be led back to itself, or to another than it
 *   meant (RFC 9257, 4.1). So the first message inside names the cluster and the host, and both are checked.
 * - Whoever has the key is trusted as a host of this job: it can put any frame into the networks of the cluster.
 */

import { randomBytes } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import type { ConnectionOptions, TLSSocket, TlsOptions } from 'node:tls';
import { hostIoError, LodgeError } from '../../errors.ts';

export const trunkKeyBytes = 32;
const identity = 'lodge-trunk';

const common = {
  minVersion: 'TLSv1.3',
  maxVersion: 'TLSv1.3',
  ciphers: 'TLS_CHACHA20_POLY1305_SHA256',
  ecdhCurve: 'X25519',
} as const;

export function serverSecurity(key: Buffer): TlsOptions {
  return { ...common, pskCallback: (_, name) => (name === identity ? key : null) };
}

export function clientSecurity(key: Buffer): ConnectionOptions {
  return {
    ...common,
    pskCallback: () => ({ psk: key, identity }),
    // There is no certificate to check; `connectionFault` refuses one that shows up.
    checkServerIdentity: () => undefined,
  };
}

/** Why a connection that stands is not as safe as it must be; undefined when it is. For the side that connected. */
export function connectionFault(socket: TLSSocket): string | undefined {
  if (socket.getProtocol() !== 'TLSv1.3') return 'it does not speak TLS 1.3';
  if (Object.keys(socket.getPeerCertificate()).length > 0) return 'it shows a certificate instead of the key';
  const exchange = socket.getEphemeralKeyInfo();
  if (exchange === null || !('type' in exchange) || exchange.type !== 'ECDH') return 'it makes no fresh keys';
  return undefined;
}

/**
 * Makes the key of a job. A file that is there already is left alone.
 * @throws LodgeError `host-io` or `disk-full`
 */
export function makeTrunkKey(path: string): void {
  try {
    writeFileSync(path, randomBytes(trunkKeyBytes), { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw hostIoError('making the key for trunks', path, cause);
  }
}

/**
 * Reads the key of a job.
 * @throws LodgeError `host-io` when it is not there, not whole, or not ours alone
 */
export function readTrunkKey(path: string): Buffer {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw hostIoError('reading the key for trunks', path, cause);
  }
  try {
    const { mode, uid } = fstatSync(fd);
    if (uid !== process.getuid!() || (mode & 0o077) !== 0) {
      throw new LodgeError('host-io', 'the key for trunks can be read by others, so it is none', {
        where: path,
        fix: `remove it, so that a new one is made, or chmod 600 ${path} if nobody has read it`,
      });
    }
    const key = readFileSync(fd);
    if (key.length === trunkKeyBytes) return key;
    throw new LodgeError('host-io', `the key for trunks has ${key.length} bytes, not ${trunkKeyBytes}`, {
      where: path,
      fix: 'remove it, so that a new one is made',
    });
  } finally {
    closeSync(fd);
  }
}
