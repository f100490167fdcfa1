/** The event logs of this user's clusters, each open as long as its cluster is there. */

import { type EventLog, openEventLog } from '../cluster/event-log.ts';
import type { ClusterEvent } from '../cluster/events.ts';
import { clusterDir, directoryIdentity } from '../cluster/state.ts';

export class ClusterLogs {
  readonly #logs = new Map<string, { log: EventLog; directory: string }>();

  /** Writes an event to a cluster's log; nothing happens where there is no such cluster. */
  note(name: string, event: Omit<ClusterEvent, 'timeNs'>): void {
    this.of(name)?.write(event);
  }

  of(name: string): EventLog | undefined {
    // A cluster that has just been removed must not have its directory made again; another of its name has another.
    const directory = directoryIdentity(clusterDir(name));
    const known = this.#logs.get(name);
    if (known?.directory === directory) return known?.log;
    this.close(name);
    if (directory === undefined) return undefined;
    try {
      const log = openEventLog(clusterDir(name));
      this.#logs.set(name, { log, directory });
      return log;
    } catch {
      // A full disk, or no descriptor left: the next event tries again. No fabric or guest ends for its log.
      return undefined;
    }
  }

  close(name: string): void {
    this.#logs.get(name)?.log.close();
    this.#logs.delete(name);
  }
}
