#!/bin/sh
# The simulated host's command server: starts the jobs that the control port names, and takes in orphans as the first
# process does. Every program started here costs 50 ms under emulation, so there are few.

share=/run/simulated-host

fail() {
  echo "simulated host: $*" >/dev/console
  echo o >/proc/sysrq-trigger
  sleep 60
}

# A job is a directory: script and stdin are given; stdout, stderr and, last, code are made here. Those who wait for
# it read code until it holds a whole line.
run_job() {
  job=$share/jobs/$1
  if [ -z "$2" ]; then
    setsid sh "$job/script" <"$job/stdin" >"$job/stdout" 2>"$job/stderr" 3<&- &
  else
    # As text, because another user may not look into the share.
    setsid $2 sh -c "$(cat "$job/script")" sh <"$job/stdin" >"$job/stdout" 2>"$job/stderr" 3<&- &
  fi
  leader=$!
  echo $leader >"$job/leader"
  wait $leader
  echo $? >"$job/code"
}

port=
for name in /sys/class/virtio-ports/*/name; do
  read -r word <"$name"
  [ "$word" = control ] && port=${name%/name} && port=/dev/${port##*/}
done
[ -n "$port" ] || fail 'no control port'
exec 3<"$port" || fail 'the control port does not open'
cd /
: >$share/ready
while read -r verb id rest <&3; do
  case $verb in
    run) run_job "$id" "$rest" & ;;
    kill) read -r leader <"$share/jobs/$id/leader" && kill -s KILL -- "-$leader" ;;
  esac
done
fail 'the control port closed'
