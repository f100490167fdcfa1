/** Latency and bandwidth between two MPI ranks by message size: NetPIPE. Pure. */

import { LodgeError } from '../../errors.ts';
import type { SweepPoint } from '../samples.ts';
import type { Benchmark, RunInput } from './benchmark.ts';
import { mpiCommand, mpiNeeds } from './mpi.ts';
import { outputError } from './output.ts';
import { keptOffTransparentPages, pageEnvironment } from './pages.ts';
import { pinnedCpus } from './placement.ts';

const mostBytes = 4 * 2 ** 20;
/** The message that the latency is told for. */
const latencyBytes = 8;

/** First and last of the CPUs: on different sockets where the cell reaches over two. */
function cpuPair(input: RunInput): readonly number[] | undefined {
  if (input.cores < 2) {
    throw new LodgeError(
      'spec-value',
      'PingPong goes between two cores, and a cell of one core was asked for',
      {
        fix: 'run pingpong on 2 cores or more',
      },
    );
  }
  const cpus = pinnedCpus(input);
  return cpus === undefined ? undefined : [cpus[0]!, cpus.at(-1)!];
}

export const pingpong: Benchmark = {
  name: 'pingpong',
  needs: [{ program: 'NPopenmpi', package: 'netpipe-openmpi' }, ...mpiNeeds],

  // NetPIPE picks repeats so that a size takes about half a second, whatever the machine.
  timeLimitMs: () => 600_000,

  command: (input) => {
    const cpus = cpuPair(input);
    const repeats = input.sizes.pingpongRepeats;
    const command = mpiCommand({
      ranks: 2,
      cpus,
      argv: [
        ...['NPopenmpi', '-l', '1', '-u', `${mostBytes}`, '-p', '0', '-o', 'np.out'],
        ...(repeats === undefined ? [] : ['-n', `${repeats}`]),
      ],
      rankEnv: pageEnvironment(input.pages.own, input.programsDir).env,
      inputFile: '/dev/null',
      input: '',
      resultsFile: 'np.out',
      // Through shared memory at all sizes, as in the paper. Open MPI would have the kernel copy messages from 4 KiB on
      // where it may (process_vm_readv), and the same work would not be done under kernels that differ in that.
      env: { OMPI_MCA_btl_vader_single_copy_mechanism: 'none' },
    });
    return keptOffTransparentPages(command, input);
  },

  parse: (stdout) => {
    const sweep = readSweep(stdout);
    const latency = sweep.find(({ messageBytes }) => messageBytes === latencyBytes);
    if (latency === undefined) {
      throw outputError('NPopenmpi', `there is no message of ${latencyBytes} bytes`, stdout);
    }
    return {
      pingpong: sweep,
      'pingpong-latency-us': latency.latencyUs,
      'pingpong-bandwidth-mbps': Math.max(...sweep.map(({ bandwidthMBps }) => bandwidthMBps)),
    };
  },
};

/**
 * NetPIPE's file of results: a line a size with bytes, Mbps and seconds one way (netpipe(1), "Testing methodology").
 * Its Mbps are 2^20 bits a second. The seconds are rounded to 10 ns, a tenth of what shared memory takes, so times are
 * worked out from the second column, and the third must agree.
 */
function readSweep(stdout: string): SweepPoint[] {
  const fail = (problem: string) => outputError('NPopenmpi', problem, stdout);
  if (!stdout.endsWith('\n')) throw fail('its results are cut off');
  const points: SweepPoint[] = [];
  for (const line of stdout.trimEnd().split('\n')) {
    const match = /^\s*(\d+)\s+(\d+\.\d+)\s+(\d+\.\d+)\s*$/.exec(line);
    if (match === null) throw fail(`'${line.slice(0, 80)}' is not a line of its results`);
    const [messageBytes, mbps, seconds] = match.slice(1).map(Number) as [number, number, number];
    if (messageBytes <= (points.at(-1)?.messageBytes ?? 0)) throw fail('its sizes do not go up');
    if (mbps <= 0) throw fail(`${messageBytes} bytes went at ${mbps} Mbps`);
    const oneWaySeconds = (8 * messageBytes) / (mbps * 2 ** 20);
    if (Math.abs(oneWaySeconds - seconds) > 0.51e-8 + 1e-6 * seconds) {
      throw fail(`rate and time of ${messageBytes} bytes do not agree`);
    }
    points.push({
      messageBytes,
      latencyUs: oneWaySeconds * 1e6,
      bandwidthMBps: messageBytes / oneWaySeconds / 1e6,
    });
  }
  if (points[0]?.messageBytes !== 1 || points.at(-1)?.messageBytes !== mostBytes) {
    throw fail(`its sizes do not go from 1 to ${mostBytes} bytes`);
  }
  return points;
}
