/** Files that are compressed, for what takes images as they are: unpacked for as long as that lasts. */

import { join } from 'node:path';
import { LodgeError, retold } from '../errors.ts';
import { missingProgram } from '../process.ts';
import { shellLine, shellWord } from '../shell-words.ts';
import { runLong } from './build/long-run.ts';
import { decompressArgv, unreadable } from './decompress.ts';
import { checkNotFull, whileDiskHasRoom } from './full-disk.ts';
import { identify } from './identify.ts';
import { removeTree } from './small-file.ts';
import type { Store } from './store.ts';

/** Of a shell whose program is not there (POSIX, Shell Command Language 2.8.2). */
const notFoundCode = 127;

/**
 * Uses a file, or what it unpacks to where it is compressed.
 * @param path of a file or directory; what is no compressed file is used as it is
 * @param use what it throws of the unpacked file names the compressed one
 * @throws LodgeError `image-unreadable` when it is damaged, `disk-full`, `missing-program`, `image-not-found`
 */
export async function withUnpacked<T>(
  store: Store,
  path: string,
  { signal, onProgress }: { signal: AbortSignal; onProgress: (text: string) => void },
  use: (path: string) => Promise<T>,
): Promise<T> {
  const identity = identify(path);
  if (identity.kind !== 'compressed') return use(path);
  const { compression } = identity;
  const workspace = await store.makeTemporary();
  const unpacked = join(workspace, 'unpacked');
  const doing = `unpacking ${path}`;
  const argv = decompressArgv(compression);
  try {
    onProgress(doing);
    const { code, stderr } = await whileDiskHasRoom(doing, workspace, signal, (watched) =>
      runLong({
        argv: ['sh', '-c', 'exec "$@" <"$LODGE_PACKED" >unpacked', 'sh', ...argv],
        cwd: workspace,
        env: { LODGE_PACKED: path },
        signal: watched,
      }),
    );
    if (code === notFoundCode) throw missingProgram(argv[0]!);
    if (code !== 0) {
      checkNotFull(doing, workspace, { stderr });
      throw unreadable(compression, path, stderr.trim().split('\n')[0]!);
    }
    const inside = identify(unpacked);
    // A few bytes can unpack to themselves for ever.
    if (inside.kind === 'compressed') {
      throw new LodgeError('image-unreadable', `this is compressed twice: inside is ${inside.description}`, {
        where: path,
        fix: `unpack it once before: ${shellLine(argv)} <${shellWord(path)} >FILE`,
      });
    }
    return await use(unpacked);
  } catch (error) {
    if (!(error instanceof LodgeError) || error.where?.startsWith(unpacked) !== true) throw error;
    throw retold(error, { where: `${path}, unpacked` });
  } finally {
    await removeTree(workspace);
  }
}
