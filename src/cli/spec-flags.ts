/**
 * Flags that make a guest spec; `--spec FILE` gives the same keys as YAML, and flags win over it. What cannot be had is
 * told at the flag, or the line of the file, that asked for it.
 */

import { type Command, InvalidArgumentError, Option } from 'commander';
import { LodgeError, retold } from '../errors.ts';
import { type KeyWords, type SpecPath, spellFix } from '../fix.ts';
import type { GuestSpec } from '../guest/spec.ts';
import { shellWord } from '../shell-words.ts';
import type { Locate } from '../value-faults.ts';

export interface SpecFlags {
  spec?: string;
  name?: string;
  image?: string;
  kernel?: string;
  initrd?: string;
  accelerator?: string;
  cpus?: number;
  memory?: string;
  pages?: string;
  pin?: string | boolean;
  numa?: string;
  prefer?: boolean;
  volume?: string[];
  share: boolean;
  mountType?: string;
  pci?: string[];
  append?: string;
  firmware?: string;
  bootTimeout?: string;
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError(`'${text}' is not a whole number.`);
  return Number(text);
}

export function collect(value: string, all: string[] = []): string[] {
  return [...all, value];
}

/** Adds the flags of a guest spec to a verb. */
export function addSpecFlags(command: Command): Command {
  return command
    .option('--spec <file>', 'Read the guest spec from a YAML file; flags win over it.')
    .option('--name <name>', 'Name of the guest, and its host name.')
    .option('--image <image>', "'host' (the default), an image in the store, or a path.")
    .option(
      '--kernel <file>',
      'Kernel to boot. With --image host or a Linux image it replaces the default kernel.',
    )
    .option(
      '--initrd <file>',
      'Initial RAM disk for --kernel: the kernel is then booted as it is, without an agent.',
    )
    .option('-a, --accelerator <name>', 'auto (the default), kvm, uml, tcg or netns.')
    .addOption(new Option('-c, --cpus <n>', 'vCPUs (default: 1).').argParser(wholeNumber))
    .option('-m, --memory <size>', 'Memory: 512M, 4G (default: 1G).')
    .option('--pages <size>', "Page size that backs the guest's memory: any, 4K, thp, 2M, 1G.")
    .option('--pin [cpus]', 'Pin vCPUs to host CPUs, chosen by lodge or given as a list.')
    .option(
      '--numa <layout>',
      "'mirror': the guest gets the NUMA nodes, cores and caches of the CPUs it is pinned to.",
    )
    .option('--prefer', 'Pages, pins and NUMA that cannot be had are reported instead of refused.')
    .addOption(
      new Option('-v, --volume <src:dst[:ro]>', 'Share a directory with the guest; repeatable.').argParser(
        collect,
      ),
    )
    .option('--no-share', 'Do not share the home and the working directory.')
    .option(
      '--mount-type <type>',
      'How shared directories come into the guest: 9p (the default) or virtiofs.',
    )
    .addOption(
      new Option(
        '--pci <address>',
        'Give the guest a PCI function of the host for itself (VFIO); repeatable.',
      ).argParser(collect),
    )
    .option('--append <words>', 'Words for the kernel command line.')
    .option('--firmware <kind>', 'bios or uefi, for disks and ISOs.')
    .option('--boot-timeout <time>', 'How long the guest may take to come up: 30s, 2m.');
}

export interface AskedByFlags {
  spec: GuestSpec;
  /** The error as somebody reads it who has written these flags. */
  told(error: unknown): unknown;
}

/**
 * The checked spec of flags and spec file together.
 * @param hasCommand a command is to be run in the guest, so that a bare kernel must be booted with lodge's agent
 * @param share what holds where neither says anything
 * @throws LodgeError `usage`, `spec-syntax`, `spec-unknown-key`, `spec-value`
 */
