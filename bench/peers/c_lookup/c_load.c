/* The generator: closed-loop resolution requests with sendmmsg and recvmmsg, every reply compared in full.
 *
 * A window of requests is kept in flight; handles are drawn uniformly with a seeded generator, so the same seed sends
 * the same sequence (its hash is printed). A reply must equal what the population says octet for octet; request id is
 * checked against the window, expiration is ignored, flags and site serial must be those of the very first reply. A
 * request unanswered for a second is lost. Ends after --seconds or --count, whichever is first.
 *
 *   c_load --population FILE --port P [--address 127.0.0.1] [--seconds 3] [--count 0] [--warmup 0.3] [--warm-pass 0]
 *          [--window 256] [--seed 1] [--cpu -1]
 *
 * Latency is service time, send to receive: a closed loop has no intended send instants. One clock reading per batch.
 * Status 3: the target did not answer, or its first answer was wrong. */
#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { WINDOW_MAX = 4096, REFILL = 64, SUB_BITS = 7, SUB = 1 << SUB_BITS, OCTAVES = 40, REQUEST_MAX = 512 };
static const uint64_t LOST_AFTER_NS = 1000000000u;

struct slot { uint32_t id; uint32_t key; uint64_t sent_at; int busy; };
struct totals {
    uint64_t sent, received, mismatched, lost, unexpected, first_ns, last_ns, sequence_hash, max_ns;
    uint64_t histogram[OCTAVES * SUB];
};

static struct population people;
static struct slot slots[WINDOW_MAX];
static uint32_t free_slots[WINDOW_MAX], free_count, window, next_round = 1;
static uint8_t expected_head[BODY_AT];
static uint64_t random_state;
static int fd;

static uint64_t draw(void) { /* xorshift64* */
    random_state ^= random_state >> 12; random_state ^= random_state << 25; random_state ^= random_state >> 27;
    return random_state * 2685821657736338717u;
}

/* Log-linear: SUB steps per power of two, so a bucket is at most 1/64 of its value wide. */
static unsigned bucket_of(uint64_t ns) {
    unsigned shift = ns < SUB ? 0 : 63 - __builtin_clzll(ns) - SUB_BITS + 1;
    unsigned at = shift * SUB / 2 + (unsigned)(ns >> shift);
    return at < OCTAVES * SUB ? at : OCTAVES * SUB - 1;
}
static uint64_t bucket_top(unsigned at) {
    unsigned shift = at < SUB ? 0 : (at - SUB / 2) / (SUB / 2);
    return ((uint64_t)(at - shift * SUB / 2) + 1) << shift;
}

static size_t build_request(uint8_t *out, const struct record *r, uint32_t id, uint32_t expiration) {
    uint32_t body = 4 + r->handle_octets + 8;
    memset(out, 0, BODY_AT);
    out[0] = 2; out[1] = 11; out[2] = 2; out[3] = 11;
    put32(out + REQUEST_ID_AT, id);
    put32(out + LENGTH_AT, HEADER_OCTETS + body + 4);
    put32(out + OPCODE_AT, 1);
    put32(out + FLAGS_AT, FLAGS_PLAIN);
    put16(out + SITE_SERIAL_AT, 0xffff); /* unknown: accepted by every server */
    put32(out + EXPIRATION_AT, expiration);
    put32(out + BODY_LENGTH_AT, body);
    put32(out + BODY_AT, r->handle_octets);
    memcpy(out + BODY_AT + 4, r->handle, r->handle_octets);
    memset(out + BODY_AT + 4 + r->handle_octets, 0, 12);
    return BODY_AT + body + 4;
}

static int reply_is_right(const uint8_t *in, size_t octets, const struct record *r) {
    uint32_t body = 4 + r->handle_octets + r->values_octets;
    if (octets != BODY_AT + body + 4 || memcmp(in, expected_head, REQUEST_ID_AT)) return 0;
    if (get32(in + SEQUENCE_AT) || get32(in + LENGTH_AT) != HEADER_OCTETS + body + 4) return 0;
    if (memcmp(in + OPCODE_AT, expected_head + OPCODE_AT, EXPIRATION_AT - OPCODE_AT)) return 0;
    if (get32(in + BODY_LENGTH_AT) != body) return 0;
    if (get32(in + BODY_AT) != r->handle_octets || memcmp(in + BODY_AT + 4, r->handle, r->handle_octets)) return 0;
    if (memcmp(in + BODY_AT + 4 + r->handle_octets, r->values, r->values_octets)) return 0;
    return get32(in + BODY_AT + body) == 0;
}

