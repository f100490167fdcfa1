/* From an EXEC frame to a process. */
#include "agent.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum {
  WITH_TERMINAL = 1,
  FIXED = 24, /* the numbers before the groups */
  PIPE = 1 << 20,
  STATUS_FD = 3, /* of the child, until its program runs */
};

struct request {
  uint32_t flags;
  uid_t uid;
  gid_t gid;
  uint32_t credit;
  unsigned rows, columns;
  mode_t umask;
  gid_t *groups;
  size_t group_count;
  const char *directory;
  char **argv, **env;
  void *memory; /* everything the pointers point into */
};

/* 0, or the errno to refuse with. */
static int parse_request(const struct frame *frame, struct request *request) {
  const uint8_t *p = frame->payload;
  *request = (struct request){0};
  if (frame->length < FIXED + 4) return EINVAL;
  request->flags = get32(p);
  request->uid = get32(p + 4);
  request->gid = get32(p + 8);
  request->credit = get32(p + 12);
  request->rows = get16(p + 16);
  request->columns = get16(p + 18);
  request->umask = get32(p + 20);
  size_t groups = get32(p + FIXED), at = FIXED + 4;
  if ((request->flags & ~(uint32_t)WITH_TERMINAL) != 0 || request->umask > 0777) return EINVAL;
  if (groups > (frame->length - at) / 4) return EINVAL;
  const uint8_t *group_bytes = p + at;
  at += groups * 4;
  if (frame->length - at < 8) return EINVAL;
  size_t argc = get32(p + at), envc = get32(p + at + 4);
  at += 8;
  /* A text has at least its NUL. This also keeps the sums below small. */
  size_t text_bytes = frame->length - at;
  if (argc < 1 || argc > text_bytes || envc > text_bytes || p[frame->length - 1] != 0) return EINVAL;

  size_t pointer_bytes = (argc + 1 + envc + 1) * sizeof(char *);
  uint8_t *memory = malloc(pointer_bytes + groups * sizeof(gid_t) + text_bytes);
  if (memory == NULL) return ENOMEM;
  request->memory = memory;
  request->argv = (char **)memory;
  request->env = request->argv + argc + 1;
  request->groups = (gid_t *)(memory + pointer_bytes);
  request->group_count = groups;
  memcpy(request->groups, group_bytes, groups * sizeof(gid_t));
  char *text = (char *)(memory + pointer_bytes + groups * sizeof(gid_t)), *end = text + text_bytes;
  memcpy(text, p + at, text_bytes);
  request->directory = text;
  for (size_t i = 0; i < argc + envc && text < end; i++) {
    text += strlen(text) + 1;
    if (text == end) return EINVAL;
    if (i < argc) request->argv[i] = text;
    else request->env[i - argc] = text;
  }
  if (text + strlen(text) + 1 != end) return EINVAL;
  request->argv[argc] = request->env[envc] = NULL;
  return 0;
}

/* ---- the child, until its program runs ---- */

static void __attribute__((noreturn)) refuse(int error, enum stage stage, const char *text) {
  struct refusal refusal = {.error = (uint32_t)error, .stage = stage};
  snprintf(refusal.text, sizeof refusal.text, "%s", text);
  if (write(STATUS_FD, &refusal, sizeof refusal) < 0) _exit(126);
  _exit(127);
}

/* Runs what has no #! as the shells do. */
static void try_program(const char *path, const struct request *request) {
  execve(path, request->argv, request->env);
  if (errno != ENOEXEC) return;
  size_t argc = 0;
  while (request->argv[argc] != NULL) argc++;
  char **argv = calloc(argc + 2, sizeof *argv);
  if (argv == NULL) return;
  argv[0] = "sh";
  argv[1] = (char *)path;
  memcpy(argv + 2, request->argv + 1, argc * sizeof *argv);
  execve("/bin/sh", argv, request->env);
}

static int run_program(const struct request *request) {
  const char *name = request->argv[0], *dirs = "/usr/local/bin:/usr/bin:/bin";
  if (name[0] == 0) return ENOENT;
  if (strchr(name, '/') != NULL) {
    try_program(name, request);
    return errno;
  }
  for (char **env = request->env; *env != NULL; env++) {
    if (strncmp(*env, "PATH=", 5) == 0) dirs = *env + 5;
  }
  int error = ENOENT;
  for (const char *dir = dirs;; dir++) {
    char path[PATH_MAX];
    size_t length = strcspn(dir, ":");
    int n = snprintf(path, sizeof path, "%.*s%s%s", (int)length, dir, length > 0 ? "/" : "./", name);
    if (n < (int)sizeof path) {
      try_program(path, request);
      if (errno == EACCES) error = EACCES;
      else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != ENAMETOOLONG) return errno;
    }
    dir += length;
    if (*dir == 0) return error;
  }
}

static void become(const struct request *request) {
  /* Under test without root there is only one user to be. */
  if (geteuid() != 0 && request->uid == getuid() && request->gid == getgid()) return;
  /* Where only one user is mapped, groups stay what they are. */
  bool is_ours = in_namespaces && request->uid == getuid() && request->gid == getgid();
  if (setgroups(request->group_count, request->groups) < 0 && !(is_ours && errno == EPERM)) {
    refuse(errno, BAD_USER, "groups");
  }
  if (setgid(request->gid) < 0) refuse(errno, BAD_USER, "group");
  if (setuid(request->uid) < 0) refuse(errno, BAD_USER, "user");
}

