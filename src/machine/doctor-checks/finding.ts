/** What the doctor says about one thing. */

/** `pass`: as it should be. `note`: good to know. `warn`: some verbs won't work, or work badly. `fail`: no guest can boot. */
export type Severity = 'pass' | 'note' | 'warn' | 'fail';

/** Groups in the order they are shown. */
export const findingGroups = [
  'accelerators',
  'memory',
  'CPUs',
  'network',
  'images',
  'benchmarks',
  'Slurm',
] as const;

export type FindingGroup = (typeof findingGroups)[number];

export interface Finding {
  /** Stable name for scripts: `memory.huge-pages`. */
  id: string;
  group: FindingGroup;
  severity: Severity;
  /** What was found, one line. */
  found: string;
  /** What it means for a person who runs guests. */
  meaning: string;
  fix?: Fix;
}

export interface Fix {
  /** Debian packages that mend it. */
  packages?: string[];
  /** A command line that mends it, to be run as root. */
  command?: string;
  /** The command may be run without thinking: it loses nothing and asks for no decision. */
  automatic?: boolean;
  /** What to do when no command does it. */
  advice?: string;
}

/** The fix as one line for people. */
export function describeFix(fix: Fix): string {
  const install = fix.packages === undefined ? [] : [aptLine(fix.packages)];
  const command = fix.command === undefined ? [] : [fix.command];
  const advice = fix.advice === undefined ? [] : [fix.advice];
  return [...install, ...command, ...advice].join('; ');
}

/** The one line that installs packages. */
export function aptLine(packages: readonly string[]): string {
  return `apt-get install -y --no-install-recommends ${[...new Set(packages)].sort().join(' ')}`;
}

/** Makes the maker of findings for one group: `(severity, id within the group, found, meaning, fix)`. */
export function findingMaker(
  group: FindingGroup,
): (severity: Severity, id: string, found: string, meaning: string, fix?: Fix) => Finding {
  return (severity, id, found, meaning, fix) => ({
    id: `${group.toLowerCase()}.${id}`,
    group,
    severity,
    found,
    meaning,
    ...(fix === undefined ? {} : { fix }),
  });
}
