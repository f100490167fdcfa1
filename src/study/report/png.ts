/** Figures as PNG, made of SVG files by librsvg. */

import { stat } from 'node:fs/promises';
import { liveSource } from '../../machine/source.ts';
import { runProgram } from '../../process.ts';

/** Twice as many pixels as the figure has units, for slides and dense screens. */
const zoom = 2;
/** For all figures together: on a machine that is so busy, a report without PNGs is better than none. */
const timeLimitMs = 60_000;

export interface RenderedPngs {
  /** Paths of the PNG files, beside their SVG files. */
  made: string[];
  /** Why some or all are not there. */
  note?: string;
}

/** Renders each SVG file beside itself. PNGs are a convenience: what cannot be made is told, and nothing fails. */
export async function renderPngs(svgPaths: readonly string[]): Promise<RenderedPngs> {
  if (svgPaths.length === 0) return { made: [] };
  if (liveSource().findProgram('rsvg-convert') === undefined) {
    return {
      made: [],
      note: 'no PNG figures were made: rsvg-convert is not installed (apt-get install librsvg2-bin)',
    };
  }
  const made: string[] = [];
  const failed: string[] = [];
  const untilMs = performance.now() + timeLimitMs;
  for (const svgPath of svgPaths) {
    const pngPath = svgPath.replace(/\.svg$/, '.png');
    const reason = await renderOne(svgPath, pngPath, untilMs - performance.now());
    if (reason === undefined) made.push(pngPath);
    else failed.push(reason);
  }
  if (failed.length === 0) return { made };
  return {
    made,
    note: `${failed.length} of ${svgPaths.length} PNG figures could not be made by rsvg-convert: ${failed[0]}`,
  };
}

/** @returns why there is no PNG, or nothing when there is one */
async function renderOne(svgPath: string, pngPath: string, leftMs: number): Promise<string | undefined> {
  if (leftMs <= 0) return `there was no time left, after ${timeLimitMs / 1000} s for all of them`;
  const argv = ['rsvg-convert', `--zoom=${zoom}`, '--format=png', `--output=${pngPath}`, svgPath];
  try {
    const { code, stderr } = await runProgram(argv, { timeoutMs: Math.ceil(leftMs) });
    if (code !== 0) return stderr.trim().split('\n').at(-1) || `it ended with ${code}`;
    return (await stat(pngPath)).size > 0 ? undefined : 'it wrote an empty file';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
