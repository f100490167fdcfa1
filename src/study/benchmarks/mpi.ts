/** Runs MPI programs of Debian's Open MPI within one host, alike on the host and in a guest. Pure. */

import { shellLine } from '../../shell-words.ts';
import type { BenchmarkCommand } from './benchmark.ts';
import { withEnv } from './pages.ts';

/**
 * Settings of Open MPI 4.1 by environment (`OMPI_MCA_*`: "Setting MCA parameters" of its documentation).
 * Nothing but shared memory is used between ranks, and no network but the loopback to start them.
 */
export const mpiEnvironment: Record<string, string> = {
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  // Ranks are started here, whatever scheduler's job this is part of.
  OMPI_MCA_plm: 'isolated',
  OMPI_MCA_ras: '^slurm,gridengine',
  OMPI_MCA_pml: 'ob1',
  OMPI_MCA_btl: 'self,vader',
  // Looking for displays and GPUs takes time. Asking the CPUs themselves (x86) binds to each in turn, and waits for
  // seconds when one is busy; the kernel tells the same.
  HWLOC_COMPONENTS: '-gl,-opencl,-x86',
};

/**
 * $1 is where standard input goes, $2 the file of results, the rest the command. All that is written, Open MPI's own
 * files included, lies in a directory that goes whatever ends this. Only the results come on standard output.
 */
const script = `
work=$(mktemp -d) || exit 1
running=
trap 'rm -rf "$work"' EXIT
trap '[ -z "$running" ] || { kill "$running"; wait "$running"; }; exit 143' HUP INT TERM
cd "$work" || exit 1
export TMPDIR="$work"
cat >"$1" && rm -f "$2" || exit 1
results=$2
shift 2
"$@" </dev/null >&2 &
running=$!
wait "$running" || exit
running=
cat "$results"
`;

/** The CPUs of the ranks are the arguments; each rank takes the one that is its own. */
const pinned = (program: string) => `shift "$OMPI_COMM_WORLD_LOCAL_RANK"; exec taskset -c "$1" ${program}`;

export interface MpiRun {
  ranks: number;
  /** The CPU of each rank; without it they run where the kernel puts them. */
  cpus?: readonly number[] | undefined;
  argv: readonly string[];
  /** For the ranks alone. */
  rankEnv: Record<string, string>;
  /** Name of the file that standard input is put into, in the directory the ranks run in. */
  inputFile: string;
  input: string;
  /** Name of the file that the results are in when the ranks have ended. */
  resultsFile: string;
  env: Record<string, string>;
}

/** The command that runs an MPI program in a directory of its own and prints its file of results. */
export function mpiCommand(run: MpiRun): BenchmarkCommand {
  const program = [...withEnv(run.rankEnv), ...run.argv];
  const rank =
    run.cpus === undefined
      ? program
      : ['sh', '-c', pinned(shellLine(program)), 'rank', ...run.cpus.map(String)];
  // Slots are named because Open MPI counts cores, and a guest's CPUs may be threads of fewer.
  const mpiexec = ['mpiexec.openmpi', '--host', `localhost:${run.ranks}`, '-n', `${run.ranks}`];
  return {
    argv: [
      'sh',
      '-c',
      script,
      'mpi',
      run.inputFile,
      run.resultsFile,
      ...mpiexec,
      '--bind-to',
      'none',
      ...rank,
    ],
    env: { ...mpiEnvironment, ...run.env },
    input: run.input,
  };
}

export const mpiNeeds = [
  { program: 'mpiexec.openmpi', package: 'openmpi-bin' },
  { program: 'taskset', package: 'util-linux' },
] as const;
