/** Where the captures of a cluster are put. Pure. */

import { dirname, isAbsolute, join } from 'node:path';
import type { CapturePlan } from '../fabric/plan.ts';
import type { CaptureSpec } from './spec.ts';

/** Whose captures they are: what has another owner has other files, whatever directory is asked for. */
export interface CaptureOwner {
  cluster: string;
  /** The job of Slurm that the cluster is in; each job may have a cluster of that name. */
  job?: string;
}

const defaultFileBytes = 64 * 2 ** 20;
const wholeFrame = 65_549;

/**
 * The capture of a link; undefined where there is none.
 * @param cwd what its directory is relative to
 */
export function captureOf(
  spec: CaptureSpec | undefined,
  cwd: string,
  owner: CaptureOwner,
): CapturePlan | undefined {
  if (spec === undefined || spec === false) return undefined;
  const { directory = '.', files = 1, filter, ...sizes } = spec === true ? {} : spec;
  return {
    directory: join(isAbsolute(directory) ? directory : join(cwd, directory), ownName(owner)),
    snapLengthBytes: sizes['snap-length'] ?? wholeFrame,
    files,
    fileBytes: sizes['file-size'] ?? defaultFileBytes,
    ...(filter === undefined ? {} : { filter }),
  };
}

/** The same capture of a cluster that goes on under another name, or in another job: beside the files of the first. */
export function movedCapture(capture: CapturePlan, owner: CaptureOwner): CapturePlan {
  return { ...capture, directory: join(dirname(capture.directory), ownName(owner)) };
}

/** No name of a cluster has a dot. */
function ownName({ cluster, job }: CaptureOwner): string {
  return job === undefined ? cluster : `${cluster}.${job}`;
}
