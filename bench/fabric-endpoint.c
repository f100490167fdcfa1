/*
 * An endpoint for bench/fabric.mjs: sends, counts or answers Ethernet frames on either kind of switch.
 *
 *   fabric-endpoint stream PATH  ROLE SELF PEER BYTES BATCH SECONDS    listens on a unix stream socket, frames by length
 *   fabric-endpoint vde SWITCH   ROLE SELF PEER BYTES BATCH SECONDS    joins a vde_switch
 *
 * ROLE: send, receive, both, ping, pong. SELF and PEER are last bytes of addresses. BATCH frames go to the kernel in
 * one call and come from it in one call: one write of all for a stream, sendmmsg for the switch's datagrams.
 * It prints `ready`, waits for a line on its input, works for SECONDS, and prints what was sent and received as JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_VDE
#include <libvdeplug.h>
#endif

enum { largest = 65536, mostBatch = 64, receiveBytes = 1 << 18 };

static int isStream, fd, length, batch;
static double seconds;
static unsigned char frame[largest];
static volatile int isOver;
static struct { uint64_t sent, received; double first, last; } count;

static double now(void) {
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static void writeAll(const unsigned char *bytes, size_t left) {
	while (left > 0) {
		ssize_t done = write(fd, bytes, left);
		if (done < 0 && errno == EINTR) continue;
		if (done <= 0) fail("write");
		bytes += done;
		left -= done;
	}
}

/* Sends frames until the time is over. */
static void *sendFrames(void *unused) {
	static unsigned char stream[mostBatch * (largest + 4)];
	static struct mmsghdr messages[mostBatch];
	static struct iovec parts[mostBatch];
	for (int i = 0; i < batch; i++) {
		uint32_t header = htobe32(length);
		memcpy(stream + i * (length + 4), &header, 4);
		memcpy(stream + i * (length + 4) + 4, frame, length);
		parts[i] = (struct iovec){frame, length};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	double end = now() + seconds;
	while (now() < end) {
		if (isStream) {
			writeAll(stream, (size_t)batch * (length + 4));
			count.sent += batch;
			continue;
		}
		int done = sendmmsg(fd, messages, batch, 0);
		if (done > 0) count.sent += done;
		else if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS) fail("sendmmsg");
	}
	(void)unused;
	return NULL;
}

static void arrived(uint64_t frames) {
	double at = now();
	if (count.received == 0) count.first = at;
	count.last = at;
	count.received += frames;
}

/* Frames that are for us in a piece of a stream; what is cut stays at the start of the buffer. */
static uint64_t parse(unsigned char *bytes, size_t *have) {
	uint64_t frames = 0;
	size_t at = 0;
	while (*have - at >= 4) {
		uint32_t header;
		memcpy(&header, bytes + at, 4);
		size_t whole = be32toh(header) + (size_t)4;
		if (*have - at < whole) break;
		if (be32toh(header) == (uint32_t)length && bytes[at + 4 + 5] == frame[11]) frames++;
		at += whole;
	}
	memmove(bytes, bytes + at, *have - at);
	*have -= at;
	return frames;
}

