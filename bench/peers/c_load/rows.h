/* What the generator asks for and expects: rows of a population file, mapped, never copied.
 *
 * Version 1 (bench/idnode_bench/population/files.py):
 *     "IDBP" | u32 1 | u64 count | count x (u32, handle, u32, value list)
 * Version 2 has a 64-bit hash in the place of the value list: count x (u32, handle, u32 octets, u64 hash). 10^7 rows
 * are then 450 MB of file and 80 MB of memory. Octets ffffffff (nothing follows, in either): the handle is not
 * registered, and the right answer is RC 100. */
#ifndef IDNODE_BENCH_ROWS_H
#define IDNODE_BENCH_ROWS_H

#include "../c_lookup/wire.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOT_FOUND_OCTETS 0xffffffffu

struct row { const uint8_t *handle, *values; uint32_t handle_octets, values_octets; uint64_t hash; };
struct rows { uint64_t count, *at; const uint8_t *file; int hashed; };

/* 64 bits over the octets, eight at a time; good enough to find a wrong answer, no defence against a forged one. */
static inline uint64_t hash_step(uint64_t h, uint64_t word) {
    __uint128_t product = (__uint128_t)(h ^ word) * 0x9fb21c651e98df25u;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}
static inline uint64_t hash_of_octets(const uint8_t *p, size_t octets) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ octets, word;
    for (; octets >= 8; p += 8, octets -= 8) { memcpy(&word, p, 8); h = hash_step(h, word); }
    word = 0;
    memcpy(&word, p, octets);
    return hash_step(hash_step(h, word), 0x2545f4914f6cdd1du);
}

static inline uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) << 32 | get32(p + 4); }
static inline void put64(uint8_t *p, uint64_t v) { put32(p, v >> 32); put32(p + 4, (uint32_t)v); }

static inline struct row row_at(const struct rows *rows, uint64_t number) {
    const uint8_t *at = rows->file + rows->at[number];
    struct row r = {.handle_octets = get32(at), .handle = at + 4};
    at += 4 + r.handle_octets;
    r.values_octets = get32(at);
    r.values = at + 4;
    if (rows->hashed && r.values_octets != NOT_FOUND_OCTETS) r.hash = get64(at + 4);
    return r;
}

/* How many octets follow the length of a value list. */
static inline uint64_t rest_octets(uint32_t values_octets, int hashed) {
    return values_octets == NOT_FOUND_OCTETS ? 0 : hashed ? 8 : values_octets;
}

static inline struct rows rows_map(const char *path) {
    struct rows rows = {0};
    struct stat facts;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &facts)) fail(path);
    uint64_t octets = (uint64_t)facts.st_size, at = 16;
    rows.file = mmap(NULL, octets ? octets : 1, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (rows.file == MAP_FAILED) fail(path);
    close(file);
    uint32_t version = octets < 16 || memcmp(rows.file, "IDBP", 4) ? 0 : get32(rows.file + 4);
    if (version != 1 && version != 2) refuse("not a population file, version 1 or 2");
    rows.hashed = version == 2;
    rows.count = get64(rows.file + 8);
    if (rows.count > octets / 8) refuse("the population file is cut short");
    rows.at = malloc(rows.count * sizeof *rows.at + 1);
    if (!rows.at) fail("memory for the rows");
    for (uint64_t i = 0; i < rows.count; i++) {
        rows.at[i] = at;
        if (octets - at < 8 || get32(rows.file + at) > octets - at - 8) refuse("the population file is cut short");
        at += 4 + get32(rows.file + at);
        uint64_t rest = rest_octets(get32(rows.file + at), rows.hashed);
        if (octets - at - 4 < rest) refuse("the population file is cut short");
        at += 4 + rest;
    }
    return rows;
}

static inline void read_all(uint8_t *into, size_t octets) {
    if (fread(into, 1, octets, stdin) != octets) refuse("the rows on standard input are cut short");
}

/* Standard input (version 1) into a file of version 2. */
static inline void compact(const char *path) {
    uint8_t head[16], handle[2052], *values = malloc(16 << 20), hashed[12];
    FILE *out = fopen(path, "wb");
    if (!out || !values) fail(path);
    read_all(head, sizeof head);
    if (memcmp(head, "IDBP", 4) || get32(head + 4) != 1) refuse("standard input is not a population file, version 1");
    uint64_t count = get64(head + 8);
    put32(head + 4, 2);
    fwrite(head, 1, sizeof head, out);
    for (uint64_t i = 0; i < count; i++) {
        read_all(handle, 4);
        uint32_t octets = get32(handle);
        if (octets > 2048) refuse("a handle has more than 2048 octets");
        read_all(handle + 4, octets);
        read_all(hashed, 4);
        fwrite(handle, 1, 4 + octets, out);
        octets = get32(hashed);
        if (octets != NOT_FOUND_OCTETS) {
            if (octets > 16 << 20) refuse("a value list has more than 16 MiB");
            read_all(values, octets);
            put64(hashed + 4, hash_of_octets(values, octets));
        }
        fwrite(hashed, 1, octets == NOT_FOUND_OCTETS ? 4 : 12, out);
    }
    if (fclose(out)) fail(path);
    free(values);
}

#endif
