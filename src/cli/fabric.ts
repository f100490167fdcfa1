/** `lodge fabric`: looks at the network between the guests of a cluster, and changes it while it runs. */

import { type Command, Option } from 'commander';
import type { GlobalOptions } from './program.ts';

/** The cluster that a link or question is of. */
export interface ClusterFlag {
  cluster?: string;
}

export interface ShapeFlags extends ClusterFlag {
  bandwidth?: string;
  queue?: string;
  delay?: string;
  jitter?: string;
  loss?: string;
  duplicate?: string;
  reorder?: string;
  out?: boolean;
  in?: boolean;
  clear?: boolean;
}

export interface EventFlags extends ClusterFlag {
  follow?: boolean;
  subject?: string;
  kind?: string;
  since?: string;
}

export interface CaptureFlags extends ClusterFlag {
  directory?: string;
  snapLength?: string;
  files?: string;
  fileSize?: string;
  filter?: string;
}

const clusterFlag = (): Option => new Option('--cluster <name>', 'The cluster; the only one by default.');

export function defineFabric(program: Command): void {
  const json = (): boolean => program.opts<GlobalOptions>().json;
  const fabric = program.command('fabric').description('The network between the guests of a cluster.');
  fabric
    .command('links')
    .description('All links, and what went over them.')
    .argument('[links...]', "Only these: 'lan/v01', or '*' for any part of a name.")
    .addOption(clusterFlag())
    .option('--prometheus', 'In the text format of Prometheus.')
    .action(async (links: string[], flags: ClusterFlag & { prometheus?: boolean }) => {
      const { showLinks } = await import('./fabric-show.ts');
      await showLinks(links, { ...flags, json: json() });
    });
  fabric
    .command('matrix')
    .description('Who sent how much to whom.')
    .addOption(clusterFlag())
    .option('--window <name>', 'Count since this window was last begun, not since the fabric was.')
    .option('--reset', 'Begin the window again, after it was shown.')
    .option('--prometheus', 'In the text format of Prometheus.')
    .action(async (flags: ClusterFlag & { window?: string; reset?: boolean; prometheus?: boolean }) => {
      const { showMatrix } = await import('./fabric-show.ts');
      await showMatrix({ ...flags, json: json() });
    });
  fabric
    .command('shape')
    .description('Replace what a link does to frames, until the next apply.')
    .argument('<link>', 'NETWORK/GUEST, or NETWORK/SWITCH-SWITCH.')
    .addOption(clusterFlag())
    .option('--bandwidth <rate>', '100Mbit, 10Gbit.')
    .option('--queue <size>', 'Bytes that may wait for the bandwidth: 64K, 1M.')
    .option('--delay <time>', '50us, 10ms.')
    .option('--jitter <time>', 'Earlier or later than the delay by up to this.')
    .option('--loss <share>', '0.1%.')
    .option('--duplicate <share>', '0.1%.')
    .option('--reorder <share>', '1%.')
    .option('--clear', 'Nothing at all: frames pass as they come.')
    .option('--out', 'Only frames from the guest, or from the first switch to the second.')
    .option('--in', 'Only frames the other way.')
    .action(async (link: string, flags: ShapeFlags) => {
      const { shapeVerb } = await import('./fabric-change.ts');
      await shapeVerb(link, { ...flags, json: json() });
    });
  for (const [verb, description] of [
    ['cut', 'Cut links: what is sent is dropped, until they are healed.'],
    ['heal', 'Heal links that were cut.'],
  ] as const) {
    fabric
      .command(verb)
      .description(description)
      .argument('<links...>', "NETWORK/GUEST, NETWORK/SWITCH-SWITCH; ranges as in 'lan/v[01-04]'.")
      .addOption(clusterFlag())
      .action(async (links: string[], flags: ClusterFlag) => {
        const { cutVerb } = await import('./fabric-change.ts');
        await cutVerb(verb, links, { ...flags, json: json() });
      });
  }
  fabric
    .command('move')
    .description('Join a guest to another switch of its network.')
    .argument('<link>', 'NETWORK/GUEST.')
    .argument('<switch>', 'The switch.')
    .addOption(clusterFlag())
    .action(async (link: string, target: string, flags: ClusterFlag) => {
      const { moveVerb } = await import('./fabric-change.ts');
      await moveVerb(link, target, { ...flags, json: json() });
    });
  fabric
    .command('capture')
    .description('Capture links as pcapng: start, stop, ls.')
    .argument('<what>', 'start, stop or ls.')
    .argument('[links...]', "NETWORK/GUEST, NETWORK/SWITCH-SWITCH; ranges as in 'lan/v[01-04]'.")
    .addOption(clusterFlag())
    .option('--directory <dir>', "Where the cluster's own directory of captures is made (default: here).")
    .option('--snap-length <bytes>', 'Bytes kept of each frame (default: all).')
    .option('--files <n>', 'More than one makes a ring: the oldest is replaced.')
    .option('--file-size <size>', 'Size of one file (default: 64M).')
    .option('--filter <expression>', 'As in pcap-filter(7): only these frames.')
    .action(async (what: string, links: string[], flags: CaptureFlags) => {
      const { captureVerb } = await import('./fabric-change.ts');
      await captureVerb(what, links, { ...flags, json: json() });
    });
  fabric
    .command('prove')
    .description('Show that guests reach each other and what was declared, and nothing else.')
    .addOption(clusterFlag())
    .action(async (flags: ClusterFlag) => {
      const { proveVerb } = await import('./fabric-prove.ts');
      process.exitCode = await proveVerb({ ...flags, json: json() });
    });
  fabric
    .command('events')
    .description('What happened: links, guests, the fabric itself, in order of time.')
    .addOption(clusterFlag())
    .option('-f, --follow', 'Go on with what happens from now on.')
    .option('--subject <name>', "Only about this link or guest: 'lan/v01', 'v01'.")
    .option('--kind <kinds>', 'Only these kinds: link-cut,guest-exited.')
    .option(
      '--since <time>',
      "Only from then on: '10m' (ago), a time as shown, or nanoseconds as with --json.",
    )
    .action(async (flags: EventFlags) => {
      const { showEvents } = await import('./fabric-show.ts');
      await showEvents({ ...flags, json: json() });
    });
}
