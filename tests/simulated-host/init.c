/*
 * First process of the simulated host: loads the kernel modules its initramfs brings, lays a throw-away layer over
 * the shared root, mounts what a host has mounted, and hands over to the command server in server.sh. In C because
 * every program started under emulation costs 50 ms, and so that the initramfs needs nothing else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Says what failed and powers off, which ends QEMU: the one who waits for the host then reads it in the console log. */
static void fail(const char *what)
{
  fprintf(stderr, "simulated host: %s: %s\n", what, strerror(errno));
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

static void mount_at(const char *source, const char *target, const char *type, unsigned long flags, const char *options)
{
  mkdir(target, 0755);
  if (mount(source, target, type, flags, options) != 0) fail(target);
}

/* The list is in loading order: what a module depends on stands before it. */
static void load_modules(void)
{
  FILE *list = fopen("/lodge/modules.order", "re");
  char path[256];
  if (list == NULL) fail("/lodge/modules.order");
  while (fgets(path, sizeof path, list) != NULL) {
    path[strcspn(path, "\n")] = 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || (syscall(SYS_finit_module, file, "", 0) != 0 && errno != EEXIST)) fail(path);
    close(file);
    unlink(path); /* The initramfs is memory: give it back. */
  }
  fclose(list);
}

static void loopback_up(void)
{
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request) != 0) fail("lo");
  close(any);
}

/* The new root at /new: the outside machine's, never written, under a layer in memory. */
static void mount_root(void)
{
  static const char options[] = "trans=virtio,version=9p2000.L,msize=512000";
  char share[128], root[128];
  snprintf(root, sizeof root, "%s,cache=loose", options);
  /* No cache: the files in the share are how the outside and the inside talk. */
  snprintf(share, sizeof share, "%s,cache=none", options);
  mount_at("root", "/lower", "9p", MS_RDONLY, root);
  mount_at("layer", "/layer", "tmpfs", 0, "mode=755");
  if (mkdir("/layer/upper", 0755) != 0 || mkdir("/layer/work", 0755) != 0) fail("/layer");
  mount_at("root", "/new", "overlay", 0, "lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work");
  mount_at("run", "/new/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755");
  mount_at("share", "/new/run/simulated-host", "9p", 0, share);
}

/* The kernel where a host has its own, so that what runs here finds one to boot guests with. */
static void mount_kernel_files(void)
{
  const char *vmlinux = getenv("host_vmlinux"), *modules = getenv("host_modules");
  char source[4096], target[256];
  struct utsname name;
  if (vmlinux == NULL || modules == NULL) fail("no host_vmlinux or host_modules on the kernel command line");
  uname(&name);
  mkdir("/new/boot", 0755);
  mkdir("/new/lib/modules", 0755);

  snprintf(source, sizeof source, "/lower%s", vmlinux);
  snprintf(target, sizeof target, "/new/boot/vmlinuz-%s", name.release);
  close(open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  mount_at(source, target, NULL, MS_BIND, NULL);
  snprintf(source, sizeof source, "/lower%s", modules);
  snprintf(target, sizeof target, "/new/lib/modules/%s", name.release);
  mount_at(source, target, NULL, MS_BIND, NULL);
}

static void mount_kernel_interfaces(void)
{
  const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  mount_at("proc", "/new/proc", "proc", safe, NULL);
  mount_at("sysfs", "/new/sys", "sysfs", safe, NULL);
  mount_at("cgroup2", "/new/sys/fs/cgroup", "cgroup2", safe, NULL);
  mount_at("debugfs", "/new/sys/kernel/debug", "debugfs", safe, NULL);
  mount_at("tmp", "/new/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_at("tmp", "/new/var/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_at("/dev", "/new/dev", NULL, MS_MOVE, NULL);
  mount_at("devpts", "/new/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
  mount_at("shm", "/new/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_at("hugetlbfs", "/new/dev/hugepages", "hugetlbfs", MS_NOSUID | MS_NODEV, "mode=1777,pagesize=2M");
}

/* A checkout below a directory that starts empty here is put back, under a layer of its own. */
static void mount_checkout(void)
{
  const char *checkout = getenv("host_checkout");
  char at[2048], options[4096];
  if (checkout == NULL) return;
  snprintf(at, sizeof at, "/new%s", checkout);
  if (access(at, F_OK) == 0) return;
  for (char *slash = strchr(at + 5, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(at, 0755);
    *slash = '/';
  }
  if (mkdir("/layer/checkout", 0755) != 0 || mkdir("/layer/checkout-work", 0755) != 0) fail("/layer");
  snprintf(options, sizeof options, "lowerdir=/lower%s,upperdir=/layer/checkout,workdir=/layer/checkout-work", checkout);
  mount_at("checkout", at, "overlay", 0, options);
}

/*
 * The kernel starts on one CPU (maxcpus=1) and gets the others now that it has patched its code for the last time in
 * starting. QEMU 7.2 can keep running the old code of a page that another CPU patches at that moment: an int3 that is
 * no longer there, for ever, in about one start of 25.
 */
static void online_cpus(void)
{
  char path[64];
  for (int cpu = 1;; cpu++) {
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/online", cpu);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, "1", 1) != 1) fail(path);
    close(file);
  }
}

/* What udev does on a host, as far as it matters here. */
static void prepare_devices(void)
{
  struct group *kvm = getgrnam("kvm");
  symlink("/proc/self/fd", "/dev/fd");
  symlink("/proc/self/fd/0", "/dev/stdin");
  symlink("/proc/self/fd/1", "/dev/stdout");
  symlink("/proc/self/fd/2", "/dev/stderr");
  if (chown("/dev/kvm", 0, kvm == NULL ? 0 : kvm->gr_gid) != 0 || chmod("/dev/kvm", 0660) != 0) fail("/dev/kvm");
}

int main(void)
{
  static const char hostname[] = "simulated-host";
  static char *const argv[] = {"sh", "/run/simulated-host/server.sh", NULL};
  static char *const envp[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
                               "USER=root", "LOGNAME=root", "SHELL=/bin/bash", "LANG=C.UTF-8", "TERM=dumb", NULL};

  mount_at("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755");
  int console = open("/dev/console", O_RDWR);
  for (int fd = 0; fd < 3 && console >= 0; fd++) dup2(console, fd);
  if (console > 2) close(console);
  umask(0022);
  sethostname(hostname, strlen(hostname));
  load_modules();
  loopback_up();
  mount_root();
  mount_kernel_files();
  mount_kernel_interfaces();
  mount_checkout();
  if (chdir("/new") != 0 || mount(".", "/", NULL, MS_MOVE, NULL) != 0 || chroot(".") != 0) fail("/new");
  prepare_devices();
  online_cpus();
  execve("/bin/sh", argv, envp);
  fail("/bin/sh");
}