/* Sends one batch into free slots; in_order takes the keys one after another instead of drawing them. */
static void send_batch(struct totals *t, uint32_t number, uint64_t in_order_from, int in_order) {
    static uint8_t out[REFILL][REQUEST_MAX];
    static struct mmsghdr messages[REFILL];
    static struct iovec at[REFILL];
    uint32_t taken[REFILL], expiration = (uint32_t)time(NULL) + LIFETIME_S;
    for (uint32_t i = 0; i < number; i++) {
        struct slot *s = &slots[taken[i] = free_slots[--free_count]];
        s->key = (uint32_t)(in_order ? in_order_from + i : (__uint128_t)draw() * people.count >> 64);
        s->id = (next_round++ % (0x7fffffffu / WINDOW_MAX)) * WINDOW_MAX + taken[i];
        s->busy = 1;
        t->sequence_hash = (t->sequence_hash ^ s->key) * 1099511628211u;
        at[i] = (struct iovec){out[i], build_request(out[i], &people.records[s->key], s->id, expiration)};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &at[i], .msg_iovlen = 1};
    }
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < number; i++) slots[taken[i]].sent_at = now;
    for (uint32_t done = 0; done < number;) {
        int n = sendmmsg(fd, messages + done, number - done, 0);
        if (n < 0 && errno != EINTR) { if (errno == ECONNREFUSED) continue; fail("sendmmsg"); }
        if (n > 0) done += n;
    }
    t->sent += number;
}

static void give_back(uint32_t at) { slots[at].busy = 0; free_slots[free_count++] = at; }

static void receive_batch(struct totals *t) {
    static uint8_t in[BATCH][2048];
    static struct mmsghdr messages[BATCH];
    static struct iovec at[BATCH];
    for (int i = 0; i < BATCH; i++) {
        at[i] = (struct iovec){in[i], sizeof in[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &at[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    uint64_t now = now_ns();
    for (int i = 0; i < got; i++) {
        uint32_t id = messages[i].msg_len >= BODY_AT ? get32(in[i] + REQUEST_ID_AT) : 0, n = id % WINDOW_MAX;
        if (n >= window || !slots[n].busy || slots[n].id != id) { t->unexpected++; continue; }
        t->received++;
        t->mismatched += !reply_is_right(in[i], messages[i].msg_len, &people.records[slots[n].key]);
        uint64_t took = now - slots[n].sent_at;
        t->histogram[bucket_of(took)]++;
        if (took > t->max_ns) t->max_ns = took;
        give_back(n);
    }
    if (got > 0) t->last_ns = now;
}

static void give_up_on_lost(struct totals *t) {
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < window; i++)
        if (slots[i].busy && now - slots[i].sent_at > LOST_AFTER_NS) { t->lost++; give_back(i); }
}

static void run_phase(struct totals *t, double seconds, uint64_t count, int in_order) {
    memset(t, 0, sizeof *t);
    t->sequence_hash = 1469598103934665603u;
    t->first_ns = t->last_ns = now_ns();
    uint64_t end = t->first_ns + (uint64_t)(seconds * 1e9), last_look = t->first_ns;
    /* A quarter of the window at once: a lost request must not hold back all others until it is given up. */
    uint32_t batch = window / 4 < 1 ? 1 : window / 4 < REFILL ? window / 4 : REFILL;
    for (;;) {
        uint64_t now = now_ns();
        int open = now < end && (!count || t->sent < count);
        if (!open && free_count == window) break;
        while (open && free_count >= batch && (!count || t->sent < count)) {
            uint32_t number = count && count - t->sent < batch ? (uint32_t)(count - t->sent) : batch;
            send_batch(t, number, t->sent, in_order);
        }
        receive_batch(t);
        if (now - last_look > LOST_AFTER_NS / 10) { give_up_on_lost(t); last_look = now; }
    }
}

static void print_percentile(const struct totals *t, const char *name, double share, uint64_t least_samples) {
    uint64_t wanted = (uint64_t)(share * t->received + 0.999999), seen = 0;
    if (t->received < least_samples || !t->received) { printf("\"%s\": null, ", name); return; }
    for (unsigned i = 0; i < OCTAVES * SUB; i++)
        if ((seen += t->histogram[i]) >= wanted) {
            uint64_t top = bucket_top(i) < t->max_ns ? bucket_top(i) : t->max_ns;
            printf("\"%s\": %.1f, ", name, top / 1e3);
            return;
        }
}

static void print_result(const struct totals *t, const struct rusage *before) {
    struct rusage after;
    getrusage(RUSAGE_SELF, &after);
    double seconds = (t->last_ns - t->first_ns) / 1e9, cpu = 0;
    cpu += after.ru_utime.tv_sec - before->ru_utime.tv_sec + (after.ru_utime.tv_usec - before->ru_utime.tv_usec) / 1e6;
    cpu += after.ru_stime.tv_sec - before->ru_stime.tv_sec + (after.ru_stime.tv_usec - before->ru_stime.tv_usec) / 1e6;
    printf("{\"generator\": \"c\", \"response_flags\": %u, ", get32(expected_head + FLAGS_AT));
    printf("\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", ", t->sent, t->received);
    printf("\"mismatched\": %" PRIu64 ", \"lost\": %" PRIu64 ", ", t->mismatched, t->lost);
    printf("\"unexpected\": %" PRIu64 ", \"duration_s\": %.6f, ", t->unexpected, seconds);
    printf("\"rate_per_s\": %.1f, \"generator_cpu_s\": %.3f, ", seconds > 0 ? t->received / seconds : 0, cpu);
    printf("\"sequence_hash\": \"%016" PRIx64 "\", \"latency_us\": {", t->sequence_hash);
    print_percentile(t, "p50", 0.50, 1); print_percentile(t, "p75", 0.75, 1); print_percentile(t, "p90", 0.90, 1);
    print_percentile(t, "p95", 0.95, 1); print_percentile(t, "p99", 0.99, 1000);
    print_percentile(t, "p99.9", 0.999, 10000); print_percentile(t, "p99.99", 0.9999, 100000);
    printf("\"max\": %.1f}, \"histogram_ns\": [", t->max_ns / 1e3);
    const char *comma = "";
    for (unsigned i = 0; i < OCTAVES * SUB; i++) {
        if (!t->histogram[i]) continue;
        printf("%s[%" PRIu64 ", %" PRIu64 "]", comma, bucket_top(i), t->histogram[i]);
        comma = ", ";
    }
    printf("]}\n");
}

static void open_socket(const char *address, int port) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval wait = {.tv_usec = 50000};
    int size = 4 << 20;
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || inet_pton(AF_INET, address, &peer.sin_addr) != 1) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer)) fail("connect");
}

