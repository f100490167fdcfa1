/*
 * noise: what the operating system takes of a program's time, by fixed quanta of time.
 *
 *   noise [SECONDS [QUANTUM_US]]
 *
 * For SECONDS (5) a single thread does nothing but read the clock. Two reads that follow one another are as far
 * apart as a read takes, unless something else had the CPU between them: a gap longer than five times the shortest
 * one, and than 1 us, is a detour, and what it is longer than the shortest is time lost. Time lost is summed over
 * the whole and within each quantum of QUANTUM_US (1000). One line of JSON comes on standard output.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Detours kept for the percentiles; beyond that they are only counted. */
enum { MAX_DETOURS = 1 << 20, CALIBRATION_NS = 20000000 };

static long long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int ascending(const void *left, const void *right) {
  unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
  return (a > b) - (a < b);
}

static double number(const char *text, double least, double most) {
  char *end;
  double value = strtod(text, &end);
  if (*end || end == text || !(value >= least && value <= most)) {
    fprintf(stderr, "noise: '%s' is no number from %g to %g\n", text, least, most);
    exit(2);
  }
  return value;
}

int main(int argc, char **argv) {
  if (argc > 3) {
    fprintf(stderr, "usage: noise [SECONDS [QUANTUM_US]]\n");
    return 2;
  }
  long long duration = (argc > 1 ? number(argv[1], 0.01, 86400) : 5) * 1e9;
  long long quantum = (argc > 2 ? number(argv[2], 10, 1e7) : 1000) * 1e3;
  size_t quanta = (duration + quantum - 1) / quantum;
  /* All memory is touched beforehand, so that no page fault of ours counts as noise. */
  unsigned *detours = malloc(MAX_DETOURS * sizeof *detours), *lost_in = malloc(quanta * sizeof *lost_in);
  if (!detours || !lost_in) {
    fprintf(stderr, "noise: no memory for %zu quanta\n", quanta);
    return 1;
  }
  memset(detours, 1, MAX_DETOURS * sizeof *detours);
  memset(lost_in, 1, quanta * sizeof *lost_in);
  memset(lost_in, 0, quanta * sizeof *lost_in);

  /* A clock that stands still between two reads says nothing of what a read takes. */
  long long least = 1LL << 62, previous = now_ns();
  for (long long end = previous + CALIBRATION_NS; previous < end;) {
    long long now = now_ns();
    if (now > previous && now - previous < least) least = now - previous;
    previous = now;
  }
  long long threshold = 5 * least > 1000 ? 5 * least : 1000;

  long long lost = 0, longest = 0;
  unsigned long long count = 0;
  long long start = now_ns(), end = start + duration;
  previous = start;
  while (previous < end) {
    long long now = now_ns(), gap = now - previous;
    if (gap > threshold) {
      long long taken = gap - least;
      if (count < MAX_DETOURS) detours[count] = taken > 4000000000LL ? 4000000000U : taken;
      count++;
      lost += taken;
      if (taken > longest) longest = taken;
      /* From where the detour ended backwards: it may reach over several quanta. */
      for (long long from = previous - start, to = now - start; from < to && from < duration;) {
        long long next = (from / quantum + 1) * quantum, till = next < to ? next : to;
        lost_in[from / quantum] += till - from;
        from = till;
      }
    }
    previous = now;
  }
  double total = previous - start;

  size_t disturbed = 0, kept = count < MAX_DETOURS ? count : MAX_DETOURS;
  unsigned worst = 0;
  for (size_t i = 0; i < quanta; i++) {
    if (lost_in[i]) disturbed++;
    if (lost_in[i] > worst) worst = lost_in[i];
  }
  qsort(detours, kept, sizeof *detours, ascending);
  printf("{\"program\":\"noise\",\"seconds\":%.6f,\"quantumUs\":%.3f,\"quanta\":%zu,\"readNs\":%lld,\"thresholdNs\":%lld,"
         "\"lostPercent\":%.6f,\"detours\":%llu,\"longestUs\":%.3f",
         total / 1e9, quantum / 1e3, quanta, least, threshold, 100 * lost / total, count, longest / 1e3);
  printf(",\"disturbedQuanta\":%zu,\"worstQuantumPercent\":%.3f", disturbed, 100.0 * worst / quantum);
  static const int percentiles[] = {50, 90, 99};
  printf(",\"detourUs\":{");
  for (int i = 0; i < 3; i++) {
    /* Nearest rank: the smallest detour that so many percent of them do not exceed. */
    size_t rank = (kept * percentiles[i] + 99) / 100;
    printf("%s\"p%d\":%.3f", i ? "," : "", percentiles[i], rank ? detours[rank - 1] / 1e3 : 0.0);
  }
  printf("}}\n");
  return fflush(stdout) ? 1 : 0;
}
