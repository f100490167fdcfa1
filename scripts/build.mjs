// Builds what runs: the command line, its threads, and lodge's own programs. `./lodge` calls it when dist/ is out of date.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { packed } from './pack.cjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
rmSync(join(dist, 'stamp'), { force: true });

const target = 'node20';
const minified = { minify: true, legalComments: 'none' };
const options = { ...minified, bundle: true, platform: 'node', target, logLevel: 'warning' };

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

// Threads are one CommonJS file each: they start seldom, and come to nearly all of their code.
for (const [name, entry] of [
  ['fabric', 'src/fabric/worker.ts'],
  ['mapper', 'src/placement/mapper/worker.ts'],
]) {
  await bundle(name, entry);
}
await packCommandLine();
await bundle('start', 'scripts/start.cjs');
warmUp();
listSources();
writeFileSync(join(dist, 'stamp'), '');

/** One CommonJS file of a program and all that it imports. */
async function bundle(name, entry) {
  const { outputFiles } = await build({
    ...options,
    entryPoints: [join(root, entry)],
    format: 'cjs',
    write: false,
  });
  replace(`${name}.cjs`, inAscii(outputFiles[0].text));
}

/** Another lodge may be starting from the file at this moment: it is replaced whole. */
function replace(name, content) {
  writeFileSync(join(dist, `${name}.new`), content);
  renameSync(join(dist, `${name}.new`), join(dist, name));
}

/**
 * One file of pieces: what is used together, as esbuild splits it where sources import when they are called. On a shared
 * file system each file opened at the start counts, and Node's loader of ES modules alone costs more than lodge does.
 */
async function packCommandLine() {
  const { outputFiles, metafile } = await build({
    ...options,
    entryPoints: [join(root, 'src/cli/main.ts')],
    outdir: dist,
    format: 'esm',
    splitting: true,
    define: { 'import.meta.url': 'lodgeFileUrl' },
    // As `require`, which is at hand at once.
    supported: { 'dynamic-import': false },
    metafile: true,
    write: false,
  });
  const pieces = new Map();
  for (const { path, text } of outputFiles) {
    const { code } = await transform(text, { ...minified, format: 'cjs', platform: 'node', target });
    pieces.set(
      basename(path),
      Buffer.from(inAscii(`(function(exports,require,module,lodgeFileUrl){${code}\n})`), 'latin1'),
    );
  }
  const [entry] = Object.entries(metafile.outputs).find(([, { entryPoint }]) =>
    entryPoint?.endsWith('/main.ts'),
  );
  const mark = createHash('sha256');
  for (const piece of pieces.values()) mark.update(piece);
  replace('lodge.pack', packed({ entry: basename(entry), mark: mark.digest('hex') }, pieces));
}

/**
 * What esbuild leaves as it is, in templates with tags and in regular expressions, escaped: a bundle of single bytes is
 * read at the start in a tenth of the time. None of lodge's tags look at the raw text.
 */
function inAscii(code) {
  return code.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** What the launcher asks whether it is built: by name, because a shell takes longer to find files than to ask for their dates. */
function listSources() {
  const folders = ['src', 'guest-side', 'host-side', 'study-side', 'scripts'];
  const inside = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true }).map((path) => join(folder, path)),
  );
  const words = ['package-lock.json', ...folders, ...inside].map(
    (path) => `'${path.replaceAll("'", "'\\''")}'`,
  );
  replace(
    'sources.sh',
    `for source in ${words.join(' ')}; do\n  [ "$here/$source" -nt "$stamp" ] && stale=1\ndone\n`,
  );
}

function warm(verb, env) {
  spawnSync(process.execPath, [join(dist, 'start.cjs'), ...verb.split(' ')], { env, timeout: 30_000 });
}

/** Runs lodge, most verbs up to where there is no program and no guest at all, so that what it compiled on the way is kept. */
function warmUp() {
  const nowhere = mkdtempSync(join(tmpdir(), 'lodge-build-'));
  const places = { HOME: nowhere, LODGE_DATA_DIR: nowhere, LODGE_RUNTIME_DIR: join(nowhere, 'run') };
  const env = { ...places, PATH: nowhere, LODGE_WRITE_CODE_CACHE: '1' };
  const [graph, mapping] = [join(nowhere, 'graph.grf'), join(nowhere, 'mapping.map')];
  for (const verb of [
    'run -a uml -- true',
    'exec v01 -- true',
    'ps',
    '--help',
    `place generate cg:256 -o ${graph}`,
    `place --traffic ${graph} --topology torus:4x8x8 --effort fast -o ${mapping}`,
  ]) {
    warm(verb, env);
  }
  // The lightest guest there is says what one that runs needs; where namespaces cannot be had, that is compiled each time.
  warm('run -a netns -- true', { ...env, PATH: process.env.PATH });
  rmSync(nowhere, { recursive: true, force: true });
}
