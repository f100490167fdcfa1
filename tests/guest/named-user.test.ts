import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LodgeError } from '../../src/errors.ts';
import { findUser } from '../../src/guest/named-user.ts';

const passwd = `root:x:0:0:root:/root:/bin/bash
bad line
worse:x:y:z:::
www:x:33:30:web:/var/www:/bin/false
1000:x:7:7::/named:/bin/sh
ada:x:1000:100::/home/ada:/bin/zsh
homeless:x:1001:1001:::/bin/sh
`;
const group = `root:x:0:
staff:x:50:www,ada
adm:x:4:ada
users:x:100:ada
`;

describe('a user looked up in a guest', () => {
  it('is found by name or number, with the groups it is in', () => {
    expect(findUser('root', passwd, group)).toEqual({
      name: 'root',
      uid: 0,
      gid: 0,
      groups: [0],
      home: '/root',
    });
    const www = { name: 'www', uid: 33, gid: 30, groups: [30, 50], home: '/var/www' };
    expect(findUser('www', passwd, group)).toEqual(www);
    expect(findUser('33', passwd, group)).toEqual(www);
    expect(findUser('ada', passwd, group).groups).toEqual([100, 50, 4]);
    expect(findUser('homeless', passwd, group).home).toBe('/');
  });

  it('whose group is given is in that alone', () => {
    expect(findUser('ada:staff', passwd, group)).toMatchObject({ uid: 1000, gid: 50, groups: [50] });
    expect(findUser('ada:7', passwd, group)).toMatchObject({ gid: 7, groups: [7] });
  });

  it('needs no entry when it is a number', () => {
    expect(findUser('4711', passwd, group)).toEqual({
      ...{ name: 'user4711', uid: 4711, gid: 4711, groups: [4711], home: '/' },
    });
    expect(findUser('4711:0', '', '')).toMatchObject({ uid: 4711, gid: 0, groups: [0] });
  });

  it.each(['nosuch', 'ada:nosuch', 'worse', 'y', '', 'a:b:c', '9999999999'])('%o is refused', (text) => {
    expect(() => findUser(text, passwd, group)).toThrow(LodgeError);
  });

  it('never has numbers that are none, whatever the files hold', () => {
    const field = fc.constantFrom('a', '0', '-1', '99999999999', '', 'x\0');
    const file = fc
      .array(fc.array(field, { maxLength: 8 }).map((row) => row.join(':')))
      .map((rows) => rows.join('\n'));
    fc.assert(
      fc.property(field, file, file, (text, users, groups) => {
        try {
          const { uid, gid, groups: all } = findUser(text, users, groups);
          for (const id of [uid, gid, ...all])
            expect(id >= 0 && id < 2 ** 32 && Number.isInteger(id)).toBe(true);
        } catch (error) {
          expect(error).toMatchObject({ code: 'no-such-user' });
        }
      }),
    );
  });
});
