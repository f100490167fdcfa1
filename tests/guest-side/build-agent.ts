import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const sourceDirectory = fileURLToPath(new URL('../../guest-side/', import.meta.url));

const compilers = {
  plain: [
    ['musl-gcc', '-static', '-Os'],
    ['gcc', '-static', '-Os'],
  ],
  /** Finds what a test would not see. Where no sanitizer is installed, the plain agent must do. */
  checked: [
    ['gcc', '-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
    ['musl-gcc', '-static', '-Os'],
    ['gcc', '-static', '-Os'],
  ],
};

/** The agent, compiled once for this content of its sources. @returns the path of the binary */
export function buildAgent(kind: keyof typeof compilers = 'plain'): string {
  const names = readdirSync(sourceDirectory).filter((name) => /\.[ch]$/.test(name));
  const hash = createHash('sha256');
  for (const name of names.sort()) hash.update(readFileSync(join(sourceDirectory, name)));
  hash.update(JSON.stringify(compilers[kind]));
  const path = join(tmpdir(), `lodge-test-agent-${process.getuid!()}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(path)) return path;
  const sources = names.filter((name) => name.endsWith('.c')).map((name) => join(sourceDirectory, name));
  const work = mkdtempSync(join(tmpdir(), 'lodge-agent-build-'));
  const messages: string[] = [];
  try {
    const built = join(work, 'agent');
    for (const [compiler, ...flags] of compilers[kind]) {
      const result = spawnSync(compiler!, [...flags, '-Wall', '-Wextra', '-Werror', '-o', built, ...sources]);
      if (result.status === 0) {
        renameSync(built, path);
        return path;
      }
      messages.push(`${compiler}: ${result.error?.message ?? result.stderr.toString()}`);
    }
  } finally {
    rmSync(work, { recursive: true });
  }
  throw new Error(`no compiler could build the agent\n${messages.join('\n')}`);
}
