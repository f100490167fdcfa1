/** What a guest can reach, tried from inside it by its agent, and what that means. */

import { constants } from 'node:os';
import type { Channel } from '../../guest/channel/channel.ts';
import type { IsolationFinding } from './finding.ts';

/** An address to be tried from inside. */
export interface ProbeTarget {
  /** For people: `the host at 192.0.2.7`, `the metadata address`. */
  what: string;
  address: string;
  port: number;
  /** Whether a member of a network of the guest has it: then an answer is right, and shows that the probe works. */
  isMember: boolean;
}

export interface ProbeResult {
  target: ProbeTarget;
  /** errno of the connection; 0 when it was taken. */
  errno: number;
}

/** How long a connection may take that is not to be. */
const connectLimitMs = 700;

/** Where cloud hosts answer with secrets of theirs. */
export const metadataAddress = '169.254.169.254';

/** Tries all targets, one after the other, by TCP, and sends each a datagram with a token in it. */
export async function probeFrom(
  channel: Channel,
  targets: readonly ProbeTarget[],
  token: string,
): Promise<ProbeResult[]> {
  const results: ProbeResult[] = [];
  for (const target of targets) {
    const port = String(target.port);
    await channel.attempt(['datagram', target.address, port, token]);
    const errno = await channel.attempt(['connect', target.address, port, String(connectLimitMs)]);
    results.push({ target, errno });
  }
  return results;
}

const { ECONNREFUSED, ECONNRESET } = constants.errno;

/** A refusal comes from the other side, too: only somebody who was reached can refuse. */
function isAnswer(errno: number): boolean {
  return errno === 0 || errno === ECONNREFUSED || errno === ECONNRESET;
}

export interface ProbedGuest {
  guest: string;
  results: readonly ProbeResult[];
  /** What reached the canary with this guest's token. */
  canary: readonly string[];
  /** Bridges of the host that its networks were asked to join. */
  joined?: readonly string[];
}

export function judgeProbes({ guest, results, canary, joined = [] }: ProbedGuest): IsolationFinding[] {
  const answered = results.filter(({ errno }) => isAnswer(errno));
  const open = answered.filter(({ target }) => !target.isMember && !isOwnLoopback(target.address));
  const members = results.filter(({ target }) => target.isMember);
  const failures: IsolationFinding[] = [
    ...open.map(({ target }) => `reached ${target.what} (${target.address}:${target.port}) from inside`),
    ...canary.map((how) => `reached a socket of the host: ${how}`),
  ].map((found) =>
    joined.length === 0
      ? { verdict: 'fail', subject: guest, found }
      : { verdict: 'note', subject: guest, found: `${found}, by the declared ${joined.join(', ')}` },
  );
  const tried = results.filter(({ target }) => !target.isMember).length;
  const shut: IsolationFinding[] =
    failures.length > 0
      ? failures
      : [
          {
            verdict: 'pass',
            subject: guest,
            found: `reached none of ${tried} addresses beyond its networks`,
          },
        ];
  if (members.length === 0) return shut;
  // A guest that reaches nobody at all proves little.
  const canReach = members.some(({ errno }) => isAnswer(errno));
  return [
    ...shut,
    canReach
      ? { verdict: 'pass', subject: guest, found: `reached ${members[0]!.target.what}, as it should` }
      : {
          verdict: 'note',
          subject: guest,
          found: `did not reach ${members[0]!.target.what}: a cut link, or a guest that drops what it is sent`,
        },
  ];
}

/** In a guest these are the guest's own; that no socket of the host is behind them, the canary tells. */
function isOwnLoopback(address: string): boolean {
  return address.startsWith('127.');
}
