/* The generator: resolution requests with sendmmsg and recvmmsg, every reply compared.
 *
 * Closed: a window of requests is kept in flight. Constant and Poisson: open loops, each request is due at an instant
 * of its own, and response times run from that instant, however late it was sent. Keys are drawn uniformly from the
 * rows of the population file, or taken in the file's order, which is how any other distribution is asked for: draw it
 * into the file. The same seed asks the same (a hash over the row numbers is printed).
 *
 * A reply must equal its row octet for octet, or by length and 64-bit hash when the file holds hashes; the request id
 * is checked, the expiration is ignored, flags and site serial must be those of the very first reply. Fragments are put
 * together. A request unanswered for --lost-after seconds is lost.
 *
 *   c_load --population FILE --port P [--address 127.0.0.1] [--model closed|constant|poisson] [--rate R] [--seconds 3]
 *          [--count 0] [--warmup 0.3] [--warm-pass 0] [--window 256] [--order uniform|file] [--seed 1] [--cpu -1]
 *          [--lost-after 1] [--protocol handle|dns]
 *   c_load --compact FILE < population      writes the rows with hashes in the place of values
 *
 * Prints "MEASURING" when the measured phase begins and one JSON object at the end.
 * Status 3: the target did not answer, or its first answer was wrong. */
#define _GNU_SOURCE
#include "counts.h"
#include "dns.h"
#include "rows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

enum { WINDOW_MAX = 1 << 17, REFILL = 64, REQUEST_MAX = 512, DNS_WINDOW_MAX = 4096, PROBE_ID = 0x7fffffff,
       NAP_NS = 200000 };

struct slot { uint32_t id; uint64_t key, due, sent_at; int busy; uint32_t parts, room; uint8_t *whole; };
struct plan { const char *model; double seconds, rate; uint64_t count; int in_order; };

static struct rows rows;
static struct slot slots[WINDOW_MAX];
static uint32_t free_slots[WINDOW_MAX], free_count, window, next_round = 1;
static uint8_t expected_head[BODY_AT];
static uint64_t random_state, arrival_state, next_in_order, lost_after_ns;
static uint32_t places = WINDOW_MAX; /* an id is a place among the slots, and how often it was taken */
static int fd, file_order, dns;

