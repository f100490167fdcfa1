// Builds what runs: one bundle per entry, and lodge's own programs. `./lodge` calls it when dist/ is out of date.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
rmSync(join(dist, 'stamp'), { force: true });

const sourcesIn = (folder) =>
  readdirSync(join(root, folder))
    .filter((file) => file.endsWith('.c'))
    .map((file) => join(folder, file));
const sourcesOf = {
  agent: sourcesIn('guest-side'),
  keeper: sourcesIn('host-side').filter((file) => !/\/(confine|holder)\.c$/.test(file)),
  confine: ['confine', 'namespaces'].map((file) => `host-side/${file}.c`),
  holder: ['holder', 'identity', 'namespaces'].map((file) => `host-side/${file}.c`),
};
for (const [name, files] of Object.entries(sourcesOf)) {
  const sources = files.map((file) => join(root, file));
  const flags = ['-static', '-Os', '-s', '-Wall', '-Wextra', '-Werror'];
  execFileSync('mkdir', ['-p', dist]);
  execFileSync('musl-gcc', [...flags, '-o', join(dist, `${name}.new`), ...sources], { stdio: 'inherit' });
  renameSync(join(dist, `${name}.new`), join(dist, name));
}

execFileSync(process.execPath, [join(root, 'scripts/build-programs.mjs'), join(dist, 'programs')], {
  stdio: 'inherit',
});

// The bundles are CommonJS files: on a shared file system each file opened at the start counts, and Node's loader of
// ES modules alone costs more than lodge does. Verbs are still evaluated only when they are called.
for (const [name, entry] of [
  ['fabric', 'src/fabric/worker.ts'],
  ['mapper', 'src/placement/mapper/worker.ts'],
  ['lodge', 'src/cli/main.ts'],
]) {
  await bundle(join(root, entry), join(dist, `${name}.cjs`));
}
copyFileSync(join(root, 'scripts/start.cjs'), join(dist, 'start.cjs'));
warmUp();
writeFileSync(join(dist, 'stamp'), '');

/** Makes one file of an entry and all that it imports. */
async function bundle(entry, outfile) {
  await build({
    entryPoints: [entry],
    outfile: `${outfile}.new`,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    minify: true,
    legalComments: 'none',
    define: { 'import.meta.url': 'lodgeFileUrl' },
    banner: { js: "const lodgeFileUrl = require('node:url').pathToFileURL(__filename).href;" },
    logLevel: 'warning',
  });
  writeFileSync(`${outfile}.new`, inAscii(readFileSync(`${outfile}.new`, 'utf8')));
  // Replaced whole, because another lodge may be starting from it at this moment.
  renameSync(`${outfile}.new`, outfile);
}

/**
 * What esbuild leaves as it is, in templates with tags and in regular expressions, escaped: a bundle of single bytes is
 * read at the start in a tenth of the time. None of lodge's tags look at the raw text.
 */
function inAscii(code) {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Runs lodge once, up to where it finds no program at all, so that what it compiled on the way is kept. */
function warmUp() {
  const nowhere = mkdtempSync(join(tmpdir(), 'lodge-build-'));
  const places = { HOME: nowhere, LODGE_DATA_DIR: nowhere, LODGE_RUNTIME_DIR: join(nowhere, 'run') };
  const env = { ...places, PATH: nowhere, LODGE_WRITE_CODE_CACHE: '1' };
  spawnSync(process.execPath, [join(dist, 'start.cjs'), 'run', '-a', 'uml', '--', 'true'], { env });
  rmSync(nowhere, { recursive: true, force: true });
}
