/*
 * advise.so: large blocks of malloc on transparent huge pages, by LD_PRELOAD.
 *
 * glibc has a tunable for this (glibc.malloc.hugetlb=1), but in 2.36 it works at random: it compares what it read of
 * /sys/kernel/mm/transparent_hugepage/enabled as a string without having ended it.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* Less than two huge pages may well hold none that is whole. */
enum { LEAST_BYTES = 4 << 20, PAGE = 4096 };

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void *advised(void *block, size_t bytes) {
  if (!block || bytes < LEAST_BYTES) return block;
  int saved = errno;
  uintptr_t first = (uintptr_t)block & ~(uintptr_t)(PAGE - 1), end = (uintptr_t)block + bytes;
  madvise((void *)first, end - first, MADV_HUGEPAGE);
  errno = saved;
  return block;
}

void *malloc(size_t bytes) { return advised(__libc_malloc(bytes), bytes); }
void *calloc(size_t count, size_t size) { return advised(__libc_calloc(count, size), count * size); }
void *realloc(void *block, size_t bytes) { return advised(__libc_realloc(block, bytes), bytes); }
void *memalign(size_t alignment, size_t bytes) { return advised(__libc_memalign(alignment, bytes), bytes); }
void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **block, size_t alignment, size_t bytes) {
  if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0) return EINVAL;
  int saved = errno;
  void *made = memalign(alignment, bytes);
  errno = saved;
  if (!made) return ENOMEM;
  *block = made;
  return 0;
}
