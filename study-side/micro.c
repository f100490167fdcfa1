/*
 * micro: what a system call and a page fault cost.
 *
 *   micro [4K|thp|2M|1G]
 *
 * A system call is getppid(2), asked of the kernel each time. A page fault is the first write to a page of a fresh
 * private anonymous mapping of pages of the size named (4K), the kernel's clearing of the page included. Both are
 * timed in batches; the time per call or page is given for the fastest batch and as the median over all. Where the
 * kernel is slow there are fewer batches: each of the two takes about two seconds at most.
 * One line of JSON comes on standard output.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SYSCALL_BATCHES = 301, CALLS = 2000, MAX_BATCHES = 301, LEAST_BATCHES = 5 };
static const double enough_ns = 2e9;

static const struct size {
  const char *name;
  size_t bytes;
  int pages, batches, flags, advice;
} sizes[] = {
    {"4K", 4096, 1024, 301, 0, MADV_NOHUGEPAGE},
    {"thp", 2 << 20, 8, 101, 0, MADV_HUGEPAGE},
    {"2M", 2 << 20, 8, 101, MAP_HUGETLB | 21 << 26, 0},
    {"1G", 1 << 30, 1, 5, MAP_HUGETLB | 30 << 26, 0},
};

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static int ascending(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

static void print(const char *name, double *ns, int batches, int per_batch) {
  qsort(ns, batches, sizeof *ns, ascending);
  printf(",\"%s\":{\"bestNs\":%.3f,\"medianNs\":%.3f,\"batches\":%d,\"perBatch\":%d}", name, ns[0], ns[batches / 2],
         batches, per_batch);
}

static double time_syscalls(const struct size *unused) {
  (void)unused;
  double began = now_ns();
  for (int i = 0; i < CALLS; i++) syscall(SYS_getppid);
  return (now_ns() - began) / CALLS;
}

static double time_faults(const struct size *size) {
  size_t bytes = size->bytes * size->pages;
  /* Room to begin at a whole page of that size, which the kernel sees to itself for hugetlb. */
  size_t spare = size->flags ? 0 : size->bytes;
  char *mapping = mmap(NULL, bytes + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | size->flags, -1, 0);
  if (mapping == MAP_FAILED) {
    fprintf(stderr, "micro: no %d pages of %s: %s\n", size->pages, size->name, strerror(errno));
    exit(1);
  }
  char *first = mapping + (spare ? -(size_t)mapping & (size->bytes - 1) : 0);
  /* A kernel without transparent huge pages has nothing to be told. */
  if (size->advice && madvise(mapping, bytes + spare, size->advice) < 0 && errno != EINVAL) {
    perror("micro: madvise");
    exit(1);
  }
  double began = now_ns();
  for (int i = 0; i < size->pages; i++) *(volatile char *)(first + i * size->bytes) = 1;
  double took = now_ns() - began;
  munmap(mapping, bytes + spare);
  return took / size->pages;
}

/* Runs batches, the first to warm up. */
static void measure(const char *name, double (*batch)(const struct size *), const struct size *size, int batches,
                    int per_batch) {
  double ns[MAX_BATCHES], began = now_ns();
  int done = 0;
  batch(size);
  while (done < batches && (done < LEAST_BATCHES || now_ns() - began < enough_ns)) ns[done++] = batch(size);
  print(name, ns, done, per_batch);
}

int main(int argc, char **argv) {
  const char *name = argc > 1 ? argv[1] : "4K";
  const struct size *size = NULL;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
    if (strcmp(name, sizes[i].name) == 0) size = &sizes[i];
  if (argc > 2 || !size) {
    fprintf(stderr, "usage: micro [4K|thp|2M|1G]\n");
    return 2;
  }
  printf("{\"program\":\"micro\",\"pages\":\"%s\"", size->name);
  measure("syscall", time_syscalls, size, SYSCALL_BATCHES, CALLS);
  measure("pageFault", time_faults, size, size->batches, size->pages);
  printf("}\n");
  return fflush(stdout) ? 1 : 0;
}
