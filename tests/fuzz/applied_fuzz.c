/* SPDX-License-Identifier: Apache-2.0 */
/*
 * applied_fuzz: what another node says of a partition's sessions, as entries and as a copy, is
 * applied or refused, whatever it is: the records are sound, a copy of them is the same, and
 * nothing is left of them when they are erased.
 *
 * Input: one byte of choice, then runs of bytes, each behind its length (u16, high byte first).
 *   choice mod 2   0: entries; 1: parts of a copy
 */
#include "broker/store/apply.h"
#include "broker/store/partition_copy.h"
#include "broker/store/partition_hash.h"
#include "broker/store/records_memory.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/store/records_sound.h"

#define PARTITION  5u
#define PART_BYTES 64u

static bool next_run(struct bytes *rest, struct bytes *run)
{
    if (rest->len < 2) {
        return false;
    }
    const size_t asked = (size_t)rest->at[0] << 8 | rest->at[1];
    const size_t len = asked < rest->len - 2 ? asked : rest->len - 2;
    *run = bytes_of(rest->at + 2, len);
    *rest = bytes_of(rest->at + 2 + len, rest->len - 2 - len);
    return true;
}

static void apply_all(const struct records *records, struct bytes rest)
{
    struct applier a;
    struct applied applied;
    struct bytes run;
    applier_init(&a, records, PARTITION);
    a.origins_max = 3;
    for (uint64_t index = 1; next_run(&rest, &run); index++) {
        const enum apply_err err = apply_entry(&a, index, run, &applied);
        FUZZ_EXPECT(err != APPLY_RECORDS);
        FUZZ_EXPECT(err != APPLY_OK || !applied.repetition || applied.deliveries == 0);
    }
    applier_fini(&a);
}

static void take_all(const struct records *records, struct bytes rest)
{
    struct copy_in in;
    struct bytes run;
    enum copy_err err = copy_in_begin(&in, records, PARTITION);
    FUZZ_EXPECT(err == COPY_OK);
    while (err == COPY_OK && next_run(&rest, &run)) {
        err = copy_in_part(&in, run);
        FUZZ_EXPECT(err != COPY_RECORDS);
    }
    copy_in_end(&in);
}

static struct partition_hash hash_of(const struct records *records)
{
    struct partition_hash hash;
    FUZZ_EXPECT(partition_hash(records, PARTITION, &hash) == CHECKPOINT_OK);
    return hash;
}

static void copy(const struct records *from, const struct records *to)
{
    struct field_writer part = {.at = NULL};
    struct copy_in in;
    bool is_last = false;
    struct copy_out *const out = copy_out_create(from, PARTITION);
    FUZZ_EXPECT(out != NULL && copy_in_begin(&in, to, PARTITION) == COPY_OK);
    while (!is_last) {
        FUZZ_EXPECT(copy_out_part(out, PART_BYTES, &part, &is_last) == COPY_OK);
        FUZZ_EXPECT(copy_in_part(&in, field_written(&part)) == COPY_OK);
    }
    FUZZ_EXPECT(in.is_over);
    copy_in_end(&in);
    copy_out_destroy(out);
    field_writer_fini(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct records_memory here, there;
    if (size < 1) {
        return 0;
    }
    records_memory_init(&here);
    records_memory_init(&there);
    (data[0] % 2 == 0 ? apply_all : take_all)(&here.records, bytes_of(data + 1, size - 1));
    FUZZ_EXPECT(records_sound(&here) == NULL);
    copy(&here.records, &there.records);
    FUZZ_EXPECT(records_sound(&there) == NULL);
    const struct partition_hash want = hash_of(&here.records);
    const struct partition_hash is = hash_of(&there.records);
    FUZZ_EXPECT(memcmp(&is, &want, sizeof is) == 0);
    FUZZ_EXPECT(partition_erase(&here.records, PARTITION) == CHECKPOINT_OK);
    FUZZ_EXPECT(here.all.count == 0);
    records_memory_fini(&here);
    records_memory_fini(&there);
    return 0;
}
