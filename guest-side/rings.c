/* The rings of user-mode Linux, which docs/reference/agent-protocol.md describes. */
#include "rings.h"
#include "agent.h"

enum {
  /* The file of the rings: a page that the host writes, one that is ours, the bytes to us, the bytes to the host. */
  PAGE = 4096,
  TO_GUEST = 2 * PAGE,
  TO_HOST = TO_GUEST + RING,
  /* Whoever has taken so many bytes tells the other, who may wait for room. */
  TELL_EVERY = RING / 4,
};
_Static_assert(RINGS_BYTES == TO_HOST + RING, "the file ends with the bytes to the host");

/* How many bytes one side has ever sent, and taken of what the other has sent. */
struct counts {
  uint64_t sent, taken;
};

static uint8_t *rings;
static uint64_t given; /* up to where the bytes to us have been given out */
static uint64_t told;  /* of those, how many the host was told of */
static uint64_t put;
static uint64_t host_taken; /* of that, as last told in a way that can be */
static bool bell_due;

void rings_use(uint8_t *memory) {
  rings = memory;
}

static uint64_t host_count(size_t offset) {
  return __atomic_load_n((const uint64_t *)(rings + offset), __ATOMIC_ACQUIRE);
}

static void set_own_count(size_t offset, uint64_t count) {
  __atomic_store_n((uint64_t *)(rings + PAGE + offset), count, __ATOMIC_RELEASE);
}

size_t rings_put(const uint8_t *bytes, size_t length) {
  uint64_t taken = host_count(offsetof(struct counts, taken));
  if (put - taken <= RING) host_taken = taken;
  size_t room = RING - (size_t)(put - host_taken), done = 0;
  while (done < length && room > 0) {
    size_t offset = put % RING, piece = least(least(length - done, room), RING - offset);
    memcpy(rings + TO_HOST + offset, bytes + done, piece);
    done += piece;
    room -= piece;
    put += piece;
    bell_due = true;
  }
  set_own_count(offsetof(struct counts, sent), put);
  return done;
}

bool rings_sound(void) {
  return host_count(offsetof(struct counts, sent)) - given <= RING;
}

void rings_pass_over(void) {
  given = host_count(offsetof(struct counts, sent));
}

size_t rings_get(const uint8_t **bytes) {
  uint64_t sent = host_count(offsetof(struct counts, sent));
  size_t offset = given % RING;
  /* Looked at again: the count may have changed since it was sound. */
  size_t length = sent - given > RING ? 0 : least((size_t)(sent - given), RING - offset);
  *bytes = rings + TO_GUEST + offset;
  given += length;
  return length;
}

void rings_taken(size_t left) {
  uint64_t taken = given - left;
  set_own_count(offsetof(struct counts, taken), taken);
  if (taken - told < TELL_EVERY) return;
  told = taken;
  bell_due = true;
}

bool rings_ask_for_bell(void) {
  bool due = bell_due;
  bell_due = false;
  return due;
}
