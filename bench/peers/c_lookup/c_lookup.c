/* The yardstick: a look-up server for opcode 1 in C, one thread, recvmmsg and sendmmsg in batches of 64.
 *
 * It does the work of a hot answer path and nothing else: checks that a datagram is a plain resolution request for all
 * values, folds and hashes the handle, finds the record, assembles the answer with the request's own spelling of the
 * handle, and sets request id, flags, recursion count and expiration. A handle it has not is answered with RC 100; what
 * else it does not serve is counted and dropped.
 *
 *   c_lookup --population FILE [--port 0] [--cpu -1] [--address 127.0.0.1]
 *
 * Prints "READY <port>" once bound; on SIGTERM or SIGINT prints its counters as JSON and ends. */
#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

static struct population people;
static uint32_t *table; /* record number + 1, 0 = empty; open addressing, load at most one half */
static uint64_t table_mask;
static volatile sig_atomic_t stopped;

static void on_signal(int number) { (void)number; stopped = 1; }

static inline uint8_t folded(uint8_t c) { return c >= 'a' && c <= 'z' ? c - 32 : c; }

static inline uint64_t hash_of(const uint8_t *name, uint32_t octets) {
    uint64_t h = 1469598103934665603u;
    for (uint32_t i = 0; i < octets; i++) h = (h ^ folded(name[i])) * 1099511628211u;
    return h ^ h >> 29;
}

static inline int same_name(const struct record *r, const uint8_t *name, uint32_t octets) {
    if (r->handle_octets != octets) return 0;
    for (uint32_t i = 0; i < octets; i++)
        if (folded(r->handle[i]) != folded(name[i])) return 0;
    return 1;
}

static void build_table(void) {
    uint64_t size = 16;
    while (size < people.count * 2) size *= 2;
    table = calloc(size, sizeof *table);
    if (!table) fail("memory for the table");
    table_mask = size - 1;
    for (uint64_t i = 0; i < people.count; i++) {
        uint64_t at = hash_of(people.records[i].handle, people.records[i].handle_octets) & table_mask;
        while (table[at]) at = (at + 1) & table_mask;
        table[at] = (uint32_t)i + 1;
    }
}

static inline const struct record *find(const uint8_t *name, uint32_t octets) {
    for (uint64_t at = hash_of(name, octets) & table_mask; table[at]; at = (at + 1) & table_mask)
        if (same_name(&people.records[table[at] - 1], name, octets)) return &people.records[table[at] - 1];
    return NULL;
}

/* The length of the answer, or 0 for a datagram this server does not serve. */
static size_t answer(const uint8_t *in, size_t octets, uint8_t *out, uint32_t expiration) {
    if (octets < BODY_AT + 16 || in[0] != 2 || (in[2] & 0xe0)) return 0;
    if (get32(in + LENGTH_AT) != octets - ENVELOPE_OCTETS) return 0;
    if (get32(in + SESSION_AT) || get32(in + SEQUENCE_AT)) return 0;
    if (get32(in + OPCODE_AT) != 1 || get32(in + RESPONSE_CODE_AT)) return 0;
    uint32_t flags = get32(in + FLAGS_AT), body = get32(in + BODY_LENGTH_AT), name = get32(in + BODY_AT);
    if (flags & (FLAG_CT | FLAG_ENC | FLAG_KC | FLAG_RD)) return 0;
    if (body != octets - BODY_AT - 4 || name > body - 12 || name + 12 != body) return 0;
    const uint8_t *after = in + BODY_AT + 4 + name; /* index count, type count, credential length: all zero */
    if (get32(after) || get32(after + 4) || get32(after + 8)) return 0;
    const struct record *r = find(in + BODY_AT + 4, name);
    if (!r) {
        memcpy(out, in, octets);
        put32(out + RESPONSE_CODE_AT, 100);
        put32(out + FLAGS_AT, flags | FLAG_AT);
        return octets;
    }
    uint32_t answer_body = 4 + name + r->values_octets;
    out[0] = 2; out[1] = 11; out[2] = 2; out[3] = 11;
    put32(out + SESSION_AT, 0);
    memcpy(out + REQUEST_ID_AT, in + REQUEST_ID_AT, 4);
    put32(out + SEQUENCE_AT, 0);
    put32(out + LENGTH_AT, HEADER_OCTETS + answer_body + 4);
    put32(out + OPCODE_AT, 1);
    put32(out + RESPONSE_CODE_AT, 1);
    put32(out + FLAGS_AT, flags | FLAG_AT);
    put16(out + SITE_SERIAL_AT, 1);
    out[RECURSION_AT] = in[RECURSION_AT];
    out[RECURSION_AT + 1] = 0;
    put32(out + EXPIRATION_AT, expiration);
    put32(out + BODY_LENGTH_AT, answer_body);
    memcpy(out + BODY_AT, in + BODY_AT, 4 + name);
    memcpy(out + BODY_AT + 4 + name, r->values, r->values_octets);
    put32(out + BODY_AT + answer_body, 0);
    return BODY_AT + answer_body + 4;
}

