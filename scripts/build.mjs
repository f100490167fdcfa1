// Builds what runs: one bundle per entry, and the two static programs. `./lodge` calls it when dist/ is out of date.
import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
rmSync(join(dist, 'stamp'), { force: true });

for (const [name, folder] of [
  ['agent', 'guest-side'],
  ['keeper', 'host-side'],
]) {
  const sources = readdirSync(join(root, folder))
    .filter((file) => file.endsWith('.c'))
    .map((file) => join(root, folder, file));
  const flags = ['-static', '-Os', '-s', '-Wall', '-Wextra', '-Werror'];
  execFileSync('mkdir', ['-p', dist]);
  execFileSync('musl-gcc', [...flags, '-o', join(dist, name), ...sources], { stdio: 'inherit' });
}

await build({
  entryPoints: [join(root, 'src/cli/main.ts')],
  outdir: join(dist, 'lodge'),
  bundle: true,
  splitting: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  minify: true,
  keepNames: false,
  sourcemap: true,
  legalComments: 'none',
  // ws and commander are CommonJS and ask for Node's own modules by require.
  banner: { js: "import { createRequire as lodgeCreateRequire } from 'node:module'; const require = lodgeCreateRequire(import.meta.url);" },
  logLevel: 'warning',
});
writeFileSync(join(dist, 'stamp'), '');
