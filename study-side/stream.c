/*
 * stream: sustainable memory bandwidth, by the definition and the rules of timing and validation of
 * J. D. McCalpin's STREAM (https://www.cs.virginia.edu/stream/ref.html).
 *
 *   stream ELEMENTS [ITERATIONS]
 *
 * Three arrays of ELEMENTS doubles; in each of ITERATIONS (10) rounds
 *
 *   copy   c = a            16 bytes an element
 *   scale  b = 3 c          16
 *   add    c = a + b        24
 *   triad  a = b + 3 c      24
 *
 * are timed one by one. The first round is left out; the bandwidth of a kernel is that of its shortest time, in
 * 10^6 bytes a second. Afterwards the arrays must hold what the same steps give for one number each: an average
 * relative error from 1e-13 on is a failure, exit code 1. One line of JSON comes on standard output.
 * Threads and where they run are OpenMP's (OMP_NUM_THREADS, OMP_PLACES, OMP_PROC_BIND).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COPY, SCALE, ADD, TRIAD, KERNELS, MIN_ITERATIONS = 10, MAX_ITERATIONS = 200 };

static const char *const names[KERNELS] = {"copy", "scale", "add", "triad"};
static const int bytes_per_element[KERNELS] = {16, 16, 24, 24};
static const double scalar = 3, tolerance = 1e-13;

/*
 * Each thread calls these on its part of the arrays: GCC makes clones for several instruction sets of a function,
 * but not of the parallel regions in it.
 */
#define KERNEL __attribute__((noinline, target_clones("avx512f", "avx2", "default")))
typedef double *restrict out;
typedef const double *restrict in;

KERNEL static void copy(out c, in a, long n) {
  for (long i = 0; i < n; i++) c[i] = a[i];
}
KERNEL static void scale(out b, in c, long n) {
  for (long i = 0; i < n; i++) b[i] = scalar * c[i];
}
KERNEL static void add(out c, in a, in b, long n) {
  for (long i = 0; i < n; i++) c[i] = a[i] + b[i];
}
KERNEL static void triad(out a, in b, in c, long n) {
  for (long i = 0; i < n; i++) a[i] = b[i] + scalar * c[i];
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

/* The smallest step by which the clock was seen to go on, in microseconds. */
static double timer_tick_us(void) {
  double least = HUGE_VAL;
  for (int i = 0; i < 20; i++) {
    double first = now(), next;
    while ((next = now()) <= first) continue;
    if (next - first < least) least = next - first;
  }
  return least * 1e6;
}

static double *allocate(long elements) {
  size_t bytes = (elements * sizeof(double) + 63) / 64 * 64;
  double *array = aligned_alloc(64, bytes);
  if (!array) {
    fprintf(stderr, "stream: no memory for %ld elements: %s\n", elements, strerror(errno));
    exit(2);
  }
  return array;
}

/* The part of the calling thread: as even as can be. */
static void part(long elements, long *first, long *count) {
  long threads = omp_get_num_threads(), me = omp_get_thread_num(), even = elements / threads, rest = elements % threads;
  *first = me * even + (me < rest ? me : rest);
  *count = even + (me < rest);
}

static void run(int kernel, double *a, double *b, double *c, long elements) {
#pragma omp parallel
  {
    long first, count;
    part(elements, &first, &count);
    if (kernel == COPY) copy(c + first, a + first, count);
    if (kernel == SCALE) scale(b + first, c + first, count);
    if (kernel == ADD) add(c + first, a + first, b + first, count);
    if (kernel == TRIAD) triad(a + first, b + first, c + first, count);
  }
}

static double relative_error(const double *array, double expected, long elements) {
  double sum = 0;
#pragma omp parallel for reduction(+ : sum)
  for (long i = 0; i < elements; i++) sum += fabs(array[i] - expected);
  return sum / elements / fabs(expected);
}

static long positive(const char *text, const char *what, long least, long most) {
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno || *end || end == text || value < least || value > most) {
    fprintf(stderr, "stream: '%s' is no number of %s from %ld to %ld\n", text, what, least, most);
    exit(2);
  }
  return value;
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: stream ELEMENTS [ITERATIONS]\n");
    return 2;
  }
  long elements = positive(argv[1], "elements", 1, 1L << 40);
  int iterations = argc > 2 ? positive(argv[2], "iterations", MIN_ITERATIONS, MAX_ITERATIONS) : MIN_ITERATIONS;
  int threads = 0;
  double *a = allocate(elements), *b = allocate(elements), *c = allocate(elements);
  /* Memory is given by the node of the thread that first writes to it. */
#pragma omp parallel
  {
    long first, count;
    part(elements, &first, &count);
    for (long i = first; i < first + count; i++) {
      a[i] = 1;
      b[i] = 2;
      c[i] = 0;
    }
#pragma omp master
    threads = omp_get_num_threads();
  }
  double tick_us = timer_tick_us();

  static double seconds[KERNELS][MAX_ITERATIONS];
  for (int round = 0; round < iterations; round++) {
    for (int kernel = 0; kernel < KERNELS; kernel++) {
      double began = now();
      run(kernel, a, b, c, elements);
      seconds[kernel][round] = now() - began;
    }
  }

  double x = 1, y = 2, z = 0;
  for (int round = 0; round < iterations; round++) {
    z = x;
    y = scalar * z;
    z = x + y;
    x = y + scalar * z;
  }
  double errors[] = {relative_error(a, x, elements), relative_error(b, y, elements), relative_error(c, z, elements)};
  double worst = 0;
  /* Not fmax, which would pass over a NaN. */
  for (int i = 0; i < 3; i++)
    if (!(errors[i] <= worst)) worst = errors[i];
  int valid = worst < tolerance;

  const char *vectors = __builtin_cpu_supports("avx512f") ? "avx512f" : __builtin_cpu_supports("avx2") ? "avx2" : "default";
  printf("{\"program\":\"stream\",\"elements\":%ld,\"threads\":%d,\"iterations\":%d,\"vectors\":\"%s\",\"timerTickUs\":%.4g",
         elements, threads, iterations, vectors, tick_us);
  for (int kernel = 0; kernel < KERNELS; kernel++) {
    double best = HUGE_VAL, longest = 0, sum = 0;
    for (int round = 1; round < iterations; round++) {
      double time = seconds[kernel][round];
      if (time < best) best = time;
      if (time > longest) longest = time;
      sum += time;
    }
    printf(",\"%s\":{\"bestMBps\":%.2f,\"avgSeconds\":%.9f,\"minSeconds\":%.9f,\"maxSeconds\":%.9f}", names[kernel],
           1e-6 * bytes_per_element[kernel] * elements / best, sum / (iterations - 1), best, longest);
  }
  if (isfinite(worst)) printf(",\"maxRelativeError\":%.3g", worst);
  else printf(",\"maxRelativeError\":null");
  printf(",\"valid\":%s}\n", valid ? "true" : "false");
  if (fflush(stdout)) return 2;
  return valid ? 0 : 1;
}
