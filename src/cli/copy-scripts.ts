/** What the guest's shell does at its end of a copy. */

/**
 * Packs a file of a directory; where that is a link, what it leads to, as cp(1) does for what it is told by name: a
 * link like that of /etc/os-release leads nowhere here. The dot keeps line feeds at the end of a name. Files of /proc
 * say that they are empty, and tar would believe it.
 */
export const packScript =
  'd=$1 n=$2; if [ -L "$d/$n" ]; then ' +
  // biome-ignore lint/suspicious/noTemplateCurlyInString: of the shell
  'p=$(readlink -f -- "$d/$n" && echo .) || exit; p=${p%??}; d=${p%/*} n=${p##*/}; fi; ' +
  'if [ -f "$d/$n" ] && [ ! -s "$d/$n" ] && head -c 1 -- "$d/$n" 2>/dev/null | od | grep -q " "; then ' +
  'echo "$n says that it is empty and is not: lodge exec NAME -- cat $d/$n" >&2; exit 1; fi; ' +
  'exec tar -c -C "$d/" -- "$n"';

/**
 * Unpacks aside and renames. `$1` is the destination, `$2` the name in the archive, `$3` the name it gets in a directory.
 * Where it is put follows the rules of a copy out of a guest (`placeFor`): what a link leads to is replaced, a
 * device or a pipe is not.
 */
export const unpackScript =
  'no() { echo "$1: $2" >&2; exit 1; }; ' +
  'if [ -d "$1" ]; then d=$1 n=$3; else ' +
  'case $1 in */) no "$1" "there is no such directory";; esac; ' +
  'd=$(dirname -- "$1") n=$(basename -- "$1"); fi; ' +
  'if [ -L "$d/$n" ]; then [ -e "$d/$n" ] || no "$d/$n" "a link that leads nowhere is there"; ' +
  // biome-ignore lint/suspicious/noTemplateCurlyInString: of the shell
  'p=$(readlink -f -- "$d/$n" && echo .) || exit; p=${p%??}; d=${p%/*} n=${p##*/}; fi; ' +
  'f=$d/$n; if [ -e "$f" ] && [ ! -f "$f" ] && [ ! -d "$f" ]; then no "$f" "no file is there"; fi; ' +
  // When the client goes, its end of input and SIGHUP come one after the other, and what the shell says of tar's end has
  // no reader: what tidies up must outlive both signals, also where they come as it begins.
  't=$(mktemp -d "$d/.lodge-cp-XXXXXX") && ' +
  'trap \'trap "" HUP INT TERM PIPE; chmod -R u+rwX -- "$t"; rm -rf -- "$t"\' EXIT && trap : HUP INT TERM PIPE && ' +
  'tar -x --no-same-owner -C "$t" && f=$t/$2 m= && ' +
  // A directory that may not be written could not be moved, as the kernel writes its `..`.
  'if [ -d "$f" ] && [ ! -L "$f" ] && [ ! -w "$f" ]; then m=$(stat -c %a -- "$f") && chmod u+w -- "$f"; fi && ' +
  'mv -T -- "$f" "$d/$n" && if [ -n "$m" ]; then chmod "$m" -- "$d/$n"; fi';
