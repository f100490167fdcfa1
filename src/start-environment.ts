/** The environment in which lodge runs, and that in which it starts itself. */

/** Where programs are looked for when nothing says where: as Debian's shells do, with what root alone has besides. */
export const standardPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Sets PATH where it is not set at all, as under `env -i` and in what daemons start. The system would look in its own
 * default places then; so that all who look for programs, and all that are started, look in the same ones.
 */
export function completePath(env: NodeJS.ProcessEnv): void {
  env.PATH ??= standardPath;
}

/**
 * `env`, with the certificates that Node.js would read at each start under the name by which `scripts/start.cjs` gives
 * them back. As in the launcher: reading them takes half as long as the start itself, and lodge has no use for them.
 */
export function startEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: certificates, ...others } = env;
  return certificates === undefined ? others : { ...others, LODGE_NODE_EXTRA_CA_CERTS: certificates };
}
