/**
 * A cluster as a plan: its guests with all that is needed to start them, and its fabric. A plain value, made in two
 * steps that are both pure: the outline says who is there and how they are joined; what was found on the host (which
 * accelerator and image each guest gets) completes it.
 */

import { basename, resolve } from 'node:path';
import { type LocatedDocument, parseLocatedYaml } from '../document.ts';
import { LodgeError } from '../errors.ts';
import { onlyBridges } from '../fabric/bridge/devices.ts';
import type { FabricPlan } from '../fabric/plan.ts';
import { type InterfacePlan, maxInterfaces, type RoutePlan } from '../guest/interface.ts';
import { bridgeRefusal } from '../guest/planner.ts';
import type { GuestSpec } from '../guest/spec.ts';
import { expandHome } from '../guest/volumes.ts';
import type { Accelerator } from '../machine/accelerators.ts';
import type { Locate } from '../value-faults.ts';
import type { AsGraph } from './as-graph.ts';
import { digestOf } from './canonical.ts';
import { type SpecifiedGuest, specifyGuests } from './guest-specs.ts';
import { fullNameOf, planNetworks } from './networks.ts';
import { neededBytes } from './resources.ts';
import { planRoutes, uplinkGateways } from './routes.ts';
import { type ClusterSpec, clusterNamePattern, clusterSpecSchema } from './spec.ts';

export interface OutlinedGuest {
  /** Its host name, `v01`. */
  name: string;
  /** Its name among all guests of this user on this host, `lab.v01`. */
  fullName: string;
  spec: GuestSpec;
  interfaces: InterfacePlan[];
  routes: RoutePlan[];
  /** Whether it passes packets on between its networks. */
  forward: boolean;
  /** `file:line:column` of what names it. */
  where: string;
  /** Locates a path within its keys, wherever it has them from. */
  locate: Locate;
}

export interface ClusterOutline {
  name: string;
  /** Absolute path of the spec. */
  file: string;
  /** Directory that the guests share as their working directory, and that captures are put in. */
  cwd: string;
  guests: OutlinedGuest[];
  fabric: FabricPlan;
  /** False where guests are given no keys and no SSH server. */
  ssh?: false;
  onEnd?: OnEnd;
  /** Places in the spec of the networks that are bridges of the kernel, by their names. */
  bridges: ReadonlyMap<string, string>;
}

/** What was found for a guest's spec on this host. */
export interface FoundForGuest {
  accelerator: Accelerator;
  /** Other content is another image: the guest is then replaced. */
  imageId: string;
  /** Has an agent: commands can be run in it, and files written. */
  hasAgent: boolean;
}

export interface PlannedGuest {
  name: string;
  fullName: string;
  spec: GuestSpec;
  interfaces: InterfacePlan[];
  routes: RoutePlan[];
  forward: boolean;
  accelerator: Accelerator;
  imageId: string;
  hasAgent: boolean;
  /** False where it is given no keys and no SSH server, as the cluster says. */
  ssh?: false;
  /** Memory of the host that it takes at most. */
  neededBytes: number;
  /** Of all that a guest must be started again for when it changes. */
  digest: string;
}

/** What is done when Slurm ends the job of a cluster. */
export interface OnEnd {
  /** Absolute path of the checkpoint. */
  checkpoint: string;
  /** How long it may take; what Slurm gives when it is not said. */
  withinMs?: number;
}

export interface ClusterPlan {
  version: 1;
  name: string;
  /** Absolute path of the spec. */
  file: string;
  /** Directory that the guests share as their working directory, and that captures are put in. */
  cwd: string;
  guests: PlannedGuest[];
  fabric: FabricPlan;
  /** False where guests are given no keys and no SSH server. */
  ssh?: false;
  onEnd?: OnEnd;
}

/** The spec in YAML, checked. @throws LodgeError `spec-syntax`, `spec-unknown-key`, `spec-value` */
export function readClusterSpec(text: string, file: string): LocatedDocument<ClusterSpec> {
  return parseLocatedYaml(text, clusterSpecSchema, file);
}

/** The name of a cluster: what its spec says, else its file's without the ending. @throws LodgeError `spec-value` */
export function clusterNameOf(spec: ClusterSpec, file: string): string {
  if (spec.name !== undefined) return spec.name;
  const name = basename(file).replace(/\.ya?ml$/, '');
  if (clusterNamePattern.test(name)) return name;
  throw new LodgeError('spec-value', `'${name}' cannot be the name of a cluster`, {
    where: file,
    fix: 'add one to the file: name: lab',
  });
}

