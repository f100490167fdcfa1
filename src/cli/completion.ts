/** Shell completions from the command definitions. */

import type { Command, Option } from 'commander';
import { specSchema } from './manual.ts';

const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

export function isShell(text: string): text is Shell {
  return (shells as readonly string[]).includes(text);
}

/** What there is on this host, by its names. */
type Named = 'guests' | 'images';

/** Verbs whose arguments are names. */
const namesOfVerb: Readonly<Record<string, Named>> = {
  ...{ exec: 'guests', shell: 'guests', logs: 'guests', console: 'guests' },
  ...{ stop: 'guests', rm: 'guests', cp: 'guests' },
  ...{ 'image export': 'images', 'image inspect': 'images', 'image rm': 'images' },
};

/**
 * Prints the names of `$1`, for sh(1); without single quotes. Where they are: `runtimeDir` in `src/guest/state.ts`,
 * `openStore` in `src/image/store.ts`.
 */
const listNames = `
  uid=$(id -u)
  runtime=\${LODGE_RUNTIME_DIR:-}
  for base in /run/user/$uid "\${XDG_RUNTIME_DIR:-}"; do
    [ -n "$runtime" ] || [ ! -O "$base" ] || runtime=$base/lodge
  done
  case \${XDG_DATA_HOME:-} in /*) data=$XDG_DATA_HOME ;; *) data=$HOME/.local/share ;; esac
  case $1 in
    guests) ls "\${runtime:-/tmp/lodge-$uid}/guests" | grep -x "[a-z0-9.-]*" ;;
    images) ls "\${LODGE_DATA_DIR:-$data/lodge}/names" | sed -n "s/^\\([A-Za-z0-9._-]*\\)[.]json$/\\1/p" ;;
  esac 2>/dev/null
`;

/** A verb, or part of one, with all that may follow it. */
interface Part {
  /** As it is typed: `run`, `image rm`. */
  path: string;
  description: string;
  options: readonly Option[];
  parts: Part[];
}

/** What an option's value can be, where that is known. */
interface Values {
  words: readonly string[];
  named?: Named;
}

export function completionOf(program: Command, shell: Shell): string {
  const verbs = partsOf(program);
  if (shell === 'fish') return fish(verbs);
  const script = bash(verbs, program.options);
  return shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${script}` : script;
}

function partsOf(command: Command, above = ''): Part[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((part) => {
      const path = `${above}${part.name()}`;
      return {
        path,
        description: part.description(),
        options: part.options,
        parts: partsOf(part, `${path} `),
      };
    });
}

function wordsOf({ short, long }: Option): string[] {
  return [short, long].filter((word) => word !== undefined);
}

/** The values of an option of a verb; the flags of `lodge run` have those of the keys they set. */
function valuesOf({ path }: Part, option: Option): Values | undefined {
  if (option.argChoices !== undefined) return { words: option.argChoices };
  if (option.long === '--image') return { words: ['host'], named: 'images' };
  const key = path === 'run' ? guestKeys()[option.attributeName()] : undefined;
  return key === undefined ? undefined : { words: key };
}

interface KeySchema {
  enum?: string[];
  anyOf?: KeySchema[];
}

/** Keys of a guest spec with their values, of those that have few, under the names that their options have. */
function guestKeys(): Record<string, readonly string[]> {
  const { properties } = specSchema('guest') as { properties: Record<string, KeySchema> };
  return Object.fromEntries(
    Object.entries(properties).flatMap(([key, schema]) => {
      const values = schema.enum ?? schema.anyOf?.find((one) => one.enum !== undefined)?.enum;
      const name = key.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
      return values === undefined ? [] : [[name, values]];
    }),
  );
}

function bash(verbs: readonly Part[], globals: readonly Option[]): string {
  const all = verbs.flatMap((verb) => [verb, ...verb.parts]);
  const names = (named: Named | undefined): string =>
    named === undefined ? '' : ` $(_lodge_names ${named})`;
  const values = all.flatMap((part) =>
    part.options
      .filter(({ required }) => required)
      .map((option) => {
        const { words, named } = valuesOf(part, option) ?? { words: [] };
        const pattern = wordsOf(option).map((word) => `'${part.path}:${word}'`);
        return `    ${pattern.join('|')}) words="${words.join(' ')}${names(named)}" ;;`;
      }),
  );
  const follow = all.map((part) => {
    const words = [...part.options.flatMap(wordsOf), ...part.parts.map(({ path }) => path.split(' ').at(-1))];
    return `    '${part.path}':*) words="${words.join(' ')}${names(namesOfVerb[part.path])}" ;;`;
  });
  const withParts = verbs.filter(({ parts }) => parts.length > 0).map(({ path }) => path);
  const first = [...globals.flatMap(wordsOf), ...verbs.map(({ path }) => path)];
  return `_lodge_names() {
  sh -c '${listNames}' lodge "$1"
}
_lodge() {
  local cur=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} verb= word words=
  # Bash makes three words of --flag=value.
  [ "$cur" != = ] || cur=
  [ "$before" != = ] || before=\${COMP_WORDS[COMP_CWORD-2]}
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) continue ;; esac
    verb=\${verb:+$verb }$word
    case $verb in ${withParts.join('|')}) ;; *) break ;; esac
  done
  case $verb:$before in
    :*) words="${first.join(' ')}" ;;
${[...values, ...follow].join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _lodge lodge ./lodge
`;
}

function fish(verbs: readonly Part[]): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const seen = (path: string): string =>
    path
      .split(' ')
      .map((word) => `__fish_seen_subcommand_from ${word}`)
      .join('; and ');
  const namesOf = (named: Named): string => `(__lodge_names ${named})`;
  const linesOf = (part: Part): string[] => {
    const line = `complete -c lodge -n ${quote(seen(part.path))}`;
    const named = namesOfVerb[part.path];
    const options = part.options.map((option) => {
      const { short, long, required, description } = option;
      const values = required ? valuesOf(part, option) : undefined;
      const words = [
        ...(values?.words ?? []),
        ...(values?.named === undefined ? [] : [namesOf(values.named)]),
      ];
      return [
        line,
        ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
        ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
        // What has no other values is no file either.
        ...(required ? [values === undefined || values.named !== undefined ? '-r' : '-x'] : []),
        ...(words.length === 0 ? [] : [`-a ${quote(words.join(' '))}`]),
        `-d ${quote(description)}`,
      ].join(' ');
    });
    const parts = part.parts.map(
      ({ path, description }) => `${line} -a ${path.split(' ').at(-1)} -d ${quote(description)}`,
    );
    return [...options, ...parts, ...(named === undefined ? [] : [`${line} -a ${quote(namesOf(named))}`])];
  };
  const lines = verbs.flatMap((verb) => [
    `complete -c lodge -n __fish_use_subcommand -a ${verb.path} -d ${quote(verb.description)}`,
    ...linesOf(verb),
    ...verb.parts.flatMap(linesOf),
  ]);
  return `function __lodge_names\n  sh -c ${quote(listNames)} lodge $argv\nend\n${lines.join('\n')}\n`;
}