export async function specOfFlags(
  flags: SpecFlags,
  hasCommand: boolean,
  share: Pick<SpecFlags, 'cpus' | 'memory'> = {},
): Promise<AskedByFlags> {
  const [{ guestSpecSchema }, { checkValue }] = await Promise.all([
    import('../guest/spec.ts'),
    import('../check-value.ts'),
  ]);
  let fromFile: Record<string, unknown> = {};
  let locate: Locate | undefined;
  if (flags.spec !== undefined) {
    const { parseLocatedYaml, readDocument } = await import('../document.ts');
    const text = readDocument(flags.spec, `--spec ${flags.spec}`);
    // Checked by itself first, so that a fault in the file is told with its line.
    const document = parseLocatedYaml(text, guestSpecSchema, flags.spec);
    fromFile = document.written as Record<string, unknown>;
    ({ locate } = document);
  }
  const byFlag = keysOf(flags, hasCommand);
  const spec = checkValue({ ...share, ...fromFile, ...byFlag }, guestSpecSchema, (path) => {
    const name = String(path[0] ?? 'spec');
    return `--${flagOfKey[name] ?? name}`;
  });
  const isInFile = (name: string): boolean => Object.hasOwn(fromFile, name) && !Object.hasOwn(byFlag, name);
  return {
    spec,
    told(error) {
      if (!(error instanceof LodgeError)) return error;
      const { asked, fixWords, where } = error;
      const name = asked?.[0] === undefined ? undefined : String(asked[0]);
      const isFile = name !== undefined && isInFile(name);
      const place = isFile ? locate!(asked!) : name === undefined ? undefined : flagAt(asked!, byFlag, flags);
      return retold(error, {
        ...(place === undefined || where !== undefined ? {} : { where: place }),
        ...(fixWords === undefined || isFile ? {} : { fix: spellFix(fixWords, flagOf) }),
      });
    },
  };
}

/** Of a longer value an error names the flag alone. */
const longestShown = 500;

/** The flag that gave what is at a path, as it was written; undefined where none did. */
function flagAt(path: SpecPath, byFlag: Record<string, unknown>, flags: SpecFlags): string | undefined {
  const [name, index] = path;
  if (name === undefined || !Object.hasOwn(byFlag, name)) return undefined;
  if (name === 'image' && flags.image === undefined)
    return flagOf({ key: 'kernel', value: shellWord(flags.kernel!) });
  const value = byFlag[name];
  const one = Array.isArray(value) && index !== undefined ? value[Number(index)] : value;
  const isShown = typeof one !== 'object' && String(one).length <= longestShown;
  return flagOf({ key: String(name), ...(isShown ? { value: shellWord(String(one)) } : {}) });
}

/** A key as a flag of `lodge run`. */
function flagOf({ key, value }: KeyWords): string {
  const flag = key === 'volumes' ? '-v' : `--${flagOfKey[key] ?? key}`;
  return value === undefined || key === 'placement' || value === 'true' || value === 'false'
    ? flag
    : `${flag} ${value}`;
}

/** Flags whose name is not the key's. */
const flagOfKey: Record<string, string> = { volumes: 'volume', placement: 'prefer', share: 'no-share' };

function keysOf(flags: SpecFlags, hasCommand: boolean): Record<string, unknown> {
  const keys: Record<string, unknown> = {};
  const set = (key: string, value: unknown): void => {
    if (value !== undefined) keys[key] = value;
  };
  for (const key of [
    'name',
    'accelerator',
    'cpus',
    'memory',
    'pages',
    'pin',
    'numa',
    'pci',
    'append',
    'firmware',
  ] as const) {
    set(key, flags[key]);
  }
  set('image', flags.image);
  set('boot-timeout', flags.bootTimeout);
  set('mount-type', flags.mountType);
  set('volumes', flags.volume);
  if (flags.prefer === true) keys.placement = 'prefer';
  if (!flags.share) keys.share = false;
  if (flags.initrd !== undefined) {
    if (flags.kernel === undefined || flags.image !== undefined) {
      throw new LodgeError('usage', '--initrd goes with --kernel, and not with --image', {
        fix: 'lodge run --kernel bzImage --initrd initrd.img',
      });
    }
    keys.image = { kernel: flags.kernel, initrd: flags.initrd };
  } else if (flags.kernel !== undefined) {
    // A kernel alone is booted as it is: that is what a person who names nothing else wants to see.
    if (flags.image !== undefined || hasCommand) set('kernel', flags.kernel);
    else keys.image = { kernel: flags.kernel };
  }
  return keys;
}