static void allow(int resource, rlim_t soft, rlim_t hard) {
  struct rlimit limit = {.rlim_cur = soft, .rlim_max = hard};
  if (setrlimit(resource, &limit) == 0 || getrlimit(resource, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max < soft ? limit.rlim_max : soft;
  setrlimit(resource, &limit);
}

static void __attribute__((noreturn)) child(const struct request *request, const int ends[3], int status) {
  /* Out of the way of 0 to 3 first, whatever numbers they had. */
  int away[4];
  for (int i = 0; i < 3; i++) away[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, 10);
  away[3] = fcntl(status, F_DUPFD_CLOEXEC, 10);
  if (dup3(away[3], STATUS_FD, O_CLOEXEC) < 0) _exit(127);
  for (int i = 0; i < 3; i++) {
    if (dup2(away[i], i) < 0) refuse(errno, NO_SESSION, "files");
  }
  /* All of the agent's files close themselves at exec; this is for one that was forgotten. */
#ifdef SYS_close_range
  syscall(SYS_close_range, STATUS_FD + 1, ~0U, 0);
#endif
  setsid();
  if ((request->flags & WITH_TERMINAL) != 0 && ioctl(0, TIOCSCTTY, 0) < 0) refuse(errno, NO_SESSION, "terminal");

  if (in_namespaces) {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* they are the agent's alone */
  } else if (is_init) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "0", 1) == 1) close(fd);
  }
  be_patient(false);
  allow(RLIMIT_NOFILE, 1024, 1048576);
  allow(RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
  become(request);
  if (chdir(request->directory) < 0) refuse(errno, BAD_DIRECTORY, request->directory);
  umask(request->umask);
  signal(SIGPIPE, SIG_DFL); /* the only one the agent has changed; main() has reset the others */
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  refuse(run_program(request), BAD_PROGRAM, request->argv[0]);
}

/* ---- the agent ---- */

void set_size(int fd, unsigned rows, unsigned columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  ioctl(fd, TIOCSWINSZ, &size);
}

static void close_all(int *fds, int count) {
  for (int i = 0; i < count; i++) {
    if (fds[i] >= 0) close(fds[i]);
  }
}

static bool open_pipe(int *read_end, int *write_end, const struct request *request) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  *read_end = ends[0];
  *write_end = ends[1];
  fcntl(ends[0], F_SETPIPE_SZ, PIPE);
  /* So that the process can open /dev/stdout and the like. */
  if (request->uid != 0 && fchown(ends[0], request->uid, request->gid) < 0) return errno == EPERM;
  return true;
}

static bool open_terminal(int *master, int *slave, const struct request *request) {
  int number, unlocked = 0;
  char path[32];
  *master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*master < 0 || ioctl(*master, TIOCSPTLCK, &unlocked) < 0 || ioctl(*master, TIOCGPTN, &number) < 0) return false;
  snprintf(path, sizeof path, "/dev/pts/%d", number);
  *slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (*slave < 0) return false;
  struct termios modes;
  if (tcgetattr(*slave, &modes) == 0) {
    modes.c_iflag |= IUTF8;
    tcsetattr(*slave, TCSANOW, &modes);
  }
  set_size(*master, request->rows, request->columns);
  if (fchown(*slave, request->uid, request->gid) < 0 && errno != EPERM) return false;
  fchmod(*slave, 0620);
  return true;
}

static bool fail(struct refusal *refusal, int error, enum stage stage, const char *text) {
  *refusal = (struct refusal){.error = (uint32_t)error, .stage = stage};
  snprintf(refusal->text, sizeof refusal->text, "%s", text);
  return false;
}

bool spawn(const struct frame *frame, struct spawned *spawned, struct refusal *refusal) {
  struct request request;
  int error = parse_request(frame, &request);
  if (error != 0) {
    free(request.memory);
    return fail(refusal, error, error == ENOMEM ? NO_SESSION : BAD_REQUEST, "EXEC");
  }
  /* Ours: in, out, err, status; then the child's. */
  int ours[4] = {-1, -1, -1, -1}, theirs[4] = {-1, -1, -1, -1};
  bool is_terminal = (request.flags & WITH_TERMINAL) != 0, opened;
  if (is_terminal) {
    opened = open_terminal(&ours[0], &theirs[0], &request);
  } else {
    opened = open_pipe(&theirs[0], &ours[0], &request) && open_pipe(&ours[1], &theirs[1], &request) &&
             open_pipe(&ours[2], &theirs[2], &request);
  }
  if (opened) {
    int ends[2];
    opened = pipe2(ends, O_CLOEXEC) == 0;
    if (opened) ours[3] = ends[0];
    if (opened) theirs[3] = ends[1];
  }
  pid_t pid = -1;
  if (opened) pid = fork();
  error = errno;
  if (pid == 0) {
    const int ends[3] = {theirs[0], theirs[is_terminal ? 0 : 1], theirs[is_terminal ? 0 : 2]};
    child(&request, ends, theirs[3]);
  }
  close_all(theirs, 4);
  free(request.memory);
  if (pid < 0) {
    close_all(ours, 4);
    return fail(refusal, error, NO_SESSION, opened ? "fork" : is_terminal ? "terminal" : "pipes");
  }
  for (int i = 0; i < 4; i++) {
    if (ours[i] >= 0) fcntl(ours[i], F_SETFL, fcntl(ours[i], F_GETFL) | O_NONBLOCK);
  }
  *spawned = (struct spawned){.pid = pid,
                              .in = ours[0],
                              .out = is_terminal ? ours[0] : ours[1],
                              .err = ours[2],
                              .status = ours[3],
                              .is_terminal = is_terminal,
                              .credit = request.credit};
  return true;
}
