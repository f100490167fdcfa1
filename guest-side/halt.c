/* HALT: every process gets its time to end, everything is written, then the machine goes down. */
#include "agent.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POWER_OFF, REBOOT, ONLY_SYNC };
enum { KILLED_MS = 2000, WRITTEN_MS = 10000, TOLD_MS = 1000 };

static enum { RUNNING, ASKED, FORCED, WRITING, TOLD } phase;
static uint32_t mode, session;
static int64_t phase_ends;
static pid_t writer;

bool halting(void) {
  return phase != RUNNING;
}

static void enter(int next, int64_t ends) {
  phase = next;
  phase_ends = ends;
  wake_at(ends);
}

/* In a process of its own: what a share's server does not take any more must not keep the machine up. */
static void start_writing(int64_t now) {
  enter(WRITING, now + WRITTEN_MS);
  writer = -1;
  /* The host's kernel has what was written already, and sync(2) would have it write for everybody. */
  if (in_namespaces) return;
  writer = fork();
  if (writer == 0) {
    if (mode == ONLY_SYNC) sync();
    else if (is_init) let_go_of_files();
    _exit(0);
  }
  if (writer < 0) sync();
}

enum verdict halt_take(const struct frame *frame) {
  if (frame->length != 8 || get32(frame->payload) > ONLY_SYNC) return BROKEN;
  if (phase != RUNNING) return TAKEN;
  int64_t now = now_ms();
  mode = get32(frame->payload);
  session = frame->session;
  steps_forget();
  if (mode == ONLY_SYNC) {
    start_writing(now);
    return TAKEN;
  }
  enter(ASKED, now + get32(frame->payload + 4));
  if (is_init) kill(-1, SIGTERM);
  else sessions_signal(SIGTERM);
  sessions_hang_up();
  if (is_init) kill(-1, SIGCONT);
  else sessions_signal(SIGCONT);
  return TAKEN;
}

void halt_child_ended(pid_t pid) {
  if (pid == writer) writer = -1;
}

void halt_pump(int64_t now) {
  if (phase == RUNNING) return;
  bool late = now >= phase_ends;
  if (phase == ASKED && !childless() && late) {
    if (is_init) kill(-1, SIGKILL);
    else sessions_kill();
    enter(FORCED, now + KILLED_MS);
    return;
  }
  if ((phase == ASKED || phase == FORCED) && (childless() || late)) start_writing(now);
  if (phase == WRITING && (writer < 0 || late) && (out_room() >= SMALL_FRAME || late)) {
    send_frame(HALTED, 0, session, NULL, 0);
    if (mode == ONLY_SYNC) {
      phase = RUNNING;
      return;
    }
    enter(TOLD, now + TOLD_MS);
    channel_flush();
  }
  if (phase == TOLD && (!channel_has_output() || late)) {
    if (!is_init || in_namespaces) exit(0);
    machine_down(mode == REBOOT);
  }
  if (phase != RUNNING) wake_at(phase_ends);
}
