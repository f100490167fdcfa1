/** How people and images name a user: `NAME` or `UID`, either with `:GROUP` or `:GID`. */

export interface UserText {
  who: string;
  group?: string;
}

const largestId = 0xffff_fffe;

/** Whether a text is the number of a user or group. */
export function isId(text: string): boolean {
  return /^\d{1,10}$/.test(text) && Number(text) <= largestId;
}

/** The parts of a text; undefined when it can name nobody. */
export function parseUserText(text: string): UserText | undefined {
  const match = /^([^\s:/]+)(?::([^\s:/]+))?$/.exec(text);
  const [, who, group] = match ?? [];
  if (who === undefined) return undefined;
  const canBe = (part: string): boolean => !/^\d+$/.test(part) || isId(part);
  if (!canBe(who) || (group !== undefined && !canBe(group))) return undefined;
  return group === undefined ? { who } : { who, group };
}
