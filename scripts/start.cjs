// Starts lodge from `lodge.pack` beside it: pieces of code, of which a run reads only those that its verb needs, with
// what V8 compiled of them before. To read and compile the whole would be most of a short run.
// The cache is a copy of nothing: without it, or with one of another build or another Node.js, lodge is only slower.
const { openSync, renameSync, writeFileSync } = require('node:fs');
const { pathToFileURL } = require('node:url');
const { Script } = require('node:vm');
const { packed, unpack } = require('./pack.cjs');

// The launcher's way to have Node.js start without reading them.
const certificates = process.env.LODGE_NODE_EXTRA_CA_CERTS;
if (certificates !== undefined) {
  delete process.env.LODGE_NODE_EXTRA_CA_CERTS;
  process.env.NODE_EXTRA_CA_CERTS ??= certificates;
}

const path = `${__dirname}/lodge.pack`;
const url = pathToFileURL(path).href;
const code = unpack(openSync(path, 'r'));
const compiled = openCache();
const scripts = new Map();
const modules = new Map();

/** V8 compares little more than the length of a source, so the cache names the pack that it was made from. */
function openCache() {
  try {
    const cache = unpack(openSync(`${__dirname}/lodge.cache`, 'r'));
    return cache.index.mark === code.index.mark ? cache : undefined;
  } catch {
    return undefined;
  }
}

/** What a piece exports. */
function load(name) {
  const known = modules.get(name);
  if (known !== undefined) return known.exports;
  const script = new Script(code.piece(name).latin1Slice(), {
    filename: `${path}/${name}`,
    cachedData: compiled?.piece(name),
  });
  scripts.set(name, script);
  const module = { exports: {} };
  modules.set(name, module);
  script.runInThisContext()(module.exports, requirePiece, module, url);
  return module.exports;
}

/** Pieces name one another by `./NAME`; all else is Node.js's. */
function requirePiece(id) {
  if (id.startsWith('./')) return load(id.slice(2));
  return seldomUsed.has(id.replace('node:', '')) ? whenUsed(id) : require(id);
}

/** Much that is imported is used by few verbs, and to load these takes a tenth of a short run. */
const seldomUsed = new Set([
  'child_process',
  'dgram',
  'dns/promises',
  'https',
  'readline',
  'tls',
  'worker_threads',
  'zlib',
]);

/** A module of Node.js that is loaded when something of it is first asked for, or what it has. */
function whenUsed(id) {
  return new Proxy(
    {},
    {
      get: (_, name) => require(id)[name],
      has: (_, name) => name in require(id),
      ownKeys: () => Reflect.ownKeys(require(id)),
      getOwnPropertyDescriptor: (_, name) => {
        const there = Object.getOwnPropertyDescriptor(require(id), name);
        return there === undefined ? undefined : { ...there, configurable: true };
      },
    },
  );
}

// The build runs some verbs with this set: what was compiled by the end is what a run needs.
if (process.env.LODGE_WRITE_CODE_CACHE === '1') {
  process.on('exit', () => {
    const names = Object.keys(compiled?.index.pieces ?? {});
    const data = new Map(names.map((name) => [name, compiled.piece(name)]));
    for (const [name, script] of scripts) data.set(name, script.createCachedData());
    writeFileSync(`${__dirname}/lodge.cache.new`, packed({ mark: code.index.mark }, data));
    renameSync(`${__dirname}/lodge.cache.new`, `${__dirname}/lodge.cache`);
  });
}
load(code.index.entry);
