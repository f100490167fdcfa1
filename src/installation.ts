/** Where lodge itself lies: its built files in `dist/`, its shipped files beside those. */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LodgeError } from './errors.ts';

/** The root of the checkout: the directory that has `package.json`, above `dist/` or `src/`. */
export const installationDir = findRoot(dirname(fileURLToPath(import.meta.url)));

function findRoot(from: string): string {
  let dir = from;
  while (!existsSync(join(dir, 'package.json')) && dir !== '/') dir = dirname(dir);
  return dir;
}

/**
 * A program that the build makes: `agent` (put into guests), `keeper` (stays with a guest's process), `confine`
 * (starts what serves a guest) or `holder` (keeps the namespace of a cluster's bridges).
 * @throws LodgeError `missing-program` when lodge was not built
 */
export function builtFile(name: 'agent' | 'keeper' | 'confine' | 'holder'): string {
  const path = join(installationDir, 'dist', name);
  if (!existsSync(path)) {
    throw new LodgeError('missing-program', `lodge's own program '${name}' is not built`, {
      where: path,
      fix: 'npm run build (needs musl-gcc: apt-get install musl-tools)',
    });
  }
  return path;
}

/**
 * The directory of the programs that a study measures with (`study-side/`).
 * @throws LodgeError `missing-program` when lodge was not built
 */
export function builtProgramsDir(): string {
  const path = join(installationDir, 'dist', 'programs');
  if (!existsSync(join(path, 'yardstick'))) {
    throw new LodgeError('missing-program', "the programs of 'lodge study' are not built", {
      where: path,
      fix: 'npm run build (needs gcc and musl-gcc: apt-get install gcc libc6-dev musl-tools)',
    });
  }
  return path;
}

/**
 * A worker, a bundle of its own: that of a fabric, or of the mapper.
 * @throws LodgeError `missing-program` when lodge was not built
 */
export function builtWorker(name: 'fabric' | 'mapper'): string {
  const path = join(installationDir, 'dist', `${name}.cjs`);
  if (!existsSync(path)) {
    throw new LodgeError('missing-program', `lodge's own program '${name}.cjs' is not built`, {
      where: path,
      fix: 'npm run build',
    });
  }
  return path;
}

/** What this installation is: another build of lodge has another one. */
export function installationVersion(): string {
  const { version } = JSON.parse(readFileSync(join(installationDir, 'package.json'), 'utf8')) as {
    version: string;
  };
  const built = statSync(join(installationDir, 'dist', 'stamp'), { throwIfNoEntry: false });
  return built === undefined ? version : `${version}+${Math.round(built.mtimeMs)}`;
}
