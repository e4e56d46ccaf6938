/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in memory, and over a checkpoint, whatever of their changes is on disk, are the same; and
 * the keys are in the checkpoint's order.
 */
#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/store/records_memory.h"
#include "broker/store/records_overlay.h"
#include "broker/store/serial.h"
#include "broker/store/session_record.h"
#include "tests/unit/route/random.h"
#include "tests/unit/store/fixture.h"
#include "tests/unit/store/said.h"

TestSuite(records, .init = fixture_begin, .fini = fixture_end, .timeout = 120);

static struct checkpoint *open(void)
{
    const struct checkpoint_conf conf = {.map_bytes_max = (uint64_t)1 << 30,
                                         .reference = delivery_record_reference,
                                         .referring = 'q'};
    return fixture_open(&conf);
}

struct pair {
    struct records_memory m;
    struct records_overlay o;
    struct checkpoint *cp;
    struct random random;
};

static uint64_t some_serial(struct pair *p)
{
    return serial_make(5 + random_below(&p->random, 2), 1, random_below(&p->random, 6));
}

static struct record_key some_key(struct pair *p)
{
    switch (random_below(&p->random, 3)) {
    case 0:
        return record_key_of('s', some_serial(p));
    case 1:
        return record_key_due_will(some_serial(p), random_below(&p->random, 4));
    default:
        return record_key_delivery(some_serial(p), random_below(&p->random, 30));
    }
}

static void put_one(struct pair *p)
{
    const struct record_key key = some_key(p);
    char text[300];
    const int len = snprintf(text, sizeof text, "%u", random_below(&p->random, 1000));
    memset(text + len, '.', sizeof text - (size_t)len);
    const struct bytes value = bytes_of(text, random_below(&p->random, sizeof text));
    if (key.at[0] != 'q') {
        cr_assert_eq(records_put(&p->m.records, &key, value), CHECKPOINT_OK);
        cr_assert_eq(records_put(&p->o.records, &key, value), CHECKPOINT_OK);
        return;
    }
    const struct delivery_record r = {
        .body = 1 + random_below(&p->random, 5),
        .bytes = 1,
        .delivery = {.number = record_key_number(record_key_bytes(&key), 9), .qos = 1}};
    const struct record_key body = record_key_of('b', r.body);
    struct field_writer w = {.at = NULL};
    delivery_record_write(&w, &r);
    for (unsigned i = 0; i < 2; i++) {
        const struct records *const records = i == 0 ? &p->m.records : &p->o.records;
        cr_assert_eq(records_add(records, &body, bytes_text("body")), CHECKPOINT_OK);
        cr_assert_eq(records_put(records, &key, field_written(&w)), CHECKPOINT_OK);
    }
    field_writer_fini(&w);
}

static void drop_some(struct pair *p)
{
    struct record_key key = some_key(p);
    if (random_below(&p->random, 3) > 0) {
        cr_assert_eq(records_drop(&p->m.records, &key), CHECKPOINT_OK);
        cr_assert_eq(records_drop(&p->o.records, &key), CHECKPOINT_OK);
        return;
    }
    key.len = random_below(&p->random, 4) == 0 ? 2 : 9;
    cr_assert_eq(records_drop_all(&p->m.records, &key), CHECKPOINT_OK);
    cr_assert_eq(records_drop_all(&p->o.records, &key), CHECKPOINT_OK);
}

static void get_one(struct pair *p)
{
    const struct record_key key = some_key(p);
    struct bytes want, is;
    cr_assert_eq(records_get(&p->m.records, &key, &want), CHECKPOINT_OK);
    cr_assert_eq(records_get(&p->o.records, &key, &is), CHECKPOINT_OK);
    cr_assert_eq(want.at == NULL, is.at == NULL);
    cr_assert(bytes_equal(want, is));
}

/* Some steps through a prefix; between them other things happen. */
static void walk(struct pair *p, void (*between)(struct pair *p))
{
    struct record_key prefix = some_key(p);
    struct record_key want = {.len = 0};
    struct record_key is = {.len = 0};
    struct bytes want_value, value;
    prefix.len = random_below(&p->random, 2) == 0 ? 2 : 9;
    do {
        cr_assert_eq(records_next(&p->m.records, &prefix, &want, &want_value), CHECKPOINT_OK);
        cr_assert_eq(records_next(&p->o.records, &prefix, &is, &value), CHECKPOINT_OK);
        cr_assert(bytes_equal(record_key_bytes(&want), record_key_bytes(&is)));
        cr_assert(bytes_equal(want_value, value));
        if (random_below(&p->random, 8) == 0 && want.len > 0) {
            between(p);
        }
    } while (want.len > 0);
}

static void commit(struct pair *p)
{
    struct checkpoint_batch *const batch = records_overlay_take(&p->o);
    cr_assert_not_null(batch);
    fixture_write(p->cp, batch);
    for (uint64_t body = 1; body <= 5; body++) {
        const struct record_key key = record_key_of('b', body);
        uint64_t count;
        cr_assert_eq(checkpoint_count(p->cp, record_key_bytes(&key), &count), CHECKPOINT_OK);
        cr_assert_eq(count, records_memory_references(&p->m, body));
    }
}

static void change(struct pair *p)
{
    if (random_below(&p->random, 3) == 0) {
        drop_some(p);
    } else {
        put_one(p);
    }
}

