/** What a saved cluster needs of the store of images: its guests go on from what they were started from. */

import { LodgeError } from '../../errors.ts';
import type { GuestPlan } from '../../guest/plan.ts';
import { imageFileOf } from '../../guest/saved.ts';
import { foldHostList } from '../../host-list.ts';
import type { Store } from '../../image/store.ts';

/** An object of the store, as it is told of where it is missing. */
export interface SavedObject {
  /** `image`, `kernel`… */
  kind: string;
  /** What it was made from. */
  source: string;
}

/** What the objects that guests run from are, by id; those that cannot be read any more are not there. */
export async function describeObjects(
  plans: readonly GuestPlan[],
  store: Store,
): Promise<Record<string, SavedObject>> {
  const ids = [...new Set(plans.flatMap(({ objects }) => objects))];
  const known = await Promise.all(
    ids.map(async (id): Promise<[string, SavedObject][]> => {
      const manifest = await store.manifest(id).catch(() => undefined);
      return manifest === undefined ? [] : [[id, { kind: manifest.kind, source: manifest.source }]];
    }),
  );
  return Object.fromEntries(known.flat());
}

/** What there is now of what guests need. */
export interface ImagesNow {
  hasObject(id: string): boolean;
  hasFile(path: string): boolean;
  /** The content that an image's name has; undefined when there is no image of that name. */
  contentOf(name: string): string | undefined;
}

/**
 * Whether all that guests were started from is still there.
 * @param plans of the guests as they are to go on, by host name
 * @param objects what is known of what they need
 * @throws LodgeError `image-not-found` naming all that is missing
 */
export function requireImages(
  plans: ReadonlyMap<string, GuestPlan>,
  objects: Readonly<Record<string, SavedObject>>,
  now: ImagesNow,
): void {
  const missing = new Map<string, Missing>();
  for (const [guest, plan] of plans) {
    for (const one of missingOf(plan, objects, now)) {
      const known = missing.get(one.what) ?? { ...one, guests: [] };
      missing.set(one.what, { ...known, guests: [...known.guests, guest] });
    }
  }
  // The image is what people know; a kernel that is gone with it comes back with it.
  const [first] = [...missing.values()].sort((a, b) => Number(b.isImage) - Number(a.isImage));
  if (first === undefined) return;
  throw new LodgeError('image-not-found', first.message, {
    detail: [...missing.values()].map(({ guests, what }) => `${foldHostList(guests)}: ${what}`).join('\n'),
    fix: first.fix,
  });
}

interface Missing {
  /** The same for all guests that lack the same. */
  what: string;
  message: string;
  fix: string;
  isImage: boolean;
  guests: string[];
}

function missingOf(
  plan: GuestPlan,
  objects: Readonly<Record<string, SavedObject>>,
  now: ImagesNow,
): Omit<Missing, 'guests'>[] {
  const { image } = plan;
  const lost = plan.objects.filter((id) => !now.hasObject(id));
  const missing = lost.map((id) => {
    const known = objects[id];
    const from = known === undefined ? '' : `, made from ${known.source}`;
    // Images without an agent have no id of their own: all that such a guest has of the store is its image's.
    const isImage = known === undefined ? image.kind !== 'linux' || image.id === id : known.kind === 'image';
    return isImage
      ? {
          ...{ isImage, what: `image '${image.name}', content ${id}${from}` },
          message:
            now.contentOf(image.name) === undefined
              ? `there is no image '${image.name}' in the store any more, from which guests of this checkpoint run`
              : `image '${image.name}' is another one than when guests of this checkpoint were started from it`,
          fix: `they go on from that content alone: bring back its export (lodge image import FILE --name ${image.name}), or make it again from the same (lodge image build); lodge image inspect ${image.name} prints what it has`,
        }
      : {
          ...{ isImage, what: `${known?.kind ?? 'kernel'}, content ${id}${from}` },
          message: `the store has not the ${known?.kind ?? 'kernel'} any more with which guests of this checkpoint run`,
          fix: `have it made again as then, by the lodge and on the kernel of then: lodge run --image ${image.name} -- true`,
        };
  });
  const file = imageFileOf(plan);
  if (file === undefined || plan.objects.some((id) => file.includes(`/${id}/`)) || now.hasFile(file))
    return missing;
  return [
    ...missing,
    {
      isImage: true,
      what: `image '${image.name}', the file ${file}`,
      message: `there is no file '${file}' any more, from which guests of this checkpoint run`,
      fix: 'put it back there as it was: they go on from that content alone',
    },
  ];
}