/* Asks for the first record until it is answered, and takes from that answer how this server writes its headers. */
static void learn_head(void) {
    uint8_t out[REQUEST_MAX], in[2048];
    size_t octets = build_request(out, &people.records[0], 0x7fffffff, (uint32_t)time(NULL) + LIFETIME_S);
    for (int tries = 0; tries < 60; tries++) { /* of 50 ms each */
        if (tries % 20 == 0 && send(fd, out, octets, 0) < 0 && errno != ECONNREFUSED) fail("send");
        ssize_t got = recv(fd, in, sizeof in, 0);
        if (got < BODY_AT || get32(in + REQUEST_ID_AT) != 0x7fffffff) continue;
        expected_head[0] = 2; expected_head[1] = 11; expected_head[2] = 2; expected_head[3] = 11;
        memcpy(expected_head + OPCODE_AT, in + OPCODE_AT, EXPIRATION_AT - OPCODE_AT);
        int is_success = get32(in + OPCODE_AT) == 1 && get32(in + RESPONSE_CODE_AT) == 1;
        if (is_success && reply_is_right(in, got, &people.records[0])) return;
        fprintf(stderr, "wrong answer to %.*s: ", (int)people.records[0].handle_octets, people.records[0].handle);
        for (ssize_t i = 0; i < got; i++) fprintf(stderr, "%02x", in[i]);
        fputc('\n', stderr);
        exit(3);
    }
    fputs("no answer\n", stderr);
    exit(3);
}

int main(int argc, char **argv) {
    const char *population = NULL, *port = NULL, *address = "127.0.0.1", *seconds = "3", *count = "0", *warmup = "0.3";
    const char *pass = "0", *width = "256", *seed = "1", *cpu = "-1";
    parse_options(argc, argv, (struct option_slot[]){
        {"--population", &population}, {"--port", &port}, {"--address", &address}, {"--seconds", &seconds},
        {"--count", &count}, {"--warmup", &warmup}, {"--warm-pass", &pass}, {"--window", &width}, {"--seed", &seed},
        {"--cpu", &cpu}, {NULL, NULL}});
    window = (uint32_t)atoi(width);
    if (!population || !port) refuse("--population and --port are needed");
    if (window < 1 || window > WINDOW_MAX) refuse("--window is 1 to 4096");
    pin(atoi(cpu));
    people = population_load(population);
    if (!people.count) refuse("the population is empty");
    random_state = strtoull(seed, NULL, 10) * 0x9e3779b97f4a7c15u + 0x2545f4914f6cdd1du;
    for (uint32_t i = 0; i < window; i++) free_slots[free_count++] = window - 1 - i;
    open_socket(address, atoi(port));
    learn_head();

    static struct totals totals;
    struct rusage before;
    if (atoi(pass)) run_phase(&totals, 60, people.count, 1);
    if (atof(warmup) > 0) run_phase(&totals, atof(warmup), 0, 0);
    getrusage(RUSAGE_SELF, &before);
    run_phase(&totals, atof(seconds), strtoull(count, NULL, 10), 0);
    print_result(&totals, &before);
    return 0;
}
