/**
 * What an OCI image says of itself: how its commands run and for what machine it is.
 * Format: OCI Image Format Specification 1.0, "Image Layout", "Image Manifest", "Image Configuration".
 */

import { readFileSync, statSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { LodgeError } from '../../errors.ts';
import type { CommandDefaults } from '../image.ts';
import { parseUserText } from '../user-text.ts';

export interface OciConfig {
  defaults: CommandDefaults;
  /** As Go calls it: `amd64`, `arm64`. */
  architecture: string;
}

export interface OciReference {
  /** The annotation `org.opencontainers.image.ref.name`; absent for an image without a tag. */
  tag?: string;
}

const mostJsonBytes = 4 << 20;
const tagAnnotation = 'org.opencontainers.image.ref.name';

const descriptor = z.object({
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  annotations: z.record(z.string(), z.string()).nullish(),
});
const indexSchema = z.object({ manifests: z.array(descriptor) });
const manifestSchema = z.object({ config: descriptor });
/** What is passed to programs ends at a NUL. */
const word = z.string().refine((text) => !text.includes('\0'), { error: 'holds a NUL character' });
const words = z.array(word).nullish();
const configSchema = z.object({
  architecture: z.string(),
  os: z.string(),
  config: z
    .object({
      Env: words,
      Entrypoint: words,
      Cmd: words,
      WorkingDir: word.nullish(),
      User: word.nullish(),
    })
    .nullish(),
});

/** The images of a layout. @throws LodgeError `image-unreadable` */
export function ociReferences(layout: string): OciReference[] {
  return readJson(layout, 'index.json', indexSchema).manifests.map(({ annotations }) => {
    const tag = annotations?.[tagAnnotation];
    return tag === undefined ? {} : { tag };
  });
}

/**
 * The configuration of the only image of a layout.
 * @throws LodgeError `image-unreadable` when it is damaged or for another machine
 */
export function ociConfig(layout: string): OciConfig {
  const [image] = readJson(layout, 'index.json', indexSchema).manifests;
  if (image === undefined) throw unreadable(layout, 'there is no image in it');
  const manifest = readJson(layout, blobPath(image.digest), manifestSchema);
  const { architecture, os, config } = readJson(layout, blobPath(manifest.config.digest), configSchema);
  if (os !== 'linux' || architecture !== goArchitecture()) {
    throw unreadable(
      layout,
      `it is for ${os} on ${architecture}`,
      `get the one for linux on ${goArchitecture()}`,
    );
  }
  return { defaults: defaultsOf(config ?? {}), architecture };
}

function defaultsOf(config: NonNullable<z.output<typeof configSchema>['config']>): CommandDefaults {
  const { Env, Entrypoint, Cmd, WorkingDir, User } = config;
  // Root is what such images say when nobody has thought about it: that is no wish.
  const namesUser = User != null && parseUserText(User) !== undefined && !/^(root|0+)(:|$)/.test(User);
  const env = Object.fromEntries(
    (Env ?? [])
      .filter((line) => /^[^=]+=/.test(line))
      .map((line) => [line.split('=')[0], line.replace(/^[^=]*=/, '')]),
  ) as Record<string, string>;
  return {
    ...(Object.keys(env).length === 0 ? {} : { env }),
    ...(WorkingDir?.startsWith('/') ? { cwd: WorkingDir } : {}),
    ...(namesUser ? { user: User } : {}),
    ...(Entrypoint == null || Entrypoint.length === 0 ? {} : { entrypoint: Entrypoint }),
    ...(Cmd == null || Cmd.length === 0 ? {} : { command: Cmd }),
  };
}

function goArchitecture(): string {
  return ({ x64: 'amd64', ia32: '386', ppc64: 'ppc64le' } as Record<string, string>)[arch()] ?? arch();
}

function blobPath(digest: string): string {
  return join('blobs', 'sha256', digest.slice('sha256:'.length));
}

function readJson<S extends z.ZodType>(layout: string, file: string, schema: S): z.output<S> {
  const path = join(layout, file);
  let value: unknown;
  try {
    if (statSync(path).size > mostJsonBytes) throw new RangeError(`it is larger than ${mostJsonBytes} bytes`);
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw unreadable(layout, `${file} cannot be read: ${(cause as Error).message}`);
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { path: at, message } = result.error.issues[0]!;
  throw unreadable(layout, [file, ...(at.length === 0 ? [] : [at.join('.')]), message].join(': '));
}

function unreadable(layout: string, why: string, fix = 'copy or pull the image again'): LodgeError {
  return new LodgeError('image-unreadable', `this OCI image cannot be used: ${why}`, { where: layout, fix });
}
