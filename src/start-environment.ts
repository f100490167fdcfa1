/** The environment in which lodge starts itself. */

/**
 * `env`, with the certificates that Node.js would read at each start under the name by which `scripts/start.cjs` gives
 * them back. As in the launcher: reading them takes half as long as the start itself, and lodge has no use for them.
 */
export function startEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_EXTRA_CA_CERTS: certificates, ...others } = env;
  return certificates === undefined ? others : { ...others, LODGE_NODE_EXTRA_CA_CERTS: certificates };
}
