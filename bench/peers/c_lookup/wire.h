/* What all programs know: big-endian integers, the population file, offsets in a message (docs/protocol.md §3).
 *
 * Population file: "IDBP" | u32 version 1 | u64 count | count x (u32 length, handle, u32 length, value list).
 * A value list is i4 count and the values, exactly as it follows the handle in the body of a resolution response. */
#ifndef IDNODE_BENCH_WIRE_H
#define IDNODE_BENCH_WIRE_H

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ENVELOPE_OCTETS = 20, HEADER_OCTETS = 24, BODY_AT = 44,
    SESSION_AT = 4, REQUEST_ID_AT = 8, SEQUENCE_AT = 12, LENGTH_AT = 16, OPCODE_AT = 20, RESPONSE_CODE_AT = 24,
    FLAGS_AT = 28, SITE_SERIAL_AT = 32, RECURSION_AT = 34, EXPIRATION_AT = 36, BODY_LENGTH_AT = 40,
    DATAGRAM_OCTETS_MAX = 512, PART_OCTETS = 492, PARTS_MAX = 16, MESSAGE_OCTETS_MAX = PARTS_MAX * PART_OCTETS,
    BATCH = 64,
};

#define PART_MARK 0x20 /* in the third octet of an envelope: one of several datagrams */
#define FLAG_AT 0x80000000u
#define FLAG_CT 0x40000000u
#define FLAG_ENC 0x20000000u
#define FLAG_KC 0x02000000u
#define FLAG_RD 0x00800000u
#define FLAGS_PLAIN 0x19000000u /* REC | CA | PO */
#define LIFETIME_S 43200

struct record { const uint8_t *handle; uint32_t handle_octets; const uint8_t *values; uint32_t values_octets; };
struct population { uint64_t count; struct record *records; uint8_t *file; };

static inline uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline void put32(uint8_t *p, uint32_t v) { p[0] = v >> 24; p[1] = v >> 16; p[2] = v >> 8; p[3] = v; }
static inline void put16(uint8_t *p, uint32_t v) { p[0] = v >> 8; p[1] = v; }

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

static inline void fail(const char *what) { perror(what); exit(2); }
static inline void refuse(const char *why) { fprintf(stderr, "%s\n", why); exit(2); }

static inline const uint8_t *counted(const uint8_t *at, const uint8_t *end, uint32_t *octets) {
    if (end - at < 4 || get32(at) > (uint32_t)(end - at - 4)) refuse("the population file is cut short");
    *octets = get32(at);
    return at + 4;
}

static inline struct population population_load(const char *path) {
    struct population p = {0};
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) fail(path);
    long octets = ftell(f);
    rewind(f);
    p.file = malloc(octets > 0 ? octets : 1);
    if (!p.file || fread(p.file, 1, octets, f) != (size_t)octets) fail(path);
    fclose(f);
    if (octets < 16 || memcmp(p.file, "IDBP", 4) || get32(p.file + 4) != 1) refuse("not a population file, version 1");
    p.count = (uint64_t)get32(p.file + 8) << 32 | get32(p.file + 12);
    p.records = calloc(p.count, sizeof *p.records);
    if (!p.records) fail("memory for the population");
    const uint8_t *at = p.file + 16, *end = p.file + octets;
    for (uint64_t i = 0; i < p.count; i++) {
        struct record *r = &p.records[i];
        r->handle = counted(at, end, &r->handle_octets);
        r->values = counted(r->handle + r->handle_octets, end, &r->values_octets);
        at = r->values + r->values_octets;
        if (r->handle_octets + r->values_octets > MESSAGE_OCTETS_MAX - 64) refuse("a record is too large to be served");
    }
    return p;
}

/* "--name value" pairs; an unknown option is an error, so that a misspelt run cannot pass for a measured one. */
struct option_slot { const char *name; const char **value; };
static inline void parse_options(int argc, char **argv, const struct option_slot *slots) {
    for (int i = 1; i < argc; i += 2) {
        const struct option_slot *s = slots;
        while (s->name && strcmp(s->name, argv[i])) s++;
        if (!s->name || i + 1 >= argc) { fprintf(stderr, "unknown option or no value: %s\n", argv[i]); exit(2); }
        *s->value = argv[i + 1];
    }
}

static inline void pin(int cpu) {
    cpu_set_t set;
    if (cpu < 0) return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
}

#endif
