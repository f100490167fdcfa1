/** Shell completions from the command definitions. */

import type { Command, Option } from 'commander';

const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

export function isShell(text: string): text is Shell {
  return (shells as readonly string[]).includes(text);
}

/** Verbs whose argument is the name of a guest. */
const guestVerbs = ['exec', 'shell', 'logs', 'console', 'stop', 'rm', 'cp'];

export function completionOf(program: Command, shell: Shell): string {
  const verbs = visible(program);
  if (shell === 'fish') return fish(verbs);
  const script = bash(verbs, words(program.options));
  return shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${script}` : script;
}

function visible(command: Command): Command[] {
  return command.createHelp().visibleCommands(command);
}

function words(options: readonly Option[]): string {
  return options
    .flatMap((option) => [option.short, option.long])
    .filter((word) => word !== undefined)
    .join(' ');
}

function bash(verbs: readonly Command[], globals: string): string {
  const cases = verbs.map((verb) => {
    const nested = visible(verb).map((inner) => inner.name());
    const names = guestVerbs.includes(verb.name()) ? ' $(ls "$guests" 2>/dev/null)' : '';
    return `    ${verb.name()}) words="${[words(verb.options), ...nested].join(' ')}${names}" ;;`;
  });
  return `_lodge() {
  local cur=\${COMP_WORDS[COMP_CWORD]} verb= word words guests
  guests=\${LODGE_RUNTIME_DIR:-/run/user/$(id -u)/lodge}/guests
  [ -d "$guests" ] || guests=/tmp/lodge-$(id -u)/guests
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) verb=$word; break ;; esac
  done
  case $verb in
    '') words="${globals} ${verbs.map((verb) => verb.name()).join(' ')}" ;;
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _lodge lodge ./lodge
`;
}

function fish(verbs: readonly Command[]): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = verbs.flatMap((verb) => {
    const seen = `-n '__fish_seen_subcommand_from ${verb.name()}'`;
    const options = verb.options.map((option) => {
      const short = option.short === undefined ? '' : ` -s ${option.short.slice(1)}`;
      const long = option.long === undefined ? '' : ` -l ${option.long.slice(2)}`;
      return `complete -c lodge ${seen}${short}${long} -d ${quote(option.description)}`;
    });
    return [
      `complete -c lodge -n __fish_use_subcommand -a ${verb.name()} -d ${quote(verb.description())}`,
      ...options,
    ];
  });
  return `${lines.join('\n')}\n`;
}