static int bound_socket(const char *address, int port) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
    struct sockaddr_in me = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t octets = sizeof me;
    if (fd < 0 || inet_pton(AF_INET, address, &me.sin_addr) != 1) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (bind(fd, (struct sockaddr *)&me, sizeof me) || getsockname(fd, (struct sockaddr *)&me, &octets)) fail("bind");
    printf("READY %d\n", ntohs(me.sin_port));
    fflush(stdout);
    return fd;
}

static struct mmsghdr sent[BATCH * PARTS_MAX];
static struct iovec out_at[BATCH * PARTS_MAX][2];
static uint8_t envelopes[BATCH * PARTS_MAX][ENVELOPE_OCTETS];

/* Queues the datagrams of one answer from `ready` on; how many are queued then. */
static int queue(uint8_t *message, size_t octets, struct msghdr *to, int ready) {
    size_t rest = octets - ENVELOPE_OCTETS;
    for (size_t start = 0, part = 0; start < rest; start += PART_OCTETS, part++, ready++) {
        sent[ready].msg_hdr = (struct msghdr){.msg_name = to->msg_name, .msg_namelen = to->msg_namelen,
                                              .msg_iov = out_at[ready], .msg_iovlen = 1};
        out_at[ready][0] = (struct iovec){message, octets};
        if (rest <= PART_OCTETS) continue;
        memcpy(envelopes[ready], message, ENVELOPE_OCTETS);
        envelopes[ready][2] |= PART_MARK;
        put32(envelopes[ready] + SEQUENCE_AT, (uint32_t)part);
        out_at[ready][0] = (struct iovec){envelopes[ready], ENVELOPE_OCTETS};
        size_t left = rest - start;
        out_at[ready][1] = (struct iovec){message + ENVELOPE_OCTETS + start, left < PART_OCTETS ? left : PART_OCTETS};
        sent[ready].msg_hdr.msg_iovlen = 2;
    }
    return ready;
}

static void serve(int fd) {
    static uint8_t in[BATCH][DATAGRAM_OCTETS_MAX], out[BATCH][MESSAGE_OCTETS_MAX];
    static struct sockaddr_in from[BATCH];
    static struct mmsghdr received[BATCH];
    static struct iovec in_at[BATCH];
    unsigned long long requests = 0, answers = 0, refused = 0, batches = 0;
    for (int i = 0; i < BATCH; i++) {
        in_at[i] = (struct iovec){in[i], DATAGRAM_OCTETS_MAX};
        received[i].msg_hdr = (struct msghdr){.msg_iov = &in_at[i], .msg_iovlen = 1, .msg_name = &from[i]};
    }
    while (!stopped) {
        for (int i = 0; i < BATCH; i++) received[i].msg_hdr.msg_namelen = sizeof from[i];
        int got = recvmmsg(fd, received, BATCH, MSG_WAITFORONE, NULL), ready = 0;
        if (got < 0) { if (errno == EINTR) continue; fail("recvmmsg"); }
        uint32_t expiration = (uint32_t)time(NULL) + LIFETIME_S;
        for (int i = 0; i < got; i++) {
            size_t octets = answer(in[i], received[i].msg_len, out[i], expiration);
            if (!octets) { refused++; continue; }
            ready = queue(out[i], octets, &received[i].msg_hdr, ready);
            answers++;
        }
        for (int done = 0; done < ready;) {
            int n = sendmmsg(fd, sent + done, ready - done, 0);
            if (n < 0 && errno != EINTR) { n = 1; } /* one peer unreachable must not stop the others */
            if (n > 0) done += n;
        }
        batches++; requests += got;
    }
    printf("{\"requests\": %llu, \"answers\": %llu, \"refused\": %llu, \"batches\": %llu}\n",
           requests, answers, refused, batches);
}

int main(int argc, char **argv) {
    const char *population = NULL, *port = "0", *cpu = "-1", *address = "127.0.0.1";
    parse_options(argc, argv, (struct option_slot[]){{"--population", &population}, {"--port", &port}, {"--cpu", &cpu},
                                                     {"--address", &address}, {NULL, NULL}});
    if (!population) refuse("--population FILE is needed");
    pin(atoi(cpu));
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: recvmmsg must return */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    people = population_load(population);
    build_table();
    serve(bound_socket(address, atoi(port)));
    return 0;
}