export interface OutlineInput {
  document: LocatedDocument<ClusterSpec>;
  /** Absolute path of the spec. */
  file: string;
  asGraphs: ReadonlyMap<string, AsGraph>;
  guestsDir: string;
  cwd: string;
  /** The job of Slurm that it is in. */
  job?: string;
  /** What `~` stands for in the spec, but in what guests do with it themselves. */
  home: string;
}

/** @throws LodgeError `spec-value` with file, line and column */
export function outlineCluster(input: OutlineInput): ClusterOutline {
  const { document, file } = input;
  const name = clusterNameOf(document.value, file);
  const guests = specifyGuests(document);
  const { fabric, interfaces } = planNetworks({ ...input, name, guests });
  for (const guest of guests) checkKind(guest, interfaces.get(guest.name)!);
  const gateways = uplinkGateways(fabric);
  return {
    name,
    file,
    cwd: input.cwd,
    guests: guests.map((guest) => ({
      name: guest.name,
      fullName: fullNameOf(name, guest.name),
      spec: guest.spec,
      interfaces: interfaces.get(guest.name)!,
      routes: planRoutes(guest, interfaces, gateways),
      forward: guest.forward,
      where: guest.where,
      locate: guest.locate,
    })),
    fabric,
    ...(document.value.ssh ? {} : { ssh: false }),
    ...onEndOf(document.value, input),
    bridges: new Map(
      onlyBridges(fabric).networks.map(({ name: network }) => [
        network,
        document.locate(['fabric', network, 'bridge']),
      ]),
    ),
  };
}

function onEndOf(
  { 'on-end': onEnd }: ClusterSpec,
  { cwd, home }: Pick<OutlineInput, 'cwd' | 'home'>,
): { onEnd?: OnEnd } {
  if (onEnd === undefined) return {};
  const { checkpoint, within } = onEnd;
  return {
    onEnd: {
      checkpoint: resolve(cwd, expandHome(checkpoint, home)),
      ...(within === undefined ? {} : { withinMs: within }),
    },
  };
}

/** @throws LodgeError `driver-cannot` for a guest of a kind that can be on no bridge, or with too many interfaces */
function checkKind(
  { name, spec, where, locate }: SpecifiedGuest,
  interfaces: readonly InterfacePlan[],
): void {
  if (interfaces.length > maxInterfaces) {
    throw new LodgeError('driver-cannot', `'${name}' is in ${interfaces.length} networks`, {
      where,
      fix: `put it in at most ${maxInterfaces}`,
    });
  }
  const cannot = bridgeRefusal(spec.accelerator);
  const bridged = interfaces.find(({ bridge }) => bridge !== undefined);
  if (cannot === undefined || bridged === undefined) return;
  throw new LodgeError(
    'driver-cannot',
    `'${name}' is in network '${bridged.network}', and ${spec.accelerator} cannot give ${cannot.what}`,
    { where: locate(['accelerator']), fix: cannot.fix },
  );
}

/** @param found what was found for a spec; called once for each guest */
export function completeCluster(
  { name, file, cwd, guests, fabric, ssh, onEnd }: ClusterOutline,
  found: (guest: OutlinedGuest) => FoundForGuest,
): ClusterPlan {
  return {
    version: 1,
    name,
    file,
    cwd,
    guests: guests.map((guest): PlannedGuest => {
      const { spec, interfaces, routes, forward } = guest;
      const { accelerator, imageId, hasAgent } = found(guest);
      // Keys cannot be taken back from a guest that had them.
      const without = ssh === undefined || !hasAgent ? {} : { ssh };
      return {
        name: guest.name,
        fullName: guest.fullName,
        spec,
        interfaces,
        routes,
        forward,
        accelerator,
        imageId,
        hasAgent,
        neededBytes: neededBytes(spec, accelerator),
        ...without,
        digest: digestOf({ spec, interfaces, routes, forward, imageId, ...without }),
      };
    }),
    fabric,
    ...(ssh === undefined ? {} : { ssh }),
    ...(onEnd === undefined ? {} : { onEnd }),
  };
}
