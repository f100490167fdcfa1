/** What happens in a cluster over the hosts of a job, as it happens: the events that each of them tells. */

import { LodgeError } from '../errors.ts';
import { type JobHost, startVerb } from '../server/job.ts';
import { interruptible } from './interruptible.ts';

/**
 * Follows the events of several hosts until this command is ended, or no host tells any more.
 * @param words of the verb that follows them on one host
 * @param show is given each event, a line of JSON, as it comes: between hosts the order is that of coming
 * @throws LodgeError that of a host on which it cannot be done
 */
export async function followOn(
  hosts: readonly JobHost[],
  words: readonly string[],
  show: (line: string, host: string) => void,
): Promise<void> {
  const interrupt = interruptible((name) => new LodgeError('usage', `ended by ${name}`));
  const followers = hosts.map((host) => {
    const session = startVerb(host, ['--json', ...words], '/');
    const decoder = new TextDecoder();
    let unread = '';
    let complaint = '';
    session.output('stdout', (bytes) => {
      const lines = (unread + decoder.decode(bytes, { stream: true })).split('\n');
      unread = lines.pop()!;
      for (const line of lines) show(line, host.name);
    });
    session.output('stderr', (bytes) => {
      complaint = (complaint + bytes.toString()).slice(-4000);
    });
    const end = session.end.then(({ code }) => {
      if (code === 0 || interrupt.signal.aborted) return;
      throw new LodgeError('host-agent', `the events of ${host.name} cannot be followed`, {
        ...(complaint === '' ? {} : { detail: complaint.trim() }),
      });
    });
    return { session, end };
  });
  const closeAll = (): void => {
    for (const { session } of followers) session.close();
  };
  interrupt.signal.addEventListener('abort', closeAll);
  try {
    await Promise.all(followers.map(({ end }) => end));
  } catch (error) {
    closeAll();
    if (!interrupt.signal.aborted) throw error;
  } finally {
    interrupt.stop();
  }
}
