/** Names of images in the store. */

import { LodgeError } from '../errors.ts';
import { nearest } from '../nearest.ts';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const reservedNames = new Set(['host']);

/** Whether this can be the name of an image. */
export function isName(name: string): boolean {
  return namePattern.test(name) && !reservedNames.has(name);
}

/** @throws LodgeError `spec-value` for what cannot be the name of an image */
export function checkName(name: string): void {
  if (isName(name)) return;
  throw new LodgeError('spec-value', `'${name}' cannot be the name of an image`, {
    fix: "use letters, digits, '.', '_' and '-', beginning with a letter or digit; 'host' is taken",
  });
}

/** @param known names of the images that there are */
export function unknownName(name: string, known: readonly string[]): LodgeError {
  if (reservedNames.has(name)) {
    const fix = known.length === 0 ? 'lodge image build --help' : `images: ${known.join(', ')}`;
    const what = `'${name}' is the root of this host itself, and not in the store`;
    return new LodgeError('image-not-found', what, { fix });
  }
  const near = nearest(name, [...known, ...reservedNames]);
  return new LodgeError('image-not-found', `there is no image '${name}'`, {
    fix:
      near === undefined
        ? `known images: ${['host', ...known].join(', ')}; for a file, write a path: ./${name}`
        : `did you mean '${near}'? For a file, write a path: ./${name}`,
  });
}
