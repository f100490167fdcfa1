#!/bin/sh
# Brings what lodge needs and builds it. `./lodge` calls it on first use and after an update; safe to run twice at once.
# With arguments, these Debian packages are brought as well.
set -eu
here=$(CDPATH= cd -P -- "$(dirname -- "$0")/.." && pwd)

# program:package of what every run needs; `lodge doctor --fix` brings what single verbs need.
needed="qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils linux.uml:user-mode-linux lstopo-no-graphics:hwloc-nox \
musl-gcc:musl-tools gcc:gcc gencat:libc6-dev xz:xz-utils flock:util-linux taskset:util-linux"

say() { printf 'lodge: %s\n' "$*" >&2; }

command -v node >/dev/null || { say "Node.js 20.19 or newer is needed: https://nodejs.org, or your site's module"; exit 125; }
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
  { say "Node.js 20.19 or newer is needed; this is $(node --version)"; exit 125; }

missing=
for pair in $needed; do
  command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
for package in "$@"; do
  case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) in
    ii*) ;;
    *) missing="$missing $package" ;;
  esac
done

install() {
  line="apt-get install -y --no-install-recommends$missing"
  if ! command -v apt-get >/dev/null; then
    say "these are missing:$missing (names are Debian's); install them and try again"
    return 1
  fi
  if [ "$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as='sudo -n'; else
    say "run this once, as root, then try again: apt-get update && $line"
    return 1
  fi
  say "installing$missing"
  # Another package manager may be at work: its lock is waited for.
  $as env DEBIAN_FRONTEND=noninteractive sh -c "apt-get -qq update && $line -qq -o DPkg::Lock::Timeout=300" >&2
}
if [ -n "$missing" ]; then install; fi

# Two that start at once build one after the other, and the second finds it done.
if ! mkdir -p "$here/dist" 2>/dev/null || [ ! -w "$here/dist" ]; then
  say "$here has to be built by its owner: run $here/lodge --version as $(stat -c %U "$here"), once"
  exit 1
fi
exec 9>"$here/dist/lock"
flock 9
stamp=$here/dist/stamp
if [ ! -e "$here/node_modules/.package-lock.json" ] || [ "$here/package-lock.json" -nt "$here/node_modules/.package-lock.json" ]; then
  say 'installing npm packages'
  (cd "$here" && npm ci --no-fund --no-audit --loglevel=error >&2)
fi
if [ ! -e "$stamp" ] || [ ! -e "$here/dist/sources.sh" ] || [ -n "$(find "$here/src" "$here/guest-side" "$here/host-side" "$here/study-side" "$here/scripts" "$here/package-lock.json" -newer "$stamp" -print -quit)" ]; then
  say 'building'
  (cd "$here" && node scripts/build.mjs >&2)
fi
# A directory whose files only went away is newer than the stamp for ever after, unless it is renewed.
touch "$stamp"
