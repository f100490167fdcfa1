/** Guests whose whole state is saved in a file, to go on later: what can be saved, and the plan of one that goes on. Pure. */

import type { Step } from './channel/channel.ts';
import type { GuestPlan, SavedStateFile } from './plan.ts';

/** Why a guest's state cannot be saved; undefined when it can. */
export function savingRefusal(plan: GuestPlan): { what: string; fix: string } | undefined {
  if (plan.driver !== 'qemu') {
    return {
      what: `the state of a guest under ${plan.accelerator} cannot be saved`,
      fix: 'use accelerator kvm or tcg for it',
    };
  }
  if (plan.beside.length > 0) {
    return {
      what: 'it has directories by virtiofs, which keeps a state of its own',
      fix: 'leave out mount-type: directories by 9p are let go of while it is saved',
    };
  }
  if (plan.argv.some((word) => word.startsWith('vfio-pci,'))) {
    return {
      what: 'it has a PCI function of the host, whose state is its own',
      fix: 'leave out pci for what is to be saved',
    };
  }
  // QEMU does not save a guest that uses a directory of the host (virtio-9p), and a root is always in use.
  if (plan.isHostRoot) {
    return {
      what: "its root is the host's, shared over 9p",
      fix: 'boot it from an image of its own, such as debian-hpc',
    };
  }
  return undefined;
}

/** The steps that mount the host's directories in a guest: a state is saved without them. */
export function sharesOf(plan: GuestPlan): Step[] {
  return plan.volumeSetup.filter(([verb]) => verb === 'mount');
}

/** The file of a guest's root, disk or CD, from which it goes on; undefined where it has none. */
export function imageFileOf({ argv, driver }: Pick<GuestPlan, 'argv' | 'driver'>): string | undefined {
  if (driver !== 'qemu') return undefined;
  const [, file] =
    argv.map((word) => /^if=(?:none|ide),(?:.*,)?file=(.*)$/.exec(word)).find((found) => found !== null) ??
    [];
  return file?.replaceAll(',,', ',');
}

export interface RestoredGuest {
  name: string;
  hostname?: string;
  id: string;
  dir: string;
  /** Where the store has its objects now. */
  objectPath: (id: string) => string;
  savedState: SavedStateFile;
}

/** A path to an object of a store, wherever that was, as a word of QEMU's; as the value of an option commas are doubled. */
const objectAsWord = /^\/.*?\/objects\/([0-9a-f]{64})(?=\/)/;
const objectAsValue = /=\/(?:[^,]|,,)*?\/objects\/([0-9a-f]{64})(?=\/)/;

/**
 * What only boots a guest of lodge's own: its kernel, which is in its memory, and the first root, which is gone. Without
 * them, a saved guest needs no initramfs of the lodge that saved it.
 */
const bootOptions = ['-kernel', '-initrd', '-append'];

/** The plan that lets a saved guest go on: the same machine, in another directory, under another name. */
export function restoredPlan(
  saved: GuestPlan,
  { name, id, dir, objectPath, savedState }: RestoredGuest,
): GuestPlan {
  const isBooted = (at: number): boolean => saved.agent && bootOptions.includes(saved.argv[at] ?? '');
  const argv = saved.argv
    .filter((_, at) => !isBooted(at) && !isBooted(at - 1))
    .map((argument) =>
      argument
        .replace(`guest=${saved.name},`, `guest=${name},`)
        .replace(`${saved.dir}/`, () => `${dir}/`)
        .replace(objectAsWord, (_, object: string) => objectPath(object))
        .replace(objectAsValue, (_, object: string) => `=${objectPath(object).replaceAll(',', ',,')}`),
    );
  return {
    ...saved,
    name,
    id,
    dir,
    argv: [...argv.filter((argument) => argument !== '-S'), '-S', '-incoming', 'defer'],
    savedState,
    objects: saved.objects.filter((object) => argv.some((argument) => argument.includes(`/${object}/`))),
  };
}
