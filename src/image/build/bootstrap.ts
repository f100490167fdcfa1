/** What mmdebstrap(1) is told, out of a recipe: a pure function, and the reading of what it says while it works. */

import type { Recipe } from './recipe-schema.ts';

export interface Bootstrap {
  /** mmdebstrap and its arguments; it reads the package sources from standard input. */
  argv: string[];
  /** For its hooks: what would be too long, or too private, for a command line. */
  env: Record<string, string>;
}

export interface BootstrapInput {
  recipe: Recipe;
  /** Name of the image, which becomes the host name in it. */
  name: string;
  /** Where the root is to be: an empty directory, or none. */
  target: string;
  /** For apt.conf.d, while it builds. */
  fetchOptions: string;
  /** A tar archive of the recipe's files; none when it has no files. */
  filesPath?: string;
}

/** Hooks run in sh(1) with the root as `$1`. What is done in the root is done in a chroot: its links lead inside then. */
const hooks = {
  fetchOptions: 'printf %s "$LODGE_FETCH_OPTIONS" > "$1/etc/apt/apt.conf.d/98lodge"',
  // apt looks at names when all of the base is set up, which takes minutes; here it is unpacked only.
  packages: 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --simulate install $LODGE_PACKAGES >/dev/null',
  // Not by an option of mmdebstrap's: it would have each archive of the base go through a filter in Python, which takes
  // longer than all else together. What dpkg brings later, it leaves out by itself; patterns are find's and dpkg's alike.
  exclude: `cd "$1" && mkdir -p etc/dpkg/dpkg.cfg.d && printf '%s\\n' "$LODGE_EXCLUDE" | while IFS= read -r pattern; do
      echo "path-exclude=$pattern" >> etc/dpkg/dpkg.cfg.d/98lodge
      find . -xdev -depth -path ".$pattern" \\( ! -type d -o -empty \\) -delete || exit
    done`,
  files: 'chroot "$1" tar -xf - --keep-directory-symlink -C / < "$LODGE_FILES"',
  clean: `rm -f "$1/etc/apt/apt.conf.d/98lodge" "$1/etc/apt/apt.conf.d/99mmdebstrap" "$1/etc/resolv.conf" "$1/etc/hostname"
    : > "$1/etc/resolv.conf"
    echo "$LODGE_NAME" > "$1/etc/hostname"
    find "$1/etc/apt" -type f \\( -name '*.list' -o -name '*.sources' \\) -exec sed -i 's#://[^/@ ]*@#://#' {} +`,
} as const;

/** The one of mmdebstrap's modes that works in lodge's namespace and keeps its mounts out of the host's. */
const mode = 'unshare';

/** Plans the bootstrap of a recipe. */
export function planBootstrap(input: BootstrapInput): Bootstrap {
  const { recipe, name, target, fetchOptions, filesPath } = input;
  const { base, packages, exclude, commands } = recipe;
  const env: Record<string, string> = { LODGE_NAME: name, LODGE_FETCH_OPTIONS: fetchOptions };
  if (packages.length > 0) env.LODGE_PACKAGES = packages.join(' ');
  if (exclude.length > 0) env.LODGE_EXCLUDE = exclude.join('\n');
  const customize: string[] = [];
  if (filesPath !== undefined) {
    env.LODGE_FILES = filesPath;
    customize.push(hooks.files);
  }
  const exports = Object.entries(recipe.env).map(
    ([variable, value]) => `export ${variable}=${quote(value)}\n`,
  );
  commands.forEach((command, index) => {
    env[`LODGE_COMMAND_${index}`] = exports.join('') + command;
    customize.push(
      `echo "I: running command ${index + 1} of ${commands.length}" >&2; chroot "$1" /bin/sh -eu -c "$LODGE_COMMAND_${index}" >&2`,
    );
  });
  customize.push(hooks.clean);
  const argv = [
    'mmdebstrap',
    `--mode=${mode}`,
    '--format=directory',
    `--variant=${base.variant}`,
    ...(packages.length === 0 ? [] : [`--include=${packages.join(',')}`, `--extract-hook=${hooks.packages}`]),
    // What is lost with the power is the build, not a system.
    '--dpkgopt=force-unsafe-io',
    ...(exclude.length === 0 ? [] : [`--extract-hook=${hooks.exclude}`]),
    `--setup-hook=${hooks.fetchOptions}`,
    ...customize.map((hook) => `--customize-hook=${hook}`),
    base.suite,
    target,
    '-',
  ];
  return { argv, env };
}

/** A word as sh(1) reads it. */
export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** What a line of mmdebstrap's log says to somebody who waits; nothing for most lines. */
export function progressOf(line: string): string | undefined {
  const own = /^I: (.*?)\.*$/.exec(line)?.[1];
  return own === undefined || unimportant.test(own) ? undefined : own;
}

const unimportant =
  /^(?:chroot architecture|reading sources|automatically|using|finding|running --|main\(\)|success|done)/;