static uint64_t mixed(uint64_t *state) { /* splitmix64, as in idnode_bench.population.numbers */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static double unit(void) { return (mixed(&arrival_state) >> 11) * 0x1.0p-53; }

static uint64_t next_key(struct totals *t, int in_order) {
    uint64_t key = in_order || file_order ? next_in_order++ % rows.count
                                          : (uint64_t)((__uint128_t)mixed(&random_state) * rows.count >> 64);
    t->sequence_hash = (t->sequence_hash ^ key) * 1099511628211u;
    return key;
}

static size_t build_request(uint8_t *out, const struct row *r, uint32_t id, uint32_t expiration) {
    if (dns) return dns_request(out, r, id);
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

/* 1 = as the row says, 0 = another answer, else the response code. `in` is a whole message, its envelope first. */
static uint32_t verdict(const uint8_t *in, size_t octets, const struct row *r) {
    if (dns) return dns_verdict(in, octets, r);
    uint32_t code = octets >= BODY_AT ? get32(in + RESPONSE_CODE_AT) : 0;
    if (get32(in + LENGTH_AT) != octets - ENVELOPE_OCTETS) return 0;
    if (r->values_octets == NOT_FOUND_OCTETS) return code == 100 ? 1 : code == 1 ? 0 : code;
    if (code != 1) return code;
    uint32_t body = 4 + r->handle_octets + r->values_octets;
    if (octets != BODY_AT + body + 4 || memcmp(in, expected_head, 2) || get32(in + SESSION_AT)) return 0;
    if (memcmp(in + OPCODE_AT, expected_head + OPCODE_AT, EXPIRATION_AT - OPCODE_AT)) return 0;
    if (get32(in + BODY_LENGTH_AT) != body) return 0;
    if (get32(in + BODY_AT) != r->handle_octets || memcmp(in + BODY_AT + 4, r->handle, r->handle_octets)) return 0;
    const uint8_t *values = in + BODY_AT + 4 + r->handle_octets;
    int same = rows.hashed ? hash_of_octets(values, r->values_octets) == r->hash
                           : !memcmp(values, r->values, r->values_octets);
    return same && get32(in + BODY_AT + body) == 0;
}

static uint32_t id_of(const uint8_t *in, size_t octets) {
    if (octets < ENVELOPE_OCTETS) return 0;
    return dns ? (uint32_t)in[0] << 8 | in[1] : get32(in + REQUEST_ID_AT);
}
static int is_part(const uint8_t *in) { return !dns && get32(in + LENGTH_AT) > PART_OCTETS; }

/* Keeps one fragment; the length of the whole message when it was the last one missing, else 0. */
static size_t take_part(struct slot *s, const uint8_t *in, size_t octets) {
    uint32_t length = get32(in + LENGTH_AT), sequence = get32(in + SEQUENCE_AT);
    uint32_t parts = (length + PART_OCTETS - 1) / PART_OCTETS;
    if (parts > PARTS_MAX || sequence >= parts || octets - ENVELOPE_OCTETS > PART_OCTETS) return 0;
    if (s->room < parts * PART_OCTETS) {
        s->room = parts * PART_OCTETS;
        if (!(s->whole = realloc(s->whole, ENVELOPE_OCTETS + s->room))) fail("memory for a reply");
    }
    memcpy(s->whole, in, ENVELOPE_OCTETS);
    memcpy(s->whole + ENVELOPE_OCTETS + sequence * PART_OCTETS, in + ENVELOPE_OCTETS, octets - ENVELOPE_OCTETS);
    s->parts |= 1u << sequence;
    return s->parts == (1u << parts) - 1 ? ENVELOPE_OCTETS + length : 0;
}

static void give_back(uint32_t at) { slots[at].busy = 0; free_slots[free_count++] = at; }

/* Sends requests for slots that were taken; their keys and due instants stand in them. */
static void send_batch(struct totals *t, const uint32_t *taken, uint32_t number) {
    static uint8_t out[REFILL][REQUEST_MAX];
    static struct mmsghdr messages[REFILL];
    static struct iovec at[REFILL];
    uint32_t expiration = (uint32_t)time(NULL) + LIFETIME_S;
    for (uint32_t i = 0; i < number; i++) {
        struct slot *s = &slots[taken[i]];
        struct row r = row_at(&rows, s->key);
        s->id = (next_round++ % ((dns ? 0xffffu : 0x7fffffffu) / places)) * places + taken[i];
        s->busy = 1;
        s->parts = 0;
        at[i] = (struct iovec){out[i], build_request(out[i], &r, s->id, expiration)};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &at[i], .msg_iovlen = 1};
    }
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < number; i++) {
        struct slot *s = &slots[taken[i]];
        s->sent_at = now;
        if (!t->is_open) s->due = now;
        count_sent(t, s->due, now);
    }
    for (uint32_t done = 0; done < number;) {
        int n = sendmmsg(fd, messages + done, number - done, 0);
        if (n < 0 && errno != EINTR && errno != ECONNREFUSED) fail("sendmmsg");
        if (n > 0) done += n;
    }
}

