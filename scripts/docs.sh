#!/bin/sh
# Makes the reference pages that come from lodge's own definitions. With --check it only says whether they are up to
# date: exit code 1 when one is not.
set -eu
cd "$(dirname -- "$0")/.."
pages="verbs.md:--markdown errors.md:--errors spec.md:--spec spec.schema.json:--schema study-spec.md:--study-spec study-spec.schema.json:--study-schema cluster-spec.md:--cluster-spec cluster-spec.schema.json:--cluster-schema slurm-site.md:--slurm-site slurm-site.schema.json:--slurm-site-schema"

case ${1-} in
  '') check= ;;
  --check) check=1 ;;
  *) echo 'usage: sh scripts/docs.sh [--check]' >&2; exit 2 ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
stale=0
for page in $pages; do
  file=${page%%:*}
  ./lodge manual "${page#*:}" >"$work/$file"
  if cmp -s "$work/$file" "docs/reference/$file"; then continue; fi
  if [ -z "$check" ]; then
    cp "$work/$file" "docs/reference/$file"
    echo "docs/reference/$file is new"
  else
    echo "docs/reference/$file is out of date: sh scripts/docs.sh" >&2
    stale=1
  fi
done
exit "$stale"
