/** A recipe: what an image is made of, as people write it. */

import { existsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import * as z from 'zod';
import { checkValue } from '../../check-value.ts';
import { parseYaml, readDocument } from '../../document.ts';
import { LodgeError } from '../../errors.ts';
import { filesystems } from './pack.ts';

const absolutePath = z
  .string()
  .regex(/^\/[^\0]*$/, 'write an absolute path')
  .refine((path) => !path.split('/').includes('..'), 'write a path without ..');
const word = (what: string) => z.string().regex(/^[a-z0-9][a-z0-9.+:~-]*$/, `this is not ${what}`);
/** The kernel takes no longer string in an environment. */
const longestCommandBytes = 100_000;

const file = z
  .strictObject({
    to: absolutePath.describe('where it is in the image'),
    from: z.string().min(1).optional().describe('a file or directory, relative to the recipe'),
    content: z.string().optional().describe('its text, in place of `from`'),
    mode: z
      .string()
      .regex(/^[0-7]{3,4}$/, 'write the mode in octal and in quotes: "0755"')
      .optional()
      .describe('of a file; without it, executable if `from` is'),
  })
  .refine(({ from, content }) => (from === undefined) !== (content === undefined), {
    message: 'a file has either `from` or `content`',
  })
  .refine(({ to }) => to !== '/', { message: 'a file needs a name in the image', path: ['to'] });

export const recipeSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, "use letters, digits, '.', '_' and '-'")
    .describe('what the image is called in the store'),
  base: z.strictObject({
    suite: word('the name of a suite').describe('of Debian or a distribution made like it: `bookworm`'),
    components: z.array(word('a component')).min(1).optional().describe('default: those of the host'),
    mirror: z.url().optional().describe("default: the host's own package sources"),
    variant: z
      .enum(['essential', 'minbase', 'apt'])
      .default('minbase')
      .describe('the packages it begins with, as mmdebstrap calls them'),
  }),
  packages: z.array(word('the name of a package')).default([]),
  exclude: z
    .array(absolutePath.refine((path) => !path.includes('\n'), 'write a path in one line'))
    .default([])
    .describe('paths (with `*`) that packages are not to bring'),
  files: z.array(file).default([]).describe('put into the image after the packages'),
  commands: z
    .array(z.string().min(1).max(longestCommandBytes))
    .default([])
    .describe('run in the image as root, by its /bin/sh, after the files'),
  env: z
    .record(z.string().regex(/^[A-Za-z_]\w*$/, 'this cannot be the name of a variable'), z.string())
    .default({}),
  cwd: absolutePath.optional(),
  entrypoint: z.array(z.string()).min(1).optional().describe("put before the command's arguments"),
  command: z.array(z.string()).min(1).optional().describe('run when no command is given'),
  kernel: z.string().min(1).optional().describe('a kernel file (bzImage), relative to the recipe'),
  filesystem: z.enum(filesystems).default('squashfs'),
});

export type Recipe = z.output<typeof recipeSchema>;
export type RecipeInput = z.input<typeof recipeSchema>;

/** Reads a recipe file. @throws LodgeError `image-not-found`, `usage`, `spec-syntax`, `spec-unknown-key`, `spec-value` */
export function readRecipe(path: string): { recipe: Recipe; directory: string } {
  if (!existsSync(path)) {
    throw new LodgeError('image-not-found', 'there is no such recipe', {
      where: path,
      fix: 'give a recipe file (./NAME.yaml) or the name of one that lodge ships (debian-hpc)',
    });
  }
  const text = readDocument(path, path);
  return { recipe: parseYaml(text, recipeSchema, path), directory: dirname(resolve(path)) };
}

/** Checks a recipe that is a value already. @throws LodgeError as {@link readRecipe} */
export function checkRecipe(value: RecipeInput): Recipe {
  return checkValue(value, recipeSchema, (path) => `recipe.${path.join('.')}`);
}
