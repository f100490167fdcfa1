// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the scripts are for a shell

/**
 * What every driver must do: one set of tests, run against real guests of each. All goes through shell scripts on the
 * host that lodge runs on, so that the same tests can be run on another host than this one.
 */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { installationDir } from '../../src/installation.ts';
import type { Accelerator } from '../../src/machine/accelerators.ts';

export interface HostRunOptions {
  stdin?: Uint8Array | string;
  env?: Readonly<Record<string, string>>;
  cwd?: string;
  timeoutMs?: number;
}

export interface HostResult {
  /** Exit code, or 128 + n for signal n. */
  code: number;
  stdout: string;
  stderr: string;
}

/** A host that lodge is on; it has the same files as this one, at the same paths. */
export interface Host {
  run(argv: readonly string[], options?: HostRunOptions): Promise<HostResult>;
}

export interface ConformanceOptions {
  openHost: () => Promise<Host>;
  /** Set on the host for all that is run. */
  env?: Readonly<Record<string, string>>;
  /** How much goes through standard input and back. */
  bulkMib?: number;
  /** Commands that run at once in one guest. */
  crowd?: number;
  /** Limit of one test: a guard against hanging. */
  timeoutMs?: number;
}

/** What not every driver can do. */
interface Capabilities {
  /** The guest has a kernel: its size is what was asked for, and it can go down by itself. */
  ownKernel: boolean;
  /** What root of the guest mounts is bound by more than the rights of who runs it. */
  keepsRootOut: boolean;
}

const capabilities: Readonly<Record<Accelerator, Capabilities>> = {
  kvm: { ownKernel: true, keepsRootOut: true },
  tcg: { ownKernel: true, keepsRootOut: true },
  // User-mode Linux runs with its user's rights.
  uml: { ownKernel: true, keepsRootOut: false },
  netns: { ownKernel: false, keepsRootOut: true },
};

/** What every script starts with. */
const prelude = `
set -u
lodge() { "$LODGE" "$@"; }
guest() { "$LODGE" exec "$G" -- "$@"; }
fail() { echo "$*" >&2; exit 99; }
until_ok() { for _ in $(seq 1200); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done; fail "never: $*"; }
agent() {
  for p in /proc/[0-9]*; do
    mapfile -d '' -t words 2>/dev/null <"$p/cmdline" || continue
    [[ "\${words[*]}" == *node*/dist/*" agent" ]] || continue
    grep -qzxF "LODGE_RUNTIME_DIR=$LODGE_RUNTIME_DIR" "$p/environ" 2>/dev/null && echo "\${p#/proc/}"
  done
}
left() {
  for p in /proc/[0-9]*; do
    mapfile -d '' -t words 2>/dev/null <"$p/cmdline" || continue
    [[ "\${words[*]}" == *"$LODGE_RUNTIME_DIR/"* ]] && echo "process \${p#/proc/}: \${words[*]}"
  done
  ls -A "$LODGE_RUNTIME_DIR/guests" "$LODGE_RUNTIME_DIR/making" 2>/dev/null | grep -v ':$' | grep .
}
`;

