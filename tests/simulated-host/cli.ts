/** `npm run simulated-host -- [COMMAND…]`: boots a simulated host for one command, or for a shell; see the guide. */

import { parseArgs } from 'node:util';
import { directoryVariable } from './shared.ts';
import { SimulatedHost, startSimulatedHost } from './simulated-host.ts';
import { runShell } from './terminal.ts';

const usage = `usage: npm run simulated-host -- [--iommu] [--pages-1g] [COMMAND [ARGUMENT…]]
Boots a host with two sockets, two NUMA nodes, huge pages and KVM, runs COMMAND in it (one word: a shell line), or a
shell, and ends it. With ${directoryVariable} set, uses the running one that it names.
`;

/** A gigantic page of each node, and what the rest of the host needs. */
const pages1GShape = { memoryPerNodeMiB: 4096, hugePages1G: [1, 1] as const };

async function main(argv: string[]): Promise<number> {
  // Options end where the command begins.
  const first = argv.findIndex((word) => !word.startsWith('-'));
  const flagWords = first < 0 ? argv : argv.slice(0, first);
  const command = first < 0 ? [] : argv.slice(first);
  const { values } = parseArgs({
    args: flagWords,
    options: { iommu: { type: 'boolean' }, 'pages-1g': { type: 'boolean' }, help: { type: 'boolean' } },
  });
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const running = process.env[directoryVariable];
  if (running !== undefined) return use(new SimulatedHost(running), command);
  const host = await startSimulatedHost({
    iommu: values.iommu ?? false,
    ...(values['pages-1g'] ? pages1GShape : {}),
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => void host.stop().then(() => process.exit(1)));
  }
  process.stderr.write(
    `up after ${(host.bootMs / 1000).toFixed(1)} s; for other terminals: ${directoryVariable}=${host.directory}\n`,
  );
  try {
    return await use(host, command);
  } finally {
    await host.stop();
  }
}

async function use(host: SimulatedHost, command: string[]): Promise<number> {
  const cwd = process.cwd();
  if (command.length === 0) return runShell(host, cwd);
  const { code } = await host.run(command.length === 1 ? command[0]! : command, {
    cwd,
    timeoutMs: Number.POSITIVE_INFINITY,
    onStdout: (piece) => process.stdout.write(piece),
    onStderr: (piece) => process.stderr.write(piece),
  });
  return code;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (cause) => {
    process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
    process.exitCode = 125;
  },
);