/* Counts frames until nothing came for a while after the time is over. */
static void *receiveFrames(void *unused) {
	static unsigned char bytes[receiveBytes + largest];
	static struct mmsghdr messages[mostBatch];
	static struct iovec parts[mostBatch];
	size_t have = 0;
	for (int i = 0; i < batch; i++) {
		parts[i] = (struct iovec){bytes + i * 2048, 2048};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	double end = now() + seconds;
	for (;;) {
		struct pollfd poller = {fd, POLLIN, 0};
		int isReady = poll(&poller, 1, 100);
		if (isReady <= 0) {
			if (now() > end + 0.2) break;
			continue;
		}
		if (isStream) {
			ssize_t done = read(fd, bytes + have, receiveBytes);
			if (done <= 0) break;
			have += done;
			uint64_t frames = parse(bytes, &have);
			if (frames > 0) arrived(frames);
			continue;
		}
		int done = recvmmsg(fd, messages, batch, MSG_DONTWAIT, NULL);
		uint64_t frames = 0;
		for (int i = 0; i < done; i++)
			if (messages[i].msg_len == (unsigned)length && bytes[i * 2048 + 5] == frame[11]) frames++;
		if (frames > 0) arrived(frames);
	}
	(void)unused;
	return NULL;
}

static void sendOne(void) {
	if (!isStream) {
		if (send(fd, frame, length, 0) < 0) fail("send");
		return;
	}
	static unsigned char one[largest + 4];
	uint32_t header = htobe32(length);
	memcpy(one, &header, 4);
	memcpy(one + 4, frame, length);
	writeAll(one, length + 4);
}

/* Waits for one frame for us; false when none came for long. */
static int receiveOne(void) {
	static unsigned char bytes[receiveBytes + largest];
	static size_t have = 0;
	for (;;) {
		struct pollfd poller = {fd, POLLIN, 0};
		if (poll(&poller, 1, 1000) <= 0) return 0;
		ssize_t done = isStream ? read(fd, bytes + have, receiveBytes) : recv(fd, bytes, receiveBytes, 0);
		if (done <= 0) return 0;
		if (!isStream) {
			if (done == length && bytes[5] == frame[11]) return 1;
			continue;
		}
		have += done;
		if (parse(bytes, &have) > 0) return 1;
	}
}

static int byTime(const void *a, const void *b) {
	double left = *(const double *)a, right = *(const double *)b;
	return left < right ? -1 : left > right;
}

static void ping(void) {
	static double times[1 << 20];
	double end = now() + seconds;
	int rounds = 0;
	while (rounds < 1 << 20 && now() < end) {
		double begin = now();
		sendOne();
		if (!receiveOne()) break;
		times[rounds++] = now() - begin;
	}
	qsort(times, rounds, sizeof *times, byTime);
	count.received = rounds;
	if (rounds == 0) return;
	printf("{\"rounds\":%d,\"medianUs\":%.2f,\"p99Us\":%.2f}\n", rounds, times[rounds / 2] * 1e6,
	       times[rounds - 1 - rounds / 100] * 1e6);
}

static void pong(void) {
	double end = now() + seconds + 0.5;
	while (now() < end)
		if (receiveOne()) sendOne();
	printf("{}\n");
}

static void join(const char *where) {
	if (isStream) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		snprintf(address.sun_path, sizeof address.sun_path, "%s", where);
		int listener = socket(AF_UNIX, SOCK_STREAM, 0);
		if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail(where);
		if (listen(listener, 1) != 0) fail("listen");
		fd = accept(listener, NULL, NULL);
		if (fd < 0) fail("accept");
		return;
	}
#ifdef WITH_VDE
	VDECONN *connection = vde_open((char *)where, "lodge bench", NULL);
	if (connection == NULL) fail(where);
	fd = vde_datafd(connection);
#else
	fprintf(stderr, "built without libvdeplug\n");
	exit(1);
#endif
}

int main(int argc, char **argv) {
	if (argc != 9) {
		fprintf(stderr, "usage: %s stream|vde PLACE ROLE SELF PEER BYTES BATCH SECONDS\n", argv[0]);
		return 2;
	}
	isStream = strcmp(argv[1], "stream") == 0;
	const char *role = argv[3];
	length = atoi(argv[6]);
	batch = atoi(argv[7]);
	seconds = atof(argv[8]);
	if (length < 60 || length > 2048 || batch < 1 || batch > mostBatch) return 2;
	const unsigned char addresses[14] = {2, 0x4c, 0, 0, 0, atoi(argv[5]), 2, 0x4c, 0, 0, 0, atoi(argv[4]), 0x88, 0xb5};
	memcpy(frame, addresses, sizeof addresses);
	join(argv[2]);
	/* The switch learns where we are. */
	memset(frame, 0xff, 6);
	sendOne();
	memcpy(frame, addresses, 6);
	printf("ready\n");
	fflush(stdout);
	if (getchar() == EOF) return 1;
	if (strcmp(role, "ping") == 0) ping();
	else if (strcmp(role, "pong") == 0) pong();
	else {
		pthread_t sender;
		int isSender = strcmp(role, "receive") != 0;
		if (isSender && pthread_create(&sender, NULL, sendFrames, NULL) != 0) return 1;
		if (strcmp(role, "send") != 0) receiveFrames(NULL);
		if (isSender) pthread_join(sender, NULL);
		printf("{\"sent\":%lu,\"received\":%lu,\"seconds\":%.6f}\n", count.sent, count.received,
		       count.last - count.first);
	}
	return 0;
}