/** Defines the tests for one accelerator. */
export function defineConformance(accelerator: Accelerator, options: ConformanceOptions): void {
  const isFull = process.env.LODGE_TEST_FULL === '1';
  const { bulkMib = 16, crowd = isFull ? 50 : 12, timeoutMs = 300_000 } = options;
  const able = capabilities[accelerator];
  /** The guest that most tests share, because starting one takes seconds. */
  const shared = 'shared';

  describe(`a guest under ${accelerator}`, () => {
    let host: Host;
    let base = '';
    let work = '';

    /** Runs a bash script in the working directory; `$G` is the shared guest, `$A` the accelerator. */
    function bash(
      script: string,
      more: HostRunOptions = {},
      words: readonly string[] = [],
    ): Promise<HostResult> {
      return host.run(['bash', '-c', prelude + script, 'bash', ...words], {
        cwd: work,
        timeoutMs,
        ...more,
        env: {
          ...options.env,
          LODGE: join(installationDir, 'lodge'),
          LODGE_RUNTIME_DIR: `${base}/run`,
          A: accelerator,
          G: shared,
          ...more.env,
        },
      });
    }

    /** What a script prints; it has to end well. */
    async function output(script: string, more: HostRunOptions = {}): Promise<string> {
      const { code, stdout, stderr } = await bash(script, more);
      expect({ code, stdout, stderr }).toMatchObject({ code: 0 });
      return stdout;
    }

    beforeAll(async () => {
      host = await options.openHost();
      const made = await host.run([
        ...['bash', '-c'],
        'b=$(mktemp -d /tmp/lg-XXXXXX) && mkdir -m 700 $b/run $b/work $b/ro $b/rw && printf $b',
      ]);
      base = made.stdout;
      work = `${base}/work`;
      await output(`
        echo from the host >../ro/file
        lodge run -d -a $A --name $G -v "${base}/ro:/mnt/ro:ro" -v "${base}/rw:/mnt/rw"`);
    }, timeoutMs);

    afterAll(async () => {
      const { stdout } = await bash(`
        lodge rm -f $(ls "$LODGE_RUNTIME_DIR/guests") >/dev/null 2>&1
        kill $(agent) 2>/dev/null
        for p in /proc/[0-9]*; do
          [ "$p" = /proc/$$ ] || ! grep -qzxF "LODGE_RUNTIME_DIR=$LODGE_RUNTIME_DIR" "$p/environ" 2>/dev/null || kill "\${p#/proc/}" 2>/dev/null
        done
        for _ in $(seq 200); do [ -z "$(agent; left)" ] && break; sleep 0.05; done
        agent; left; rm -rf "${base}"`);
      expect(stdout).toBe('');
    }, timeoutMs);

    const test = (name: string, body: () => Promise<void>): void => {
      it(name, body, timeoutMs + 10_000);
    };
    const testIf = (isTried: boolean, name: string, body: () => Promise<void>): void => {
      if (isTried || isFull) test(name, body);
      else it.skip(name, body);
    };
    /** Of channels and files as guests with kernels have them. */
    const testKernels = (name: string, body: () => Promise<void>): void => testIf(able.ownKernel, name, body);
    /** Of what lodge and the agent do by themselves, the same for every driver: the fastest with a kernel proves it. */
    const testAlike = (name: string, body: () => Promise<void>): void =>
      testIf(accelerator === 'uml', name, body);

    describe('a command', () => {
      test('has its exit code, its streams kept apart and nothing of lodge in them', async () => {
        expect(await bash(`guest sh -c 'printf out; printf err >&2; exit 7'`)).toEqual(
          expect.objectContaining({ code: 7, stdout: 'out', stderr: 'err' }),
        );
      });

      test('that is killed by signal n ends with 128 + n', async () => {
        const script = `for s in KILL SEGV TERM ABRT USR1; do guest sh -c "kill -$s \\$\\$"; echo $s $?; done`;
        expect(await output(script)).toBe('KILL 137\nSEGV 139\nTERM 143\nABRT 134\nUSR1 138\n');
      });

      testAlike('has the usual names of its own streams', async () => {
        const script = `echo in | guest bash -c 'cat /dev/stdin; echo err >/dev/stderr; cat <(echo fd)' 2>err; cat err`;
        expect(await output(script)).toBe('in\nfd\nerr\n');
      });

      testAlike('gets its arguments as they are', async () => {
        const words = [
          '',
          ' ',
          "it's",
          'a"b',
          '$HOME',
          '*',
          'two\nlines',
          'tab\there',
          '\\',
          'ü…🙂',
          '--',
          '-c',
        ];
        const { stdout } = await bash('guest printf "[%s]" "$@"', {}, words);
        expect(stdout).toBe(words.map((word) => `[${word}]`).join(''));
      });

      test('passes any bytes through all three streams', async () => {
        await output(`
          head -c 3000001 /dev/urandom >in
          guest sh -c 'tee /proc/self/fd/2' <in >out 2>err || fail "exit $?"
          cmp in out && cmp in err`);
      });

      test('passes much through standard input and output', async () => {
        await output(`
          head -c ${bulkMib}M /dev/urandom >bulk
          for round in 1 2; do
            guest cat <bulk >bulk.out || fail "round $round: exit $?"
            cmp bulk bulk.out || exit 98
          done
          guest sha256sum <bulk | cut -c 1-64 >sum
          [ "$(cat sum)" = "$(sha256sum bulk | cut -c 1-64)" ]
          rm bulk bulk.out`);
      });

      test('sees the end of an empty input, and of one that comes late', async () => {
        expect(await output('guest cat </dev/null; (sleep 0.5; echo late) | guest cat')).toBe('late\n');
      });

      testAlike('need not read its input', async () => {
        expect(
          await output(`head -c 20M /dev/zero | guest sh -c "echo done; exit 3"; echo "\${PIPESTATUS[1]}"`),
        ).toBe('done\n3\n');
      });

      test('ends as a local one does when its reader goes away', async () => {
        expect(await output(`guest yes | head -c 10 | od -An -c; echo "\${PIPESTATUS[0]}"`)).toMatch(
          /\n141\n$/,
        );
      });

      testKernels('waits for a reader that is slow', async () => {
        expect(await output('guest head -c 9000001 /dev/zero | (sleep 2; wc -c)')).toBe('9000001\n');
      });

      test('is not held up by what it leaves in the background', async () => {
        expect(await output('guest sh -c "sleep 3600 & echo started"')).toBe('started\n');
      });

      test('is the same user in the same groups as here', async () => {
        await output('id >here; guest id >there; cmp here there');
      });

      test('is another user when asked', async () => {
        const script =
          'lodge exec -u 1234:5678 --cwd / $G -- sh -c "id -u; id -g; id -G"; lodge exec -u root $G -- id -u';
        expect(await output(script)).toBe('1234\n5678\n5678\n0\n');
        const named = 'lodge exec -u nobody:root --cwd / $G -- sh -c "id -un; id -gn; echo \\$USER"';
        expect(await output(named)).toBe('nobody\nroot\nnobody\n');
        expect(await bash('lodge exec -u no-such-user $G -- true')).toMatchObject({
          code: 125,
          stderr: expect.stringContaining('[no-such-user]'),
        });
      });

      test('has the working directory, home and environment of here', async () => {
        const script = `
          export ODD=$'two\\nlines "and" \\'quotes\\'' EMPTY= NODE_EXTRA_CA_CERTS=/our.pem
          guest sh -c 'pwd; echo "$HOME"; printf "%s|%s|%s" "$ODD" "\${EMPTY-unset}" "$NODE_EXTRA_CA_CERTS"; env | grep -c LODGE_NODE' >there
          { pwd; echo "$HOME"; printf '%s||%s' "$ODD" /our.pem; echo 0; } >here
          cmp here there`;
        await output(script);
      });

      testAlike('starts with a clean environment when asked, and with what is added', async () => {
        const script = `
          export SECRET=1 PASSED=here
          lodge exec --cleanenv -e ADDED=a=b -e PASSED $G -- env | sort`;
        const names = (await output(script)).split('\n');
        expect(names).toContain('ADDED=a=b');
        expect(names).toContain('PASSED=here');
        expect(names.filter((line) => /^(SECRET|LODGE|A|G)=/.test(line))).toEqual([]);
        expect(names.some((line) => line.startsWith('PATH=/'))).toBe(true);
      });

      test('runs in another directory when asked', async () => {
        expect(await output('lodge exec --cwd /usr/lib $G -- pwd')).toBe('/usr/lib\n');
      });

      test('that is not there, cannot be run or has no directory is told apart', async () => {
        const script = `
          echo text >plain
          t() { "$@" 2>err; echo "$? $(grep -o '\\[[a-z-]*\\]' err)"; }
          t guest nosuchprogram; t guest ./nosuchprogram; t guest ./plain; t guest /usr
          t lodge exec --cwd /no/such/directory $G -- true`;
        expect(await output(script)).toBe(
          '127 [command-not-found]\n127 [command-not-found]\n126 [command-not-executable]\n' +
            '126 [command-not-executable]\n126 [command-not-executable]\n',
        );
      });

      test('sees its own name', async () => {
        expect(await output('guest uname -n; guest cat /etc/hostname')).toBe(`${shared}\n${shared}\n`);
      });

      if (able.ownKernel) {
        test('sees all CPUs and the memory that were asked for', async () => {
          const [cpus, memory] = (await output(`guest sh -c 'nproc; grep MemTotal /proc/meminfo'`)).split(
            '\n',
          );
          expect(cpus).toBe('1');
          expect(Number(/\d+/.exec(memory!)?.[0])).toBeGreaterThan(900_000);
        });
      }
    });

    describe('files', () => {
      test('written by the command are here at once, owned by who wrote them', async () => {
        const script = `
          guest sh -c 'umask 022; echo inside >from-guest; mkdir dir; ln -s from-guest link; chmod 640 from-guest'
          stat -c '%u:%g %a' from-guest; cat from-guest; readlink link; test -d dir; id -u >/dev/null
          [ "$(stat -c %u dir)" = "$(id -u)" ]`;
        const mine = (await output('echo "$(id -u):$(id -g)"')).trim();
        expect(await output(script)).toBe(`${mine} 640\ninside\nfrom-guest\n`);
      });

      testKernels('are made with the umask of whoever asks', async () => {
        const script = `umask 027; guest sh -c 'umask; echo >narrow; mkdir narrow-dir'; stat -c %a narrow narrow-dir`;
        expect(await output(script)).toBe('0027\n640\n750\n');
      });

      testAlike('are made with the umask that the command itself sets', async () => {
        const script = `
          guest sh -c 'umask 0; echo >wide; mkdir wide-dir'; stat -c %a wide wide-dir`;
        expect(await output(script)).toBe('666\n777\n');
      });

      test('written here are there while it runs, and the other way round', async () => {
        const script = `
          mkfifo answers
          guest sh -c 'for i in 1 2 3; do until [ -e ask$i ]; do sleep 0.2; done; read x <ask$i; echo "got $x" >reply$i; done' &
          for i in 1 2 3; do echo "word $i" >part; mv part ask$i; until_ok test -s reply$i; cat reply$i; done
          wait`;
        expect(await output(script)).toBe('got word 1\ngot word 2\ngot word 3\n');
      });

      testKernels('changed here while it runs are seen changed', async () => {
        const script = `
          echo one >changing; guest cat changing
          echo three times longer >changing; guest cat changing
          rm changing; guest cat changing 2>/dev/null; echo $?`;
        expect(await output(script)).toBe('one\nthree times longer\n1\n');
      });

      test('in a read-only volume can be read and nothing else', async () => {
        const script = `
          guest cat /mnt/ro/file
          guest sh -c 'echo x >/mnt/ro/file || rm /mnt/ro/file || mkdir /mnt/ro/new' 2>err
          grep -c 'Read-only' err; cat ../ro/file; ls ../ro`;
        expect(await output(script)).toBe('from the host\n3\nfrom the host\nfile\n');
      });

      if (able.keepsRootOut) {
        test('in a read-only volume cannot be changed by root of the guest either', async () => {
          const script = `
            guest sh -c 'mount -o remount,rw /mnt/ro; echo x >/mnt/ro/file' 2>/dev/null; echo $?; cat ../ro/file`;
          expect(await output(script)).toMatch(/^[1-9]\d*\nfrom the host\n$/);
        });
      }

      test('in a volume can be written, whatever its path is there', async () => {
        expect(await output(`guest sh -c 'echo written >/mnt/rw/new'; cat ../rw/new`)).toBe('written\n');
      });

      test('of the root are thrown away', async () => {
        const script = `
          guest sh -c 'echo changed >/etc/lodge-conformance; rm /etc/hostname; cat /etc/lodge-conformance'
          ls /etc/lodge-conformance 2>/dev/null || echo not here`;
        expect(await output(script)).toBe('changed\nnot here\n');
      });

      test('in /tmp are its own', async () => {
        const script = `
          mark=/tmp/lodge-conformance-$$
          echo here >$mark; guest cat $mark 2>/dev/null || echo not there
          guest sh -c "echo there >$mark"; cat $mark; rm $mark`;
        expect(await output(script)).toBe('not there\nhere\n');
      });

      test('are copied in and out, with modes, links and any names', async () => {
        const script = `
          mkdir -p tree/sub $'tree/two words\\nand lines'
          head -c 200000 /dev/urandom >tree/data; chmod 741 tree/data; ln -s data tree/link; : >tree/sub/-dash
          echo odd >$'tree/two words\\nand lines/file'
          : >$'tree/no text \\xff'
          lodge cp tree $G:/opt/tree && lodge cp $G:/opt/tree back && diff -r tree back || exit 97
          stat -c %a back/data; readlink back/link
          odd=$'odd name\\nof a file'; echo odd >"$odd"
          lodge cp "$odd" $G:/opt/ && lodge cp "$G:/opt/$odd" ./returned && cmp "$odd" returned || exit 96
          lodge cp tree/data $G:/opt/renamed && lodge cp $G:/opt/renamed tree/sub && cmp tree/data tree/sub/renamed || exit 95
          ls -A | grep lodge-cp; guest sh -c 'ls -A /opt | grep lodge-cp'; echo nothing`;
        expect(await output(script)).toBe('741\ndata\nnothing\n');
      });

      testAlike('are copied from directories that the guest has not', async () => {
        const script = `
          elsewhere=/tmp/lodge-elsewhere-$$; mkdir $elsewhere; cd $elsewhere
          echo here >file; lodge cp file $G:/opt/elsewhere && lodge cp $G:/opt/elsewhere back && cat back
          cd /; rm -r $elsewhere`;
        expect(await output(script)).toBe('here\n');
      });

      testAlike('that are links where they are named come as what these lead to', async () => {
        const script = `
          guest sh -c 'mkdir /opt/l; echo there >/opt/l/file; ln -s l/file /opt/alias; ln -s l /opt/aliases; ln -s nowhere /opt/broken'
          lodge cp $G:/opt/alias . && test ! -L alias && cat alias; lodge cp $G:/opt/aliases ./own && ls own
          echo here >file; ln -s file name; lodge cp name $G:/opt/ && guest sh -c 'test ! -L /opt/name && cat /opt/name'
          ln -s nowhere broken; for c in "broken $G:/opt/new" "$G:/opt/broken ."; do lodge cp $c 2>&1 | grep -o '\\[.*\\]'; done
          ls -A | grep lodge-cp; echo nothing`;
        expect(await output(script)).toBe('there\nfile\nhere\n[copy-failed]\n[copy-failed]\nnothing\n');
      });

      testAlike('go where a link leads, and never in the place of a device', async () => {
        const script = `
          echo old >pointed; ln -s pointed pointer; lodge cp $G:/etc/hostname pointer; readlink pointer; cmp pointed <(guest cat /etc/hostname)
          mkfifo pipe; lodge cp $G:/etc/hostname pipe 2>&1 | grep -o '\\[.*\\]'; test -p pipe
          guest sh -c 'cp /bin/true /tmp/suid; chmod 6755 /tmp/suid'; lodge cp $G:/tmp/suid .; stat -c %a suid`;
        expect(await output(script)).toBe('pointed\n[copy-failed]\n755\n');
      });

      testAlike('go where a link leads in the guest, too, and into directories that are there', async () => {
        const script = `
          guest sh -c 'mkdir /opt/p; cd /opt/p; echo old >pointed; ln -s pointed pointer; ln -s nowhere broken; mkfifo pipe'; mkdir from; echo new >from/pipe; cd from
          t() { lodge cp "$@" 2>&1 | grep -o -e '\\[.*\\]' -e 'no such directory' -e 'no file is there' -e 'leads nowhere' | paste -sd ' '; }
          t pipe $G:/opt/p/pointer; t pipe $G:/opt/p/broken; t pipe $G:/opt/p; t pipe $G:/opt/p/pointed/; t pipe $G:/opt/p/none/; t $G:/etc/hostname none/
          guest sh -c 'cd /opt/p; cat pointed; test -L pointer -a -L broken -a -p pipe && ls -A'; ls -d none 2>/dev/null || echo none`;
        expect(await output(script)).toBe(
          '\n[copy-failed] leads nowhere\n[copy-failed] no file is there\n[copy-failed] no such directory\n' +
            '[copy-failed] no such directory\nno such directory [copy-failed]\nnew\nbroken\npipe\npointed\npointer\nnone\n',
        );
      });

      testAlike('that fill the disk here are told as that, and leave nothing', async () => {
        const script = `
          guest sh -c 'head -c 3M /dev/zero >/opt/three'; mkdir small
          LODGE=$LODGE unshare -rm sh -c 'mount -t tmpfs -o size=1M small small && "$LODGE" cp '$G':/opt/three small/ 2>said; ls -A small'
          grep -o -e '\\[.*\\]' -e 'df -h .*small' said`;
        expect(await output(script)).toMatch(/^\[disk-full\]\ndf -h \S+\/small\n$/);
      });

      testAlike('on their way when lodge is told to end are gone', async () => {
        const script = `
          truncate -s 4G endless; "$LODGE" cp endless $G:/opt/ & copy=$!
          there() { guest sh -c 'ls -A /opt | grep -q lodge-cp'; }
          until there || ! kill -0 $copy; do :; done; kill $copy; wait $copy
          for try in $(seq 50); do there || break; sleep 0.1; done; there && echo left || echo nothing`;
        expect(await output(script)).toBe('nothing\n');
      });

      testAlike('that cannot be copied are told, and leave nothing', async () => {
        const script = `
          t() { "$@" 2>err; echo "$? $(grep -o '\\[[a-z-]*\\]' err)"; }
          t lodge cp nosuchfile $G:/opt/; t lodge cp $G:/opt/nosuchfile .; t lodge cp $G:/etc/passwd ./no/such/dir/file
          echo x >x; t lodge cp x $G:/no/such/dir/file; t lodge cp x y; t lodge cp $G:/etc/.. .; t lodge cp nosuch:/etc/passwd .; t lodge cp x nosuch:/
          guest mkdir /opt/tree2; t lodge cp $G:/etc/passwd x/y; t lodge cp $G:/opt/tree2 x; t lodge cp $G:/proc/version .
          mkdir bare; for p in sh node dirname readlink; do ln -s "$(type -P $p)" bare; done
          for c in "x $G:/opt/" "$G:/etc/passwd ."; do t env PATH=$PWD/bare $LODGE cp $c; done
          ls -A | grep -e lodge-cp -e passwd -e version; guest sh -c 'ls -A / /opt | grep lodge-cp'; echo nothing`;
        expect(await output(script)).toBe(
          '125 [copy-failed]\n125 [copy-failed]\n125 [copy-failed]\n125 [copy-failed]\n' +
            '125 [usage]\n125 [usage]\n125 [no-such-guest]\n125 [no-such-guest]\n' +
            '125 [copy-failed]\n125 [copy-failed]\n125 [copy-failed]\n125 [copy-failed]\n125 [copy-failed]\nnothing\n',
        );
      });
    });

    describe('a terminal', () => {
      /** Runs a line on a terminal of its own: `$keys` is what types there. */
      const onTerminal = (line: string, rest = ''): string => `
        rm -f ready tty; mkfifo keys.$$; exec 9<>keys.$$; keys=keys.$$
        cat >line.sh <<'END'
        tty >tty; stty rows 33 cols 101; stty -a >before
        ${line}
        code=$?; stty -a >after; exit $code
END
        SHELL=/bin/bash script -qec 'bash line.sh' /dev/null <&9 >screen 2>&1 &
        pid=$!
        ${rest}
        wait $pid; echo "exit $?"; cmp before after && tr -d '\\r\\000' <screen
        if grep -q $'\\r\\r' screen; then echo 'line ends were made twice'; fi`;

      test('is there when there is one here, as large as here', async () => {
        const script = onTerminal(`"$LODGE" exec $G -- sh -c 'tty; stty size; test -t 2 && echo all'`);
        expect(await output(script)).toMatch(/^exit 0\n(\^@)?\/dev\/pts\/\d+\n33 101\nall\n$/);
      });

      testAlike('is resized with ours', async () => {
        const script = onTerminal(
          `"$LODGE" exec $G -- sh -c 'trap "stty size; exit 4" WINCH; : >ready; while :; do sleep 0.4; done'`,
          'until_ok test -e ready; stty -F $(cat tty) rows 50 cols 120',
        );
        expect(await output(script.replace('cmp before after &&', ''))).toMatch(/^exit 4\n(\^@)?50 120\n$/);
      });

      test('turns Ctrl-C into a signal there, and Ctrl-D into the end of input', async () => {
        const interrupted = onTerminal(
          `"$LODGE" exec $G -- sh -c ': >ready; exec sleep 1000'`,
          "until_ok test -e ready; sleep 0.2; printf '\\003' >&9",
        );
        expect(await output(interrupted)).toMatch(/^exit 130\n/);
        const ended = onTerminal(
          `"$LODGE" exec $G -- sh -c ': >ready; cat; echo ended'`,
          "until_ok test -e ready; sleep 0.2; printf 'typed\\n\\004' >&9",
        );
        expect(await output(ended)).toMatch(/^exit 0\n(\^@)?typed\ntyped\nended\n$/);
      });

      testAlike(
        'is left alone by a job in the background, which goes on, and is read once that is in front',
        async () => {
          const script = onTerminal(
            `set -m; "$LODGE" exec $G -- sh -c 'test -t 1 || echo none' >first & wait %1; echo "code $?"
        "$LODGE" exec $G -- sh -c ': >ready; cat' >typed & until [ -e ready ]; do sleep 0.05; done; fg >/dev/null; cat first typed`,
            "until_ok test -e ready; sleep 0.5; printf 'text\\n\\004' >&9",
          );
          expect(await output(script)).toMatch(/^exit 0\n(\^@)?code 0\n(text\n)?none\ntext\n$/);
        },
      );

      testAlike('that goes away is told to the command by a signal', async () => {
        const script = onTerminal(
          `trap : HUP; "$LODGE" exec $G -- sh -c ': >ready; exec sleep 1000'; echo $? >code`,
          'until_ok test -e ready; kill -9 $pid; until_ok test -s code; cat code',
        );
        expect(await output(script)).toMatch(/^129\nexit 137\n/);
      });

      testAlike('lets a person out who presses Ctrl-] three times, whatever the command does', async () => {
        const script = onTerminal(
          `"$LODGE" exec $G -- sh -c 'trap "" INT; stty raw -echo; : >ready; while :; do sleep 0.1; done'`,
          "until_ok test -e ready; sleep 0.2; printf '\\003\\003\\035\\035\\035' >&9",
        );
        expect(await output(script)).toMatch(/^exit 130\n/);
      });

      test('is not there without one here, and is when asked for', async () => {
        const script = `guest sh -c 'test -t 0 || echo none'; echo text | lodge exec -t $G -- sh -c 'tty; read x; echo "$x"' | tr -d '\\r'`;
        expect(await output(script)).toMatch(/^none\n(text\n)?\/dev\/pts\/\d+\n(text\n)?text\n$/);
      });

      test('gives a shell', async () => {
        const script = onTerminal(
          `"$LODGE" shell --cleanenv -e HOME=/nonexistent $G`,
          `sleep 1; printf 'echo $((6*7)) >result; exit 5\\n' >&9`,
        );
        expect(await output(`${script} >/dev/null; cat result`)).toContain('42');
      });
    });

    describe('signals', () => {
      test('reach the command, which can handle them', async () => {
        const script = `
          set -m
          for s in INT TERM HUP USR1 USR2 QUIT; do
            rm -f ready
            "$LODGE" exec $G -- sh -c "trap 'echo got $s; exit 9' $s; : >ready; while :; do sleep 0.4; done" &
            p=$!; until_ok test -e ready; kill -$s $p; wait $p; echo $?
          done`;
        const expected = ['INT', 'TERM', 'HUP', 'USR1', 'USR2', 'QUIT']
          .map((name) => `got ${name}\n9\n`)
          .join('');
        expect(await output(script)).toBe(expected);
      });

      testAlike('end a command that does not handle them', async () => {
        const script = `
          set -m
          "$LODGE" exec $G -- sh -c ': >ready; exec sleep 1000' & p=$!
          until_ok test -e ready; kill -TERM $p; wait $p; echo $?`;
        expect(await output(`rm -f ready; ${script}`)).toBe('143\n');
      });

      testAlike('given twice end lodge, and the command with it', async () => {
        const script = `
          set -m; rm -f ready pid
          "$LODGE" exec $G -- sh -c 'trap "" INT; echo $$ >pid; : >ready; while :; do sleep 0.4; done' & p=$!
          until_ok test -e ready; kill -INT $p; sleep 0.3; kill -INT $p; wait $p; echo $?
          gone() { ! guest kill -0 $(cat pid); }
          until_ok gone; echo gone`;
        expect(await output(script)).toBe('130\ngone\n');
      });

      testAlike('that Slurm sends more than once leave the command its time to end', async () => {
        const script = `
          set -m; rm -f ready got
          "$LODGE" exec $G -- sh -c 'trap "echo got >>got" TERM HUP; : >ready; until [ -e done ]; do sleep 0.4; done; rm done; exit 7' & p=$!
          until_ok test -e ready
          for s in TERM TERM HUP HUP; do kill -$s $p; sleep 0.6; done
          : >done; wait $p; echo $?; sort -u got`;
        expect(await output(script)).toBe('7\ngot\n');
      });

      // As Slurm's proctrack/linuxproc does at a time limit. In a guest of namespaces these reach the commands, too.
      if (able.ownKernel)
        test('given to all processes of a step are for the command alone', async () => {
          const script = `
          set -m; rm -f ready got
          "$LODGE" run -a $A -- sh -c 'trap "echo got >>got" TERM; : >ready; until [ -e done ]; do sleep 0.4; done; rm done; exit 7' & p=$!
          until_ok test -e ready
          all() { echo $1; for child in $(pgrep -P $1); do all $child; done; }
          for s in CONT TERM CONT TERM; do kill -$s $(all $p); sleep 0.6; done
          : >done; wait $p; echo $?; sort -u got`;
          expect(await output(script)).toBe('7\ngot\n');
        });

      testAlike('that kill lodge at once end the command too', async () => {
        const script = `
          set -m; rm -f ready pid
          "$LODGE" exec $G -- sh -c 'echo $$ >pid; : >ready; while :; do sleep 0.4; done' & p=$!
          until_ok test -e ready; kill -KILL $p; wait $p 2>/dev/null; echo $?
          gone() { ! guest kill -0 $(cat pid); }
          until_ok gone; echo gone`;
        expect(await output(script)).toBe('137\ngone\n');
      });
    });

    test(`runs ${crowd} commands at once, each with its own output and code`, async () => {
      const script = `
        mkdir crowd
        for i in $(seq ${crowd}); do
          (echo in$i | guest sh -c "cat; echo out$i; echo err$i >&2; head -c 20000 /dev/zero | tr '\\\\0' x; exit $i" >crowd/o$i 2>crowd/e$i
           echo $? >crowd/c$i) &
        done
        wait
        for i in $(seq ${crowd}); do
          [ "$(cat crowd/c$i)" = $i ] && [ "$(cat crowd/e$i)" = err$i ] || fail "$i: $(cat crowd/c$i crowd/e$i)"
          { printf 'in%s\\nout%s\\n' $i $i; head -c 20000 /dev/zero | tr '\\0' x; } | cmp - crowd/o$i || fail "$i: output"
        done
        rm -r crowd`;
      await output(script);
    });

    describe('what is known of it', () => {
      test('is what it is', async () => {
        const guests = JSON.parse(await output('lodge --json ps')) as Record<string, unknown>[];
        expect(guests).toEqual([
          expect.objectContaining({
            name: shared,
            status: 'running',
            mode: 'detached',
            accelerator,
            image: 'host',
            cpus: 1,
            memoryBytes: 1024 ** 3,
            vmmPid: expect.any(Number),
            guestKernel: expect.stringMatching(/^\d+\.\d+/),
          }),
        ]);
        expect(await output('lodge ps')).toMatch(
          new RegExp(`^NAME +STATUS.*\\n${shared} +running .* detached *\\n$`),
        );
      });

      test('includes its console, without what a terminal would act on', async () => {
        const script = `
          guest sh -c "printf 'mark\\033[31m red\\a\\n' >/dev/console"
          logged() { lodge logs $G | grep -q 'mark red'; }; until_ok logged
          lodge logs $G | grep -c $'\\033'; lodge logs --raw $G | grep -c $'mark\\033.31m red\\a'`;
        expect(await output(script)).toBe('0\n1\n');
      });

      test('includes its console as it goes on', async () => {
        const script = `
          set -m
          (sleep 1000 & echo $! >sleeper; wait) | "$LODGE" console $G >shown &
          seen() { guest sh -c 'echo on the console >/dev/console'; grep -q 'on the console' shown; }
          until_ok seen; kill %1 $(cat sleeper) 2>/dev/null; echo seen`;
        expect(await output(script)).toBe('seen\n');
      });

      testAlike('keeps its name from others', async () => {
        const { code, stderr } = await bash('lodge run -a $A --name $G -- true');
        expect(code).toBe(125);
        expect(stderr).toContain('[name-taken]');
        expect(await output('guest echo still here')).toBe('still here\n');
      });
    });

    describe('when the host agent is killed', () => {
      test('the guest goes on and the next command finds it', async () => {
        const script = `
          guest sh -c 'echo $$ >/run/mark; while :; do sleep 1; done' & p=$!
          until_ok guest test -s /run/mark
          old=$(agent); kill -9 $old; wait $p; echo "code $?"
          lodge --json ps | grep -c '"status": "running"'
          guest cat /run/mark >/dev/null; echo "exec $?"
          new=$(agent); [ -n "$new" ] && [ "$new" != "$old" ] && echo adopted
          gone() { ! guest sh -c 'kill -0 $(cat /run/mark)'; }; until_ok gone; echo ended`;
        const { code, stdout, stderr } = await bash(script);
        expect({ code, stdout, stderr }).toMatchObject({
          code: 0,
          stdout: 'code 123\n1\nexec 0\nadopted\nended\n',
          stderr: expect.stringContaining('[channel-broken]'),
        });
      });

      testKernels('in the middle of much data, the next command has its own data only', async () => {
        // Both must have begun: one that comes later gets a new agent, and never ends.
        const script = `
          rm -f out-runs in-runs
          guest sh -c 'echo >out-runs; exec cat /dev/zero' >/dev/null 2>&1 &
          guest sh -c 'echo >in-runs; exec cat' </dev/zero >/dev/null 2>&1 &
          until_ok test -e out-runs -a -e in-runs; sleep 1; kill -9 $(agent); wait
          for i in 1 2 3; do head -c 300000 /dev/urandom >in; guest cat <in | cmp - in || exit 98; done`;
        await output(script);
      });
    });

    describe('in the foreground', () => {
      test('a command is run in a guest that is gone after it', async () => {
        const script = `
          head -c 1000001 /dev/urandom >in
          lodge run -a $A -- sh -c 'tee /proc/self/fd/2; pwd >where; exit 7' <in >out 2>err; echo $?
          cmp in out && cmp in err && cat where; lodge --json ps | grep -c '"name"'; ls "$LODGE_RUNTIME_DIR/guests"`;
        expect(await output(script)).toBe(`7\n${work}\n1\n${shared}\n`);
      });

      test('others reach it while it runs, and it ends as its command does', async () => {
        const script = `
          set -m; rm -f ready
          "$LODGE" run -a $A --name front -- sh -c 'trap "echo got TERM; kill -9 \\$\\$" TERM; : >ready; while :; do sleep 0.4; done' & p=$!
          until_ok test -e ready
          lodge exec front -- sh -c 'echo from outside; exit 3'; echo $?
          lodge ps | grep -c 'front *running.*foreground'
          lodge rm front 2>err; echo "$? $(grep -o '\\[[a-z-]*\\]' err)"
          kill -TERM $p; wait $p; echo $?; lodge ps | grep -c front; true`;
        expect(await output(script)).toBe('from outside\n3\n1\n125 [usage]\ngot TERM\n137\n0\n');
      });

      testAlike('two at the same moment are two guests', async () => {
        const script = `
          lodge run -a $A -- sh -c 'uname -n; cat' <<<one >out1 & lodge run -a $A -- sh -c 'uname -n; cat' <<<two >out2 &
          wait; cat out1 out2`;
        const [first, one, second, two] = (await output(script)).split('\n');
        expect([one, two]).toEqual(['one', 'two']);
        expect(first).not.toBe(second);
      });

      if (able.ownKernel) {
        test('a guest that reboots has ended, and runs nothing twice', async () => {
          const script = `
            rm -f ran; lodge run -a $A -u root -- sh -c 'echo ran >>ran; sync; echo b >/proc/sysrq-trigger; sleep 60' 2>err
            echo "$? $(grep -o '\\[[a-z-]*\\]' err | head -1)"; cat ran; ls "$LODGE_RUNTIME_DIR/guests"`;
          expect(await output(script)).toBe(`123 [guest-died]\nran\n${shared}\n`);
        });
      }

      testKernels('volumes and the home are what links to them lead to', async () => {
        const script = `
          mkdir -p real; echo mark >real/mark; ln -s real relative; export LODGE_DATA_DIR=\${LODGE_DATA_DIR:-$HOME/.local/share/lodge}
          HOME=$PWD/relative lodge run -a $A -v "$PWD/relative:/mnt/x" -- sh -c 'ls /mnt/x; cd; ls mark'`;
        expect(await output(script)).toBe('mark\nmark\n');
      });

      test('a volume keeps its files where lodge gives the guest names of its own', async () => {
        const script = `
          mkdir -p own; cp /etc/passwd /etc/group own; echo mine >own/hosts; echo mine >own/hostname; cp -a own before.own
          cd own; lodge run -a $A -v "$PWD:/etc" -- cat /etc/hosts; cd ..; diff -r own before.own`;
        expect(await output(script)).toBe('mine\n');
      });

      testKernels('being told to end twice ends it', async () => {
        const script = `
          set -m; rm -f ready
          "$LODGE" run -a $A --name front -- sh -c 'trap "" INT; : >ready; while :; do sleep 0.4; done' & p=$!
          until_ok test -e ready; kill -INT $p; sleep 0.3; kill -INT $p; wait $p; echo $?
          ls "$LODGE_RUNTIME_DIR/guests"`;
        expect(await output(script)).toBe(`130\n${shared}\n`);
      });
    });

    test('is stopped in good order, and removed without a trace', async () => {
      const script = `
        rm -f ended
        guest sh -c 'trap "echo asked >ended; exit 0" TERM; : >waiting; while :; do sleep 0.4; done' >/dev/null 2>&1 & p=$!
        until_ok test -e waiting
        guest sh -c 'echo last words >/dev/console'; said() { lodge logs $G | grep -q 'last words'; }; until_ok said
        lodge rm $G 2>err; echo "$? $(grep -o '\\[[a-z-]*\\]' err)"
        lodge stop $G; echo $?; wait $p; echo $?; cat ended
        lodge --json ps | grep -o '"status": "[a-z]*"'; lodge ps | grep -c "$G *exited (code 0)"
        t() { "$@" 2>err; echo "$? $(grep -o '\\[[a-z-]*\\]' err)"; }
        t guest true; t lodge stop $G; t lodge run -a $A --name $G -- true
        lodge logs $G | grep -q 'last words' && echo logs
        t lodge rm $G; t lodge rm $G; t guest true; lodge --json ps`;
      expect(await output(script)).toBe(
        '125 [usage]\n0\n0\nasked\n"status": "exited"\n1\n' +
          '125 [guest-not-running]\n125 [guest-not-running]\n125 [name-taken]\nlogs\n' +
          '0 \n125 [no-such-guest]\n125 [no-such-guest]\n[]\n',
      );
    });
  });
}