Test(records, are_the_same_on_disk_and_in_memory)
{
    struct pair p = {.random = random_init(), .cp = open()};
    cr_log_info("TEST_SEED=%#llx", (unsigned long long)p.random.seed);
    records_memory_init(&p.m);
    records_overlay_init(&p.o, p.cp);
    for (unsigned i = 0; i < 6000; i++) {
        const uint32_t what = random_below(&p.random, 100);
        if (what < 70) {
            change(&p);
        } else if (what < 85) {
            get_one(&p);
        } else if (what < 95) {
            walk(&p, change);
        } else if (what < 97) {
            commit(&p);
        }
    }
    commit(&p);
    cr_expect_eq(records_overlay_bytes(&p.o), 0);
    cr_expect_eq(p.m.miscounted, 0);
    cr_expect_eq(checkpoint_stats(p.cp).miscounted, 0);
    records_overlay_fini(&p.o);
    records_memory_fini(&p.m);
    checkpoint_close(p.cp);
}

/* More than is read at once, a half of it changed. */
Test(records, a_long_walk)
{
    struct checkpoint *const cp = open();
    struct records_overlay o;
    static uint8_t value[1000];
    records_overlay_init(&o, cp);
    for (unsigned i = 0; i < 500; i++) {
        const struct record_key key = record_key_of('s', i);
        cr_assert_eq(records_put(&o.records, &key, bytes_of(value, sizeof value)), CHECKPOINT_OK);
    }
    fixture_write(cp, records_overlay_take(&o));
    const uint64_t reads = checkpoint_stats(cp).reads;
    for (unsigned i = 0; i < 700; i += 2) {
        const struct record_key key = record_key_of('s', i);
        cr_assert_eq(i % 4 == 0 ? records_put(&o.records, &key, bytes_text("new"))
                                : records_drop(&o.records, &key),
                     CHECKPOINT_OK);
    }
    const struct record_key prefix = {.at = {'s'}, .len = 1};
    struct record_key at = {.len = 0};
    struct bytes found;
    unsigned count = 0;
    for (uint64_t i = 0; i < 700; i++) {
        if (i % 4 == 2 || (i % 2 == 1 && i >= 500)) {
            continue;
        }
        cr_assert_eq(records_next(&o.records, &prefix, &at, &found), CHECKPOINT_OK);
        cr_assert_eq(record_key_number(record_key_bytes(&at), 1), i);
        cr_assert_eq(found.len, i % 4 == 0 ? 3 : sizeof value);
        count++;
    }
    cr_assert_eq(records_next(&o.records, &prefix, &at, &found), CHECKPOINT_OK);
    cr_expect_eq(at.len, 0);
    cr_expect_eq(count, 425);
    cr_expect_lt(checkpoint_stats(cp).reads - reads, 20); /* 64 KiB at once */
    records_overlay_fini(&o);
    checkpoint_close(cp);
}

Test(records, keys_are_in_the_order_of_their_bytes)
{
    struct key_map m;
    struct random r = random_init();
    uint8_t at[4];
    key_map_init(&m);
    for (unsigned i = 0; i < 3000; i++) {
        const size_t len = 1 + random_below(&r, sizeof at);
        for (size_t k = 0; k < len; k++) {
            at[k] = (uint8_t)(random_below(&r, 4) * 85);
        }
        struct key_node *const node = key_map_add(&m, bytes_of(at, len));
        cr_assert_eq(key_map_find(&m, bytes_of(at, len)), node);
        if (random_below(&r, 3) == 0) {
            key_map_remove(&m, node);
            cr_assert_null(key_map_find(&m, bytes_of(at, len)));
        }
    }
    size_t count = 0;
    for (const struct key_node *node = m.first[0]; node != NULL; node = key_map_next(node)) {
        const struct key_node *const next = key_map_next(node);
        const size_t both = next == NULL                    ? 0
                            : next->key.len < node->key.len ? next->key.len
                                                            : node->key.len;
        const int order = memcmp(node->key.at, next == NULL ? node->key.at : next->key.at, both);
        cr_assert(next == NULL || order < 0 || (order == 0 && node->key.len < next->key.len));
        cr_assert_eq(key_map_behind(&m, record_key_bytes(&node->key)), next);
        cr_assert_eq(key_map_from(&m, record_key_bytes(&node->key)), node);
        count++;
    }
    cr_expect_eq(count, m.count);
    key_map_clear(&m);
    cr_expect_eq(m.bytes, 0);
}

Test(records, serials_of_a_partition_lie_together)
{
    const uint64_t serial = serial_make(63, 0x1234567, 0xfffffffe);
    cr_expect_eq(serial, 0x40234567fffffffe);
    cr_expect_eq(serial_partition(serial), 63);
    cr_expect_eq(serial_term(serial), 0x234567);
    cr_expect_eq(serial_counter(serial), 0xfffffffe);
    cr_expect_not(serial_is_local(serial));
    cr_expect(serial_is_local(serial_make(0, 0, 0) - 1));
    cr_expect_eq(serial_partition(77), SERIAL_PARTITIONS);
    cr_expect_eq(serial_partition(65ull << 56), SERIAL_PARTITIONS);
    const struct record_key prefix = serial_prefix('q', 63);
    const struct record_key key = record_key_delivery(serial, 3);
    cr_expect(key_begins_with(record_key_bytes(&key), record_key_bytes(&prefix)));
    const uint64_t entry = serial_body_of_entry(63, SERIAL_INDEX_MAX);
    const uint64_t copied = serial_body_of_copy(63, 1);
    cr_expect_lt(entry, copied);
    cr_expect_eq(serial_partition(entry), 63);
    cr_expect_eq(serial_partition(copied), 63);
}
