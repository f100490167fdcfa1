#define _GNU_SOURCE
#include "beside.h"
#include "listen.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64, PATIENCE_MS = 2000 };

static struct beside {
  const char *socket;
  char **argv; /* ends with NULL */
  pid_t pid;
} besides[MOST];
static int count;

static struct beside_end first_end = {-1, 0};
static long long kill_at_ms;
static int missed;

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int beside_add(int argc, char **argv) {
  int words = argc < 3 ? 0 : atoi(argv[1]);
  if (count == MOST || words < 1 || words > argc - 2) return 0;
  char **copy = calloc(words + 1, sizeof *copy);
  if (!copy) return 0;
  memcpy(copy, argv + 2, words * sizeof *copy);
  besides[count++] = (struct beside){argv[0], copy, 0};
  return words + 2;
}

static void run(char **argv, int listening, int complaints, pid_t keeper) {
  /* It ends with the keeper, and not before the guest, whoever else gets Slurm's signal. */
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != keeper) _exit(126);
  int nothing = open("/dev/null", O_RDONLY);
  dup2(nothing, 0);
  dup2(complaints, 1);
  dup2(complaints, 2);
  /* It waits in accept(2) for the guest's process to come. */
  fcntl(listening, F_SETFL, fcntl(listening, F_GETFL) & ~O_NONBLOCK);
  if (listening == 3) fcntl(3, F_SETFD, 0);
  else dup2(listening, 3);
  if (nothing > 3) close(nothing);
  execvp(argv[0], argv);
  dprintf(2, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

int beside_start(int complaints) {
  pid_t keeper = getpid();
  for (int i = 0; i < count; i++) {
    int listening = listen_at(besides[i].socket);
    if (listening < 0 || (besides[i].pid = fork()) < 0) return -1;
    if (besides[i].pid == 0) run(besides[i].argv, listening, complaints, keeper);
    close(listening);
  }
  return 0;
}

void beside_ended(pid_t pid, int status) {
  int i = 0;
  while (i < count && besides[i].pid != pid) i++;
  if (i == count) return;
  besides[i].pid = 0;
  int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  long long at_ms = now_ms() + (code == 0 ? PATIENCE_MS : 0);
  if (first_end.index < 0 || (first_end.code == 0 && code != 0)) {
    first_end = (struct beside_end){i, code};
    kill_at_ms = at_ms;
  }
}

int beside_patience(void) {
  if (first_end.index < 0 || missed) return -1;
  long long left_ms = kill_at_ms - now_ms();
  return left_ms > 0 ? (int)left_ms : 0;
}

void beside_give_up(void) { missed = 1; }

const struct beside_end *beside_lost(void) { return missed ? &first_end : NULL; }
