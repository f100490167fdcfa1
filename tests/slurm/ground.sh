#!/bin/sh
# The hosts of a Slurm cluster on one machine, each in namespaces of its own: process 1 of them. ground.ts starts it
# with the words `controller CHECKOUT "HOSTS" CPUS MEMORY-IN-MB SLURM-USER`, and it starts itself with `host NAME`. All
# of it ends with the first process, and nothing outside is touched: networks, mounts and /etc are the namespaces' own.
set -eu
role=$1

# What belongs to one host alone: its own /tmp, /run and spool.
own_places() {
  for place in /tmp /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs $place; done
  for place in /run /var/spool /var/log /var/lib/munge; do mount -t tmpfs -o mode=755 tmpfs $place; done
  mkdir -p /run/munge /var/log/munge /run/user
  chown munge:munge /run/munge /var/log/munge /var/lib/munge
  chmod 711 /var/lib/munge
  chmod 700 /var/log/munge
}

# The daemon of munge starts as its own user, as the package has it.
start_munge() {
  setpriv --reuid munge --regid munge --clear-groups munged --foreground 2>/run/munge.log &
  until [ -S /run/munge/munge.socket.2 ]; do sleep 0.05; done
}

if [ "$role" = host ]; then
  name=$2
  number=${name#n}
  hostname "$name"
  own_places
  ip link set lo up
  until ip link set eth0 up 2>/dev/null; do sleep 0.05; done
  ip address add "10.99.0.1$number/24" dev eth0
  # Nothing answers there; but without a way out, what makes one for guests does not start.
  ip route add default via 10.99.0.1
  start_munge
  mkdir -p /var/spool/slurmd
  slurmd -D -N "$name" --conf-server ctl >/run/slurmd.log 2>&1 &
  # Process 1 takes in the orphans of its namespace; when slurmd is killed the host is still there.
  while :; do wait; sleep 0.2; done
fi

checkout=$2 hosts=$3 cpus=$4 memory=$5 slurm_user=$6
hostname ctl
ip link set lo up
ip link add br0 type bridge
ip address add 10.99.0.1/24 dev br0
ip link set br0 up
# Nothing answers there; but without a way out, what makes one for guests does not start.
ip route add default via 10.99.0.254

# /etc as it is, with a layer over it that all hosts share; the checkout where ordinary users can get at it.
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/checkout
mount --bind "$checkout" /mnt/checkout
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir /opt/lodge
mount --move /mnt/checkout /opt/lodge
own_places
# Debian's Slurm looks for PMIx by a name that only the package for developers has.
pmix=/usr/lib/$(uname -m)-linux-gnu/pmix2/lib
if [ -e "$pmix/libpmix.so.2" ] && ! [ -e "$pmix/libpmix.so" ]; then
  mkdir /mnt/pmix /mnt/pmix-work
  mount -t overlay overlay -o "lowerdir=$pmix,upperdir=/mnt/pmix,workdir=/mnt/pmix-work" "$pmix"
  ln -s libpmix.so.2 "$pmix/libpmix.so"
fi
# One home for all hosts.
mount -t tmpfs -o mode=755 tmpfs /home
for user in alice:4001 bob:4002; do
  name=${user%:*} id=${user#*:}
  echo "$name:x:$id:$id::/home/$name:/bin/bash" >>/etc/passwd
  echo "$name:x:$id:" >>/etc/group
  mkdir -m 700 "/home/$name"
  chown "$id:$id" "/home/$name"
done
{
  echo '127.0.0.1 localhost'
  echo '10.99.0.1 ctl'
  for host in $hosts; do echo "10.99.0.1${host#n} $host"; done
} >/etc/hosts
mkdir -p /etc/munge /etc/slurm
dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 2>/dev/null
chown -R munge:munge /etc/munge
chmod 400 /etc/munge/munge.key
list=$(echo "$hosts" | tr ' ' ',')
cat >/etc/slurm/slurm.conf <<END
ClusterName=ground
SlurmctldHost=ctl
SlurmUser=$slurm_user
SlurmctldParameters=enable_configless
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
MaxNodeCount=64
SlurmdTimeout=20
DefMemPerCPU=$((memory / cpus))
NodeName=$list CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=phys Nodes=$list Default=YES MaxTime=INFINITE State=UP
END
printf 'CgroupPlugin=cgroup/v1\n' >/etc/slurm/cgroup.conf
start_munge
mkdir -p /var/spool/slurmctld
chown "$slurm_user" /var/spool/slurmctld
slurmctld -D >/run/slurmctld.log 2>&1 &

for host in $hosts; do
  LODGE_GROUND_HOST=$host unshare --net --mount --uts --ipc --pid --fork --kill-child=KILL --mount-proc \
    sh /opt/lodge/tests/slurm/ground.sh host "$host" &
  starter=$!
  until first=$(cat "/proc/$starter/task/$starter/children") && [ -n "$first" ] &&
    [ "$(readlink "/proc/${first% }/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
  ip link add "to-$host" type veth peer name eth0 netns "${first% }"
  ip link set "to-$host" master br0 up
done
while :; do wait; sleep 0.2; done