static void receive_batch(struct totals *t, int flags) {
    static uint8_t in[BATCH][2048];
    static struct mmsghdr messages[BATCH];
    static struct iovec at[BATCH];
    for (int i = 0; i < BATCH; i++) {
        at[i] = (struct iovec){in[i], sizeof in[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &at[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(fd, messages, BATCH, flags, NULL);
    uint64_t now = now_ns();
    for (int i = 0; i < got; i++) {
        size_t octets = messages[i].msg_len;
        uint32_t id = id_of(in[i], octets), n = id % places;
        struct slot *s = &slots[n];
        if (n >= window || !s->busy || s->id != id) { t->unexpected++; continue; }
        const uint8_t *whole = in[i];
        if (is_part(in[i])) {
            if (!(octets = take_part(s, in[i], octets))) continue;
            whole = s->whole;
        }
        struct row r = row_at(&rows, s->key);
        count_answer(t, s->due, s->sent_at, now, verdict(whole, octets, &r));
        give_back(n);
        t->last_ns = now;
    }
}

static void give_up_on_lost(struct totals *t) {
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < window; i++)
        if (slots[i].busy && now - slots[i].sent_at > lost_after_ns) {
            t->lost++;
            second_of(t, slots[i].due)->errors++;
            give_back(i);
        }
}

/* What is to be done now and then: lost requests, and how many are in flight as a second ends. */
static void look_around(struct totals *t, uint64_t now, uint64_t *last_look) {
    if (now - *last_look < 50000000u) return;
    give_up_on_lost(t);
    second_of(t, now)->in_flight = window - free_count;
    *last_look = now;
}

static void run_closed(struct totals *t, const struct plan *p) {
    uint64_t end = t->first_ns + (uint64_t)(p->seconds * 1e9), last_look = t->first_ns;
    /* A quarter of the window at once: a lost request must not hold back all others until it is given up. */
    uint32_t batch = window / 4 < 1 ? 1 : window / 4 < REFILL ? window / 4 : REFILL, taken[REFILL];
    for (;;) {
        uint64_t now = now_ns();
        int open = now < end && (!p->count || t->sent < p->count);
        if (!open && free_count == window) break;
        while (open && free_count >= batch && (!p->count || t->sent < p->count)) {
            uint32_t number = p->count && p->count - t->sent < batch ? (uint32_t)(p->count - t->sent) : batch;
            for (uint32_t i = 0; i < number; i++)
                slots[taken[i] = free_slots[--free_count]].key = next_key(t, p->in_order);
            send_batch(t, taken, number);
        }
        receive_batch(t, MSG_WAITFORONE);
        look_around(t, now, &last_look);
    }
}

/* Sleeps until the next request is due or a reply is there; spins through the last fifth of a millisecond. */
static void nap(uint64_t now, double due) {
    if (due - now < NAP_NS) return;
    uint64_t wait = (uint64_t)(due - now) - NAP_NS / 2;
    struct timespec until = {.tv_sec = wait / 1000000000u, .tv_nsec = wait % 1000000000u};
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    ppoll(&readable, 1, &until, NULL);
}

static void run_open(struct totals *t, const struct plan *p) {
    double gap = 1e9 / p->rate, due = t->first_ns, end = t->first_ns + p->seconds * 1e9;
    int poisson = !strcmp(p->model, "poisson");
    uint64_t last_look = t->first_ns, number = 0;
    uint32_t taken[REFILL];
    for (;;) {
        uint64_t now = now_ns();
        int open = due < end && (!p->count || number < p->count);
        if (!open && free_count == window) break;
        uint32_t ready = 0;
        while (open && due <= now && ready < REFILL) {
            uint64_t key = next_key(t, 0);
            if (free_count) {
                struct slot *s = &slots[taken[ready++] = free_slots[--free_count]];
                s->key = key;
                s->due = (uint64_t)due;
            } else {
                t->dropped++;
                second_of(t, (uint64_t)due)->offered++;
            }
            number++;
            due = poisson ? due - log1p(-unit()) * gap : t->first_ns + number * gap;
            open = due < end && (!p->count || number < p->count);
        }
        if (ready) send_batch(t, taken, ready);
        receive_batch(t, MSG_DONTWAIT);
        look_around(t, now, &last_look);
        nap(now, open ? due : now + 1e6);
    }
}

static void run_phase(struct totals *t, const struct plan *p) {
    int is_open = strcmp(p->model, "closed") != 0;
    totals_clear(t, is_open);
    if (is_open) run_open(t, p); else run_closed(t, p);
}

static void open_socket(const char *address, int port) {
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 peer6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int six = inet_pton(AF_INET6, address, &peer6.sin6_addr) == 1, size = 4 << 20;
    struct timeval wait = {.tv_usec = 50000};
    if (!six && inet_pton(AF_INET, address, &peer.sin_addr) != 1) refuse("--address is no address");
    fd = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (six ? connect(fd, (void *)&peer6, sizeof peer6) : connect(fd, (void *)&peer, sizeof peer)) fail("connect");
}

/* Asks for the first registered row until it is answered, and takes from that how this server writes its headers. */
static void learn_head(void) {
    uint8_t out[REQUEST_MAX], in[2048];
    uint64_t first = 0;
    while (first + 1 < rows.count && row_at(&rows, first).values_octets == NOT_FOUND_OCTETS) first++;
    struct row r = row_at(&rows, first);
    struct slot probe = {0};
    size_t octets = build_request(out, &r, PROBE_ID, (uint32_t)time(NULL) + LIFETIME_S);
    for (int tries = 0; tries < 60; tries++) { /* of 50 ms each */
        if (tries % 20 == 0 && send(fd, out, octets, 0) < 0 && errno != ECONNREFUSED) fail("send");
        ssize_t got = recv(fd, in, sizeof in, 0);
        if (got < 0 || id_of(in, got) != (dns ? PROBE_ID & 0xffffu : PROBE_ID)) continue;
        const uint8_t *whole = in;
        if (is_part(in)) {
            if (!(got = take_part(&probe, in, got))) continue;
            whole = probe.whole;
        }
        memcpy(expected_head, whole, got < BODY_AT ? got : BODY_AT);
        if ((dns || (got >= BODY_AT && get32(whole + OPCODE_AT) == 1)) && verdict(whole, got, &r) == 1) return;
        fprintf(stderr, "wrong answer to %.*s: ", (int)r.handle_octets, r.handle);
        for (ssize_t i = 0; i < got; i++) fprintf(stderr, "%02x", whole[i]);
        fputc('\n', stderr);
        exit(3);
    }
    fputs("no answer\n", stderr);
    exit(3);
}

static void check_plan(const struct plan *p, const char *order) {
    int is_closed = !strcmp(p->model, "closed");
    if (!is_closed && strcmp(p->model, "constant") && strcmp(p->model, "poisson")) refuse("no such --model");
    if (!is_closed && !(p->rate > 0 && p->rate <= 1e7)) refuse("an open loop needs a --rate of up to 10^7 a second");
    if (!(p->seconds > 0 && p->seconds <= 3600)) refuse("--seconds is up to 3600");
    if (strcmp(order, "uniform") && strcmp(order, "file")) refuse("--order is uniform or file");
    if (window < 1 || window > WINDOW_MAX) refuse("--window is 1 to 131072");
    if (dns && window > DNS_WINDOW_MAX) refuse("--window is 1 to 4096 for dns");
    if (!rows.count) refuse("the population is empty");
}

int main(int argc, char **argv) {
    const char *population = NULL, *port = NULL, *address = "127.0.0.1", *model = "closed", *rate = "0", *lost = "1";
    const char *seconds = "3", *count = "0", *warmup = "0.3", *pass = "0", *width = "256", *order = "uniform";
    const char *seed = "1", *cpu = "-1", *into = NULL, *protocol = "handle";
    parse_options(argc, argv, (struct option_slot[]){
        {"--population", &population}, {"--port", &port}, {"--address", &address}, {"--seconds", &seconds},
        {"--count", &count}, {"--warmup", &warmup}, {"--warm-pass", &pass}, {"--window", &width}, {"--seed", &seed},
        {"--cpu", &cpu}, {"--model", &model}, {"--rate", &rate}, {"--order", &order}, {"--compact", &into},
        {"--lost-after", &lost}, {"--protocol", &protocol}, {NULL, NULL}});
    if (into) { compact(into); return 0; }
    if (!population || !port) refuse("--population and --port are needed");
    if (strcmp(protocol, "handle") && strcmp(protocol, "dns")) refuse("--protocol is handle or dns");
    if ((dns = !strcmp(protocol, "dns"))) places = DNS_WINDOW_MAX;
    window = (uint32_t)atoi(width);
    struct plan plan = {model, atof(seconds), atof(rate), strtoull(count, NULL, 10), 0}, warm = plan;
    pin(atoi(cpu));
    rows = rows_map(population);
    check_plan(&plan, order);
    file_order = !strcmp(order, "file");
    lost_after_ns = (uint64_t)(atof(lost) * 1e9);
    uint64_t seeded = strtoull(seed, NULL, 10), start = seeded * 0x9e3779b97f4a7c15u;
    random_state = start;
    arrival_state = (seeded ^ 0x5deece66du) * 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < window; i++) free_slots[free_count++] = window - 1 - i;
    open_socket(address, atoi(port));
    learn_head();

    static struct totals totals;
    uint64_t begin = file_order ? start % rows.count : 0;
    if (atoi(pass)) run_phase(&totals, &(struct plan){"closed", 600, 0, rows.count, 1});
    warm.seconds = atof(warmup);
    warm.count = 0;
    next_in_order = begin;
    if (warm.seconds > 0) run_phase(&totals, &warm);
    printf("MEASURING\n");
    fflush(stdout);
    uint64_t warm_sent = totals.sent, warm_received = totals.received;
    random_state = start; /* however many the warm-up drew, the measured sequence is the seed's */
    next_in_order = begin;
    double cpu_before = cpu_s();
    run_phase(&totals, &plan);
    double used = cpu_s() - cpu_before;
    uint64_t end = totals.first_ns + (uint64_t)(plan.seconds * 1e9);
    printf("{\"generator\": \"c\", \"response_flags\": %u, ", get32(expected_head + FLAGS_AT));
    printf("\"warm_up\": {\"sent\": %" PRIu64 ", \"received\": %" PRIu64 "}, ", warm_sent, warm_received);
    print_totals(&totals, end, used);
    printf("}\n");
    return 0;
}
