/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says of its clients, and when it says it again. */
#include "broker/gossip/load.h"

#include <criterion/criterion.h>

#include "proto/gossip.h"

_Static_assert(LOAD_BYTES <= GOSSIP_DATA_MAX, "membership carries it");

Test(load, comes_as_it_went)
{
    const struct node_load rows[] = {
        {.known = true, .clients = 0, .admits = LOAD_ANY},
        {.known = true, .draining = true, .clients = 1, .admits = 0},
        {.known = true, .encrypts = true, .clients = 2, .admits = 1},
        {.known = true, .clients = UINT32_MAX, .admits = 0x01020304},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t data[LOAD_BYTES];
        load_encode(data, 7, &rows[i]);
        cr_expect_eq(load_shards(bytes_of(data, sizeof data)), 7);
        const struct node_load load = load_decode(bytes_of(data, sizeof data));
        cr_expect(load.known);
        cr_expect_eq(load.draining, rows[i].draining);
        cr_expect_eq(load.encrypts, rows[i].encrypts);
        cr_expect_eq(load.clients, rows[i].clients);
        cr_expect_eq(load.admits, rows[i].admits);
    }
}

/* The version before said its shards and nothing else; one to come says more. */
Test(load, neighbouring_versions)
{
    const struct node_load some = {.clients = 9, .admits = 3};
    uint8_t data[LOAD_BYTES + 5] = {0};
    load_encode(data, 2, &some);
    for (size_t len = 0; len <= sizeof data; len++) {
        const struct node_load load = load_decode(bytes_of(data, len));
        cr_expect_eq(load_shards(bytes_of(data, len)), len >= 2 ? 2 : 0, "%zu", len);
        cr_expect_eq(load.known, len >= LOAD_BYTES, "%zu", len);
        cr_expect_eq(load.clients, len >= LOAD_BYTES ? 9 : 0, "%zu", len);
    }
    data[0] = LOAD_VERSION + 1;
    cr_expect_eq(load_shards(bytes_of(data, sizeof data)), 0);
    cr_expect_not(load_decode(bytes_of(data, sizeof data)).known);
}

static const struct {
    const char *name;
    struct node_load told, now;
    uint64_t ago_ms;
    unsigned nodes;
    bool is;
} rows[] = {
    {"nothing new", {.clients = 5}, {.clients = 5}, 1000000, 3, false},
    {"one more, just told", {.clients = 100}, {.clients = 101}, 9999, 3, false},
    {"one more, after a while", {.clients = 100}, {.clients = 101}, 10000, 3, true},
    {"many more, just told", {.clients = 100}, {.clients = 200}, 1999, 3, false},
    {"many more", {.clients = 100}, {.clients = 200}, 2000, 3, true},
    {"many fewer", {.clients = 100}, {.clients = 93}, 2000, 3, true},
    {"not so many fewer", {.clients = 100}, {.clients = 94}, 2000, 3, false},
    {"the first", {.clients = 0}, {.clients = 1}, 2000, 3, true},
    {"takes fewer", {.admits = LOAD_ANY}, {.admits = 100}, 10000, 3, true},
    {"many nodes", {.clients = 100}, {.clients = 200}, 2000, 320, false},
    {"many nodes, later", {.clients = 100}, {.clients = 200}, 22000, 320, true},
    {"begins to drain", {.clients = 5}, {.draining = true, .clients = 5}, 0, 1000, true},
    {"drains no more", {.draining = true}, {.draining = false}, 0, 1000, true},
};

Test(load, is_told_when_it_is_worth_it)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_expect_eq(load_is_to_be_told(&rows[i].told, &rows[i].now, rows[i].ago_ms, rows[i].nodes),
                     rows[i].is, "%s", rows[i].name);
    }
}
