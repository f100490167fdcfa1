/** What will be done to run one guest: a plain value that can be printed, stored, sent and tested. */

import { join } from 'node:path';
import type { CommandDefaults, Image } from '../image/image.ts';
import type { Accelerator } from '../machine/accelerators.ts';
import type { Step } from './channel/channel.ts';
import type { ChannelAddress } from './channel/transport.ts';
import type { InterfacePlan } from './interface.ts';
import type { Layout } from './layout.ts';
import type { Volume } from './spec.ts';

export type DriverName = 'qemu' | 'uml' | 'netns';

/** Files in a guest's directory; programs of the guest run with that directory as theirs. */
export const guestFiles = {
  console: 'console.sock',
  channel: 'channel.sock',
  monitor: 'qmp.sock',
  ring: 'ring',
  /** Where the program keeps what only it needs. */
  scratch: 'scratch',
  owner: 'owner.sock',
  consoleLog: 'console.log',
  vmmLog: 'vmm.log',
  plan: 'plan.json',
  state: 'state.json',
  exit: 'exit',
} as const;

/** A program that runs beside the virtual machine's for as long as that does. */
export interface Beside {
  /** Name of a socket in the guest's directory; the program has it, listening, as descriptor 3. */
  socket: string;
  argv: string[];
  /** What it does for the guest, for people: `/home/ada by virtiofs`. */
  what: string;
}

export interface GuestPlan {
  version: 1;
  /** Unique on this host; `CLUSTER.GUEST` for the guests of a cluster. */
  name: string;
  hostname: string;
  /** Unlike any other guest's, also of the same name at another time: 16 hexadecimal digits. */
  id: string;
  driver: DriverName;
  accelerator: Accelerator;
  image: { name: string; kind: Image['kind']; id?: string };
  /** The guest's directory: its sockets, logs and state. */
  dir: string;
  /** The virtual machine's program and arguments, run in `dir`. */
  argv: string[];
  /** Started before it; when one ends, so does the guest. */
  beside: Beside[];
  /** Run in a PID namespace, because the program starts others that would outlive it. */
  contain: boolean;
  /**
   * Where on the host the program may write, besides its scratch directory: none of these is inside another. Absent
   * when nothing keeps it from writing what the user can.
   */
  writable?: string[];
  /** The channel goes through the keeper, because the program cannot listen itself. */
  relay: boolean;
  /** Its sockets are at {@link interfaceSocket} in `dir`; with any, all its processes have no network but these. */
  interfaces: InterfacePlan[];
  /** The frames of interfaces go through the keeper, too: what the program takes them as. */
  wire: 'datagrams' | 'stream';
  /** The guest is namespaces of the host; `layered` when it can write to its root, and that is thrown away. */
  namespaces?: { layered: boolean };
  /** The cluster that it is of. */
  cluster?: { name: string; digest: string };
  /** Ask the kernel for no transparent huge pages, where 4K pages were asked for. */
  disableTransparentHugePages: boolean;
  cpus: number;
  memoryBytes: number;
  layout: Layout;
  /** Whether placement was asked for, so that the guest starts paused, is placed and checked before it runs. */
  verifyPlacement: boolean;
  /** Directories of the host that the guest sees, and where. */
  volumes: Volume[];
  /** Whether the guest's root is the host's own, so that the host's programs and paths are there. */
  isHostRoot: boolean;
  /** How commands run in the image by default. */
  defaults?: CommandDefaults;
  /** Has an agent: commands can be run in it. Others have console, logs and power. */
  agent: boolean;
  /** What the agent does before the guest is ready, in order: first for its root and names, then for the volumes. */
  setup: Step[];
  volumeSetup: Step[];
  bootTimeoutMs: number;
  /** What the guest's state was saved in: it goes on from there instead of booting. */
  savedState?: SavedStateFile;
  /** Ids of store objects in use, so that they are not removed under the guest. */
  objects: string[];
  /** Which ways were taken where there were several, and what they cost. */
  notes: string[];
}

/** A saved state, told from one that has changed on its disk. */
export interface StateSum {
  bytes: number;
  crc32: number;
}

export interface SavedStateFile {
  file: string;
  /** Of what was written. */
  sum?: StateSum;
}

/** Where the agent of a guest is reached. */
export function channelAddress({ dir, driver }: Pick<GuestPlan, 'dir' | 'driver'>): ChannelAddress {
  return {
    socketPath: join(dir, guestFiles.channel),
    ...(driver === 'uml' ? { ringPath: join(dir, guestFiles.ring) } : {}),
  };
}
