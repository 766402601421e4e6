/* The other protocol the generator speaks: A queries (RFC 1035 §4.1), to set a figure beside servers everybody knows.
 *
 * Rows of the same file: the handle is the name as on the wire (length octets, root label), the value list the four
 * octets of its address. The right answer is authoritative, holds that one record, and nothing else. */
#ifndef IDNODE_BENCH_DNS_H
#define IDNODE_BENCH_DNS_H

#include "rows.h"

enum { DNS_HEADER_OCTETS = 12, DNS_ANSWER_OCTETS = 16, DNS_FAILED = 300 };
#define DNS_TTL_S 86400

static inline size_t dns_question(uint8_t *out, const struct row *r) {
    static const uint8_t a_in[4] = {0, 1, 0, 1};
    memcpy(out, r->handle, r->handle_octets);
    memcpy(out + r->handle_octets, a_in, sizeof a_in);
    return r->handle_octets + sizeof a_in;
}

static inline size_t dns_request(uint8_t *out, const struct row *r, uint32_t id) {
    static const uint8_t one_question[10] = {0, 0, 0, 1};
    put16(out, id);
    memcpy(out + 2, one_question, sizeof one_question);
    return DNS_HEADER_OCTETS + dns_question(out + DNS_HEADER_OCTETS, r);
}

/* 1 = as the row says, 0 = another answer, DNS_FAILED + n = response code n. */
static inline uint32_t dns_verdict(const uint8_t *in, size_t octets, const struct row *r) {
    static const uint8_t head[10] = {0x84, 0, 0, 1, 0, 1}, record[12] = {0xc0, 12, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4};
    uint8_t expected[512];
    if (octets >= DNS_HEADER_OCTETS && in[3] & 15) return DNS_FAILED + (in[3] & 15);
    size_t at = dns_question(expected, r);
    memcpy(expected + at, record, sizeof record);
    memcpy(expected + at + sizeof record, r->values, 4);
    at += DNS_ANSWER_OCTETS;
    return octets == DNS_HEADER_OCTETS + at && !memcmp(in + 2, head, sizeof head)
        && !memcmp(in + DNS_HEADER_OCTETS, expected, at);
}

#endif
