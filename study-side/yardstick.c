/*
 * yardstick: runs a program and tells what clock it ran by and what pages its memory was in.
 *
 *   yardstick [-t] [-i MS] -- PROGRAM [ARG...]
 *   yardstick -x [-t] -- PROGRAM [ARG...]
 *
 *   -t      no transparent huge pages for PROGRAM and whatever it starts
 *   -i MS   milliseconds between two looks at its memory (250; the first ones come sooner, after 5, 15, 35, …)
 *   -x      become PROGRAM: nothing is written and nothing is counted
 *
 * PROGRAM has the standard streams as they are. On standard output, before and after what it writes itself, come
 *
 *   {"yardstick":"start","monotonicNs":N,"realtimeNs":N}
 *   {"yardstick":"end","monotonicNs":N,"realtimeNs":N,"code":N,"pages":{"hugetlbBytes":N,...}}
 *
 * each ended by a line feed; the second has one before it as well, so that it is a line of its own whatever
 * PROGRAM wrote last. "pages" is null where nothing could be counted. It is a sum of /proc/PID/smaps_rollup over
 * the processes that descend from yardstick, without shells and MPI's launcher, at the moment when it was largest;
 * memory that several of them share counts for each.
 *
 * The exit code is PROGRAM's, 128+n for a signal; 125 to 127 when it could not be started. What PROGRAM leaves
 * running is killed. On SIGTERM, SIGINT and SIGHUP all descendants get the signal, and three seconds later SIGKILL.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PROCESSES = 65536, FIRST_LOOK_MS = 5, GRACE_MS = 3000 };

/* Counting walks page tables, which is not free: it may take this part of a CPU when two counts gave the same, */
static const double steady_share = 0.001;
/* and this part while memory changes. */
static const double changing_share = 0.01;
/* Where nothing seems to have changed, every so many glances are followed by a count all the same. */
static const int most_glances = 16;

static void die(int code, const char *what) {
  fprintf(stderr, "yardstick: %s: %s\n", what, strerror(errno));
  exit(code);
}

static long long now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Straight to the descriptor: nothing of ours may sit in a buffer while PROGRAM writes to the same one. */
static void write_line(const char *format, ...) {
  char line[512];
  va_list args;
  va_start(args, format);
  int length = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  for (int done = 0; done < length;) {
    ssize_t n = write(1, line + done, length - done);
    if (n > 0) done += n;
    else if (errno == EAGAIN) usleep(1000);
    else if (errno != EINTR) return;
  }
}

/* ---- the processes that descend from this one ---- */

static struct process {
  pid_t pid, parent;
  int is_launcher;
} processes[MAX_PROCESSES];

static int is_launcher_name(const char *name) {
  static const char *const names[] = {"sh", "dash", "bash", "ash", "busybox", "mpiexec.openmpi", "mpiexec", "orterun"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0) return 1;
  return 0;
}

static ssize_t read_file(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t length = 0;
  ssize_t n;
  while (length < size - 1 && (n = read(fd, text + length, size - 1 - length)) > 0) length += n;
  close(fd);
  text[length] = 0;
  return length;
}

/* proc(5): "PID (NAME) STATE PPID ...", where NAME may hold anything. */
static int read_process(const char *pid, struct process *process) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%s/stat", pid);
  if (read_file(path, text, sizeof text) <= 0) return 0;
  char *name = strchr(text, '('), *end = strrchr(text, ')');
  if (!name || !end || sscanf(end + 1, " %*c %d", &process->parent) != 1) return 0;
  *end = 0;
  process->pid = atoi(pid);
  process->is_launcher = is_launcher_name(name + 1);
  return 1;
}

/* Moves the descendants to the front of `processes`. Returns how many there are. */
static int find_descendants(void) {
  DIR *proc = opendir("/proc");
  if (!proc) return 0;
  int count = 0;
  for (struct dirent *entry; count < MAX_PROCESSES && (entry = readdir(proc));)
    if (isdigit((unsigned char)entry->d_name[0]) && read_process(entry->d_name, &processes[count])) count++;
  closedir(proc);
  int found = 0;
  pid_t self = getpid();
  for (int next = -1; next < found; next++) {
    pid_t parent = next < 0 ? self : processes[next].pid;
    for (int i = found; i < count; i++) {
      if (processes[i].parent != parent) continue;
      struct process child = processes[i];
      processes[i] = processes[found];
      processes[found++] = child;
    }
  }
  return found;
}

