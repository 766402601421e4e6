/* What a phase counts: histograms of response and service time, seconds by intended send time, kinds of error. */
#ifndef IDNODE_BENCH_COUNTS_H
#define IDNODE_BENCH_COUNTS_H

#include "../c_lookup/wire.h"

#include <inttypes.h>
#include <sys/resource.h>

enum { SUB_BITS = 7, SUB = 1 << SUB_BITS, OCTAVES = 34, BUCKETS = OCTAVES * SUB, CODES = 512, SECONDS_MAX = 3660 };
#define LATE_NS 1000000u

struct second { uint64_t offered, achieved, errors, in_flight, answered; uint32_t *response; };
struct totals {
    uint64_t sent, received, mismatched, lost, late, dropped, unexpected, right, first_ns, last_ns, sequence_hash;
    uint64_t response_max, service_max, lag_max, codes[CODES];
    uint64_t response[BUCKETS], service[BUCKETS], lag[BUCKETS];
    struct second seconds[SECONDS_MAX];
    int is_open;
};

/* Log-linear: SUB steps per power of two, so a bucket is at most 1/64 of its value wide. */
static inline unsigned bucket_of(uint64_t ns) {
    unsigned shift = ns < SUB ? 0 : 63 - __builtin_clzll(ns) - SUB_BITS + 1;
    unsigned at = shift * SUB / 2 + (unsigned)(ns >> shift);
    return at < BUCKETS ? at : BUCKETS - 1;
}
static inline uint64_t bucket_top(unsigned at) {
    unsigned shift = at < SUB ? 0 : (at - SUB / 2) / (SUB / 2);
    return ((uint64_t)(at - shift * SUB / 2) + 1) << shift;
}

static inline void totals_clear(struct totals *t, int is_open) {
    for (int i = 0; i < SECONDS_MAX; i++) free(t->seconds[i].response);
    memset(t, 0, sizeof *t);
    t->sequence_hash = 14695981039346656037u;
    t->first_ns = t->last_ns = now_ns();
    t->is_open = is_open;
}

static inline struct second *second_of(struct totals *t, uint64_t due) {
    uint64_t n = due > t->first_ns ? (due - t->first_ns) / 1000000000u : 0;
    return &t->seconds[n < SECONDS_MAX ? n : SECONDS_MAX - 1];
}

static inline void count_sent(struct totals *t, uint64_t due, uint64_t sent) {
    t->sent++;
    second_of(t, due)->offered++;
    if (!t->is_open) return;
    uint64_t lag = sent > due ? sent - due : 0;
    t->lag[bucket_of(lag)]++;
    t->late += lag > LATE_NS;
    if (lag > t->lag_max) t->lag_max = lag;
}

/* code: 1 as expected, 0 another answer than expected, else the response code that came instead */
static inline void count_answer(struct totals *t, uint64_t due, uint64_t sent, uint64_t now, uint32_t code) {
    struct second *s = second_of(t, due);
    uint64_t response = now > due ? now - due : 0, service = now > sent ? now - sent : 0;
    t->received++;
    if (code == 1) { t->right++; s->achieved++; } else s->errors++;
    if (!code) t->mismatched++;
    if (code > 1) t->codes[code < CODES ? code : CODES - 1]++;
    t->response[bucket_of(response)]++;
    t->service[bucket_of(service)]++;
    if (response > t->response_max) t->response_max = response;
    if (service > t->service_max) t->service_max = service;
    if (!s->response && !(s->response = calloc(BUCKETS, sizeof *s->response))) fail("memory for a second");
    s->response[bucket_of(response)]++;
    s->answered++;
}

static inline double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static inline void print_buckets(const char *name, const uint64_t *counts) {
    const char *comma = "";
    printf("\"%s\": [", name);
    for (unsigned i = 0; i < BUCKETS; i++) {
        if (!counts[i]) continue;
        printf("%s[%" PRIu64 ", %" PRIu64 "]", comma, bucket_top(i), counts[i]);
        comma = ", ";
    }
    printf("], ");
}

static inline double second_share_us(const struct second *s, double share) {
    uint64_t wanted = (uint64_t)(share * s->answered + 0.999999), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        if ((seen += s->response[i]) >= wanted) return bucket_top(i) / 1e3;
    return 0;
}

static inline void print_seconds(const struct totals *t, uint64_t until) {
    uint64_t count = (until - t->first_ns + 999999999u) / 1000000000u;
    printf("\"series\": [");
    for (uint64_t i = 0; i < count && i < SECONDS_MAX; i++) {
        const struct second *s = &t->seconds[i];
        printf("%s[%" PRIu64 ", %" PRIu64 ", ", i ? ", " : "", s->offered, s->achieved);
        if (s->answered) printf("%.1f, %.1f, ", second_share_us(s, 0.5), second_share_us(s, 0.99));
        else printf("null, null, ");
        printf("%" PRIu64 ", %" PRIu64 "]", s->errors, s->in_flight);
    }
    printf("], ");
}

static inline void print_totals(const struct totals *t, uint64_t until, double cpu) {
    printf("\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", ", t->sent, t->received);
    printf("\"right\": %" PRIu64 ", ", t->right);
    printf("\"mismatched\": %" PRIu64 ", \"lost\": %" PRIu64 ", ", t->mismatched, t->lost);
    printf("\"late\": %" PRIu64 ", ", t->late);
    printf("\"dropped\": %" PRIu64 ", \"unexpected\": %" PRIu64 ", ", t->dropped, t->unexpected);
    printf("\"response_max\": %" PRIu64 ", \"service_max\": %" PRIu64 ", ", t->response_max, t->service_max);
    printf("\"lag_max\": %" PRIu64 ", \"duration_s\": %.6f, ", t->lag_max, (t->last_ns - t->first_ns) / 1e9);
    print_buckets("response", t->response);
    print_buckets("service", t->service);
    print_buckets("lag", t->lag);
    print_seconds(t, until);
    printf("\"codes\": {");
    const char *comma = "";
    for (int i = 0; i < CODES; i++) {
        if (!t->codes[i]) continue;
        printf("%s\"%d\": %" PRIu64, comma, i, t->codes[i]);
        comma = ", ";
    }
    printf("}, \"sequence_hash\": \"%016" PRIx64 "\", \"cpu_s\": %.4f", t->sequence_hash, cpu);
}

#endif
