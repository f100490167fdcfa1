/** What the planner needs from a driver: whether it can give what is asked, and how. Drivers plan here and act elsewhere. */

import type { Fix } from '../../fix.ts';
import type { Image, Kernel } from '../../image/image.ts';
import type { Accelerator } from '../../machine/accelerators.ts';
import type { Virtiofsd } from '../../machine/virtiofsd.ts';
import type { InterfacePlan } from '../interface.ts';
import type { Layout } from '../layout.ts';
import type { Beside } from '../plan.ts';
import type { MountSource, RootSource } from '../setup.ts';
import type { GuestSpec, Volume } from '../spec.ts';

/** Why a driver cannot give a guest. */
export interface Refusal {
  /** What it cannot give. */
  what: string;
  fix: Fix;
  /** The key of the spec that asks for it. */
  key: keyof GuestSpec;
}

export interface DriverInput {
  name: string;
  id: string;
  dir: string;
  spec: GuestSpec;
  image: Image;
  accelerator: Accelerator;
  layout: Layout;
  /** For `linux` images: the kernel and the initramfs with lodge's init. */
  boot?: { kernel: Kernel; initramfsPath: string };
  volumes: readonly Volume[];
  interfaces: readonly InterfacePlan[];
  /** Whether the kernel can move frames of TAP devices itself: /dev/vhost-net opens. */
  vhostNet?: boolean;
  /** For namespaces of the host: what they start with. */
  namespaces?: NamespaceInput;
  user: { uid: number; gid: number };
  /** Where `virtiofs` is asked for: the program that serves directories, and what starts it. */
  virtiofs?: { daemon: Virtiofsd; confinePath: string };
  /** Starts paused, to be placed and checked before it runs. */
  startPaused: boolean;
  /** UEFI firmware of this host, where it is installed. */
  uefi?: { codePath: string; variablesPath: string };
}

/** What the driver for namespaces needs to know of the host. */
export interface NamespaceInput {
  /** The agent: a static binary. */
  agentPath: string;
  /** The user may do what it takes to put a layer over the host's root. */
  layered: boolean;
  /** Where file systems are mounted on the host that the guest is to see, parents first; for a layered root. */
  hostMounts: readonly string[];
  /** Which of the files that a guest has of its own the host has too; for a root that is not layered. */
  ownFiles: readonly string[];
}

export interface DriverPlan {
  argv: string[];
  contain: boolean;
  /** As in the plan; for drivers under which a guest's root could write anywhere. */
  writable?: string[];
  relay: boolean;
  /** What the program takes its frames as. */
  wire: 'datagrams' | 'stream';
  disableTransparentHugePages: boolean;
  /** How a `linux` image's root, volumes (in the input's order) and modules reach the guest. */
  mounts?: { root: RootSource; volumes: MountSource[]; modules?: MountSource };
  /** What must run beside the guest's process. */
  beside: Beside[];
  notes: string[];
}

/** Where a `linux` guest finds the host's root before its own root is made; see setup.ts. */
export const lowerRoot = '/lodge/lower';
