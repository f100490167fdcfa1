import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const builder = join(root, 'scripts/build-programs.mjs');

/** The programs of `study-side/`, compiled once for this content of their sources. @returns their directory */
export function builtPrograms(): string {
  const sources = readdirSync(join(root, 'study-side')).sort();
  const hash = createHash('sha256').update(readFileSync(builder));
  for (const name of sources) hash.update(readFileSync(join(root, 'study-side', name)));
  const path = join(tmpdir(), `lodge-test-programs-${process.getuid!()}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(path)) return path;
  const work = mkdtempSync(join(tmpdir(), 'lodge-programs-build-'));
  try {
    execFileSync(process.execPath, [builder, join(work, 'programs')], { stdio: 'pipe' });
    try {
      renameSync(join(work, 'programs'), path);
    } catch (error) {
      // Another test may have been first.
      if (!existsSync(path)) throw error;
    }
  } finally {
    rmSync(work, { recursive: true });
  }
  return path;
}
