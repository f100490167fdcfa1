/** Signals that end a piece of work in good order instead of this process at once. */

import type { LodgeError } from '../errors.ts';

export interface Interruptible {
  /** Aborted by the first of the signals. */
  signal: AbortSignal;
  /** Which it was. */
  received: NodeJS.Signals | undefined;
  /** Gives the signals back their own meaning. */
  stop(): void;
}

/** @param errorFor the reason that the work is then ended with */
export function interruptible(errorFor: (name: NodeJS.Signals) => LodgeError): Interruptible {
  const controller = new AbortController();
  const state: Interruptible = { signal: controller.signal, received: undefined, stop: () => {} };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
  const handlers = names.map((name) => {
    const handler = (): void => {
      state.received ??= name;
      controller.abort(errorFor(name));
    };
    process.on(name, handler);
    return [name, handler] as const;
  });
  state.stop = () => {
    for (const [name, handler] of handlers) process.removeListener(name, handler);
  };
  return state;
}
