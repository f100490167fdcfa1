/** Figures as PNG, made of SVG files by whatever program is there. */

import { readFile, stat } from 'node:fs/promises';
import { LodgeError } from '../../errors.ts';
import { runProgram } from '../../process.ts';

/** Twice as many pixels as the figure has units, for slides and dense screens. */
const zoom = 2;
const timeLimitMs = 60_000;

interface Renderer {
  program: string;
  argv: (svgPath: string, pngPath: string, size: { width: number; height: number }) => string[];
}

const chromiumArgv: Renderer['argv'] = (svgPath, pngPath, { width, height }) => [
  '--headless',
  '--disable-gpu',
  '--hide-scrollbars',
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
    argv: (svgPath, pngPath) => [`--zoom=${zoom}`, '--format=png', `--output=${pngPath}`, svgPath],
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

/** Renders each SVG file beside itself. PNGs are a convenience: what cannot be made is told, and nothing fails. */
export async function renderPngs(svgPaths: readonly string[]): Promise<RenderedPngs> {
  for (const renderer of renderers) {
    const made: string[] = [];
    const failed: string[] = [];
    try {
      for (const svgPath of svgPaths) {
        const pngPath = svgPath.replace(/\.svg$/, '.png');
        const reason = await renderOne(renderer, svgPath, pngPath);
        if (reason === undefined) made.push(pngPath);
        else failed.push(reason);
      }
    } catch (error) {
      if (error instanceof LodgeError && error.code === 'missing-program') continue;
      throw error;
    }
    if (failed.length === 0) return { made };
    return {
      made,
      note: `${failed.length} of ${svgPaths.length} PNG figures could not be made by ${renderer.program}: ${failed[0]}`,
    };
  }
  return {
    made: [],
    note: 'no PNG figures were made: neither rsvg-convert (apt-get install librsvg2-bin) nor chromium is installed',
  };
}

/** @returns why there is no PNG, or nothing when there is one */
async function renderOne(renderer: Renderer, svgPath: string, pngPath: string): Promise<string | undefined> {
  const argv = [renderer.program, ...renderer.argv(svgPath, pngPath, await sizeOf(svgPath))];
  try {
    const { code, stderr } = await runProgram(argv, { timeoutMs: timeLimitMs });
    if (code !== 0) return stderr.trim().split('\n').at(-1) ?? `it ended with ${code}`;
    const { size } = await stat(pngPath);
    return size > 0 ? undefined : 'it wrote an empty file';
  } catch (error) {
    if (error instanceof LodgeError && error.code === 'missing-program') throw error;
    return error instanceof Error ? error.message : String(error);
  }
}

/** Width and height as our own figures have them in their first element. */
async function sizeOf(svgPath: string): Promise<{ width: number; height: number }> {
  const head = (await readFile(svgPath, 'utf8')).slice(0, 400);
  const match = /viewBox="0 0 (\d+) (\d+)"/.exec(head);
  return { width: Number(match?.[1] ?? 720), height: Number(match?.[2] ?? 480) };
}