static void signal_descendants(int number) {
  int count = find_descendants();
  for (int i = 0; i < count; i++) kill(processes[i].pid, number);
}

/* ---- their memory ---- */

struct pages {
  long long hugetlb, transparent, small;
};

static long long total(struct pages p) { return p.hugetlb + p.transparent + p.small; }

static long long field(const char *text, const char *name) {
  const char *at = strstr(text, name);
  return at ? atoll(at + strlen(name)) * 1024 : 0;
}

/*
 * Returns how many processes were counted. Afterwards the descendants are at the front of `processes`, and
 * *found says how many they are.
 */
static int count_pages(struct pages *sum, int *found) {
  int counted = 0;
  *found = find_descendants();
  *sum = (struct pages){0, 0, 0};
  for (int i = 0; i < *found; i++) {
    char path[64], text[4096];
    if (processes[i].is_launcher) continue;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", processes[i].pid);
    if (read_file(path, text, sizeof text) <= 0) continue;
    long long transparent =
        field(text, "\nAnonHugePages:") + field(text, "\nShmemPmdMapped:") + field(text, "\nFilePmdMapped:");
    sum->transparent += transparent;
    /* The kernel leaves hugetlb pages out of Rss. */
    sum->hugetlb += field(text, "\nPrivate_Hugetlb:") + field(text, "\nShared_Hugetlb:");
    sum->small += field(text, "\nRss:") - transparent;
    counted++;
  }
  return counted;
}

/*
 * What tells cheaply that a count would give something else: the sizes of the processes found last (proc(5), statm;
 * mapped hugetlb pages are in the first number only, resident others in the second).
 */
static long long glance(int found) {
  long long sum = 0;
  for (int i = 0; i < found; i++) {
    char path[64], text[128];
    long long mapped, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", processes[i].pid);
    if (read_file(path, text, sizeof text) <= 0 || sscanf(text, "%lld %lld", &mapped, &resident) != 2) return -1;
    sum += mapped + resident;
  }
  return sum;
}

static int differs(long long a, long long b) { return a < 0 || (a > b ? a - b : b - a) > b / 100; }

/* ---- the program ---- */

static void become(char **argv) {
  execvp(argv[0], argv);
  int missing = errno == ENOENT;
  die(missing ? 127 : 126, argv[0]);
}

static void disable_transparent_pages(void) {
  if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) < 0) die(125, "transparent huge pages cannot be turned off");
}

static int code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

/* Waits until `at` (monotonic) for one of `signals`. Returns its number, or 0. */
static int wait_for_signal(const sigset_t *signals, long long at) {
  long long left = at - now_ns(CLOCK_MONOTONIC);
  if (left < 0) left = 0;
  struct timespec timeout = {left / 1000000000, left % 1000000000};
  int number = sigtimedwait(signals, NULL, &timeout);
  return number > 0 ? number : 0;
}

/* Takes what has ended. Returns whether `child` has, and then its status. */
static int reap(pid_t child, int *status) {
  int one, ended = 0;
  for (pid_t pid; (pid = waitpid(-1, &one, WNOHANG)) > 0;) {
    if (pid != child) continue;
    ended = 1;
    *status = one;
  }
  return ended;
}

