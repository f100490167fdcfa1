/** Figures as PNG, made of SVG files by whatever program is there. */

import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { liveSource } from '../../machine/source.ts';
import { runProgram } from '../../process.ts';

/** Twice as many pixels as the figure has units, for slides and dense screens. */
const zoom = 2;
/** For all figures together: on a machine that is so busy, a report without PNGs is better than none. */
const timeLimitMs = 60_000;

interface Renderer {
  program: string;
  argv: (picture: {
    svgPath: string;
    pngPath: string;
    width: number;
    height: number;
    /** A directory for what the program writes beside. */
    scratch: string;
  }) => string[];
}

const chromiumArgv: Renderer['argv'] = ({ svgPath, pngPath, width, height, scratch }) => [
  '--headless',
  '--disable-gpu',
  '--hide-scrollbars',
  // A profile of its own: one that another chromium has open would be handed the figure instead.
  `--user-data-dir=${scratch}`,
  '--disable-breakpad',
  // Chromium refuses to run as root in its sandbox; the file it opens is our own drawing.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  `--force-device-scale-factor=${zoom}`,
  `--window-size=${width},${height}`,
  `--screenshot=${pngPath}`,
  svgPath,
];

const renderers: readonly Renderer[] = [
  {
    program: 'rsvg-convert',
    argv: ({ svgPath, pngPath }) => [`--zoom=${zoom}`, '--format=png', `--output=${pngPath}`, svgPath],
  },
  { program: 'chromium', argv: chromiumArgv },
  { program: 'google-chrome', argv: chromiumArgv },
];

export interface RenderedPngs {
  /** Paths of the PNG files, beside their SVG files. */
  made: string[];
  /** Why some or all are not there. */
  note?: string;
}

/**
 * Renders each SVG file beside itself. PNGs are a convenience: what cannot be made is told, and nothing fails. What
 * programs write lies beside the SVG files, so that it goes with them when lodge is killed meanwhile.
 */
export async function renderPngs(svgPaths: readonly string[]): Promise<RenderedPngs> {
  if (svgPaths.length === 0) return { made: [] };
  const source = liveSource();
  const renderer = renderers.find(({ program }) => source.findProgram(program) !== undefined);
  if (renderer === undefined) {
    return {
      made: [],
      note: 'no PNG figures were made: neither rsvg-convert (apt-get install librsvg2-bin) nor chromium is installed',
    };
  }
  const made: string[] = [];
  const failed: string[] = [];
  const untilMs = performance.now() + timeLimitMs;
  const scratch = await mkdtemp(join(dirname(svgPaths[0]!), '.png-'));
  try {
    for (const svgPath of svgPaths) {
      const pngPath = svgPath.replace(/\.svg$/, '.png');
      const reason = await renderOne(renderer, {
        svgPath,
        pngPath,
        scratch,
        leftMs: untilMs - performance.now(),
      });
      if (reason === undefined) made.push(pngPath);
      else failed.push(reason);
    }
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 3 });
  }
  if (failed.length === 0) return { made };
  return {
    made,
    note: `${failed.length} of ${svgPaths.length} PNG figures could not be made by ${renderer.program}: ${failed[0]}`,
  };
}

/** @returns why there is no PNG, or nothing when there is one */
async function renderOne(
  renderer: Renderer,
  { leftMs, ...picture }: { svgPath: string; pngPath: string; scratch: string; leftMs: number },
): Promise<string | undefined> {
  if (leftMs <= 0) return `there was no time left, after ${timeLimitMs / 1000} s for all of them`;
  const words = renderer.argv({ ...picture, ...(await sizeOf(picture.svgPath)) });
  const argv = [...tied(), renderer.program, ...words];
  try {
    const { code, stderr } = await runProgram(argv, { timeoutMs: Math.ceil(leftMs) });
    if (code !== 0) return stderr.trim().split('\n').at(-1) ?? `it ended with ${code}`;
    const { size } = await stat(picture.pngPath);
    return size > 0 ? undefined : 'it wrote an empty file';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** What makes a program end when lodge is killed, so that no browser is left behind, where there is such. */
function tied(): string[] {
  const hasSetpriv = liveSource().findProgram('setpriv') !== undefined;
  return hasSetpriv ? ['setpriv', '--pdeathsig', 'KILL', '--'] : [];
}

/** Width and height as our own figures have them in their first element. */
async function sizeOf(svgPath: string): Promise<{ width: number; height: number }> {
  const head = (await readFile(svgPath, 'utf8')).slice(0, 400);
  const match = /viewBox="0 0 (\d+) (\d+)"/.exec(head);
  return { width: Number(match?.[1] ?? 720), height: Number(match?.[2] ?? 480) };
}
