/** What stays with the agent of a job on its host. */

/**
 * A script of sh, to be given the job's directory, where its agents are on their hosts, and the command that is the
 * agent; after it, `$code` is what that ended with. It stays with the agent and removes what is left of one that was
 * killed: its directory on this host, and its word in the job's, and its guests' hold on images. One that was told to end
 * has removed all this, but for empty directories that what it was at has made again; one that was told before it could
 * listen leaves the directory that it was making. When this is killed itself, the agent is told to end; told to end, it
 * tells the agent.
 */
export const agentWatch = `dir=$1 place=$2.\${SLURMD_NODENAME:-$(hostname)}; shift 2
trap 'told=1; kill "$agent" 2>/dev/null' TERM INT HUP
exec 3<&0
setpriv --pdeathsig TERM -- "$@" <&3 3<&- &
agent=$!
exec 3<&-
while told=; wait "$agent"; code=$?; [ -n "$told" ]; do :; done
mine() { [ -f "$1" ] && grep -q "\\"pid\\":$agent[,}]" "$1"; }
if mine "$place/agent.json"; then
  services="$(dirname "$place")/lodge-$(id -u)-s$(basename "$dir")-"
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/ns/pid")" = "$(readlink /proc/self/ns/pid)" ] || continue
    { tr '\\0' '\\n' <"$process/environ"; } 2>/dev/null | grep -q "^LODGE_SERVICES=$services" || continue
    pkill -KILL -P "\${process#/proc/}"
    kill -KILL "\${process#/proc/}"
  done 2>/dev/null
  rm -rf "$services"*
  for i in 1 2 3 4 5 6 7 8 9; do rm -rf "$place" 2>/dev/null && break; sleep 0.2; done
  for i in 1 2 3 4 5 6 7 8 9; do
    held=
    for lease in "\${dir%/jobs/*}/leases/$(hostname)"-*.json; do
      grep -q "\\"job\\":{\\"id\\":\\"$(basename "$dir")\\"" "$lease" 2>/dev/null || continue
      holder=$(sed -n 's/.*"pid":\\([0-9]*\\).*/\\1/p' "$lease")
      if kill -0 "$holder" 2>/dev/null; then held=1; else rm -f "$lease"; fi
    done
    [ -n "$held" ] || break
    sleep 0.2
  done
else
  rmdir "$place/making" "$place/guests" "$place" 2>/dev/null
fi
rm -rf "$place.$agent"
word=$dir/hosts/\${SLURMD_NODENAME:-$(hostname)}.json
if mine "$word"; then rm -f "$word"; rmdir "$dir/hosts" 2>/dev/null && rm -rf "$dir"; fi`;