int main(int argc, char **argv) {
  long interval_ms = 250;
  int no_transparent = 0, in_place = 0;
  for (int option; (option = getopt(argc, argv, "+ti:x")) != -1;) {
    if (option == 't') no_transparent = 1;
    else if (option == 'x') in_place = 1;
    else if (option == 'i') interval_ms = atol(optarg);
    else return 125;
  }
  if (optind >= argc || interval_ms <= 0) {
    fprintf(stderr, "usage: yardstick [-t] [-x] [-i MS] -- PROGRAM [ARG...]\n");
    return 125;
  }
  char **program = argv + optind;
  if (in_place) {
    if (no_transparent) disable_transparent_pages();
    become(program);
  }

  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, &before);
  void (*pipe_before)(int) = signal(SIGPIPE, SIG_IGN);
  /* Who started a run and is killed can end it no more: it ends by itself then, with all that it started. */
  pid_t starter = getppid();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != starter) return 125;
  /* Whatever loses its parent below comes to this process, and so is counted and ended like the rest. */
  prctl(PR_SET_CHILD_SUBREAPER, 1);

  write_line("{\"yardstick\":\"start\",\"monotonicNs\":%lld,\"realtimeNs\":%lld}\n", now_ns(CLOCK_MONOTONIC),
             now_ns(CLOCK_REALTIME));
  pid_t self = getpid(), child = fork();
  if (child < 0) die(125, "fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != self) _exit(125);
    if (no_transparent) disable_transparent_pages();
    signal(SIGPIPE, pipe_before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    become(program);
  }

  struct pages most = {0, 0, 0}, last = {0, 0, 0};
  long long glanced = -1, kill_at = 0, counted_at = 0, cost = 0;
  int counted = 0, seen = 0, found = 0, glances = 0, wanted_glances = 1, is_steady = 0, status = 0;
  /* A run that is soon over is looked at too: the time between two looks doubles until it is what it should be. */
  long pause_ms = FIRST_LOOK_MS < interval_ms ? FIRST_LOOK_MS : interval_ms;
  long long look_at = now_ns(CLOCK_MONOTONIC) + pause_ms * 1000000LL;
  for (;;) {
    int number = wait_for_signal(&signals, kill_at && kill_at < look_at ? kill_at : look_at);
    if (number == SIGCHLD) {
      if (reap(child, &status)) break;
    } else if (number) {
      signal_descendants(number);
      if (!kill_at) kill_at = now_ns(CLOCK_MONOTONIC) + GRACE_MS * 1000000LL;
    }
    long long now = now_ns(CLOCK_MONOTONIC);
    if (kill_at && now >= kill_at) {
      signal_descendants(SIGKILL);
      kill_at = now + 100000000;
    }
    if (now < look_at) continue;
    pause_ms = 2 * pause_ms < interval_ms ? 2 * pause_ms : interval_ms;
    look_at = now + pause_ms * 1000000LL;
    glances++;
    int has_changed = !seen || differs(glance(found), glanced);
    if (now - counted_at < cost / (has_changed || !is_steady ? changing_share : steady_share)) continue;
    if (!has_changed && glances < wanted_glances) continue;

    struct pages sum;
    /* CPU time, because a count may wait for as long as the program's own page fault takes. */
    long long began = now_ns(CLOCK_PROCESS_CPUTIME_ID), last_total = total(last);
    seen = count_pages(&sum, &found);
    if (seen && (!counted || total(sum) >= total(most))) {
      most = sum;
      counted = 1;
    }
    cost = now_ns(CLOCK_PROCESS_CPUTIME_ID) - began;
    counted_at = now_ns(CLOCK_MONOTONIC);
    glanced = glance(found);
    glances = 0;
    /* A glance does not see hugetlb pages come that were mapped before. */
    is_steady = !has_changed && !differs(total(sum), last_total);
    wanted_glances = is_steady ? 2 * wanted_glances : 1;
    if (wanted_glances > most_glances) wanted_glances = most_glances;
    last = sum;
  }
  /* The times are of the program; what is left of it may take a moment to end, or never do if a device hangs. */
  long long monotonic = now_ns(CLOCK_MONOTONIC), realtime = now_ns(CLOCK_REALTIME);
  long long give_up_at = monotonic + GRACE_MS * 1000000LL;
  while (waitpid(-1, NULL, WNOHANG) >= 0 && now_ns(CLOCK_MONOTONIC) < give_up_at) {
    signal_descendants(SIGKILL);
    usleep(1000);
  }

  char pages[160] = "null";
  if (counted)
    snprintf(pages, sizeof pages, "{\"hugetlbBytes\":%lld,\"transparentBytes\":%lld,\"smallBytes\":%lld}", most.hugetlb,
             most.transparent, most.small);
  write_line("\n{\"yardstick\":\"end\",\"monotonicNs\":%lld,\"realtimeNs\":%lld,\"code\":%d,\"pages\":%s}\n", monotonic,
             realtime, code_of(status), pages);
  return code_of(status);
}
