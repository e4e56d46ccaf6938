/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ban_list: the clients, users and addresses of a ban list, and whether one is among them.
 * ban_line.h says what a line is.
 *
 * Owner: whoever made it; it never changes, so that any thread may ask. To ask for a name is one
 * look into a hash table, for an address one for each length of range that the list has (129 at
 * most), whatever the number of bans.
 * Memory: some 50 bytes for each ban and its value. At the bounds below: a mistake, told as any
 * other. Any bytes are fair input.
 *
 * Time: a ban's end is held as a time of the shards' clock, from what both clocks say when the list
 * is read; so a shard asks no further clock.
 */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/config/config_error.h"
#include "broker/guard/ban_line.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define BAN_FILE_BYTES_MAX (64u << 20)
#define BANS_MAX           1000000u

struct ban_list;

enum ban_list_err {
    BAN_LIST_OK = 0,
    BAN_LIST_INVALID, /* each mistake is in *error */
    BAN_LIST_NO_MEMORY,
};

struct ban_clock {
    int64_t wall_s;  /* since 1970, UTC */
    uint64_t now_ms; /* what the list will be asked with */
};

/* `name` is how messages call the file. seed: random, as clients choose what is looked up. Bans
 * that are over by now are left out; of several of one value the longest counts. *out is written on
 * success only. */
NODISCARD enum ban_list_err ban_list_parse(struct ban_list **out, const char *name,
                                           struct bytes text, uint64_t seed, struct ban_clock clock,
                                           struct config_error *error);
/* The same, of a file on disk. What keeps it from being read is a mistake too. */
NODISCARD enum ban_list_err ban_list_read(struct ban_list **out, const char *path, uint64_t seed,
                                          struct ban_clock clock, struct config_error *error);
void ban_list_destroy(struct ban_list *l); /* NULL is fine */

size_t ban_list_count(const struct ban_list *l); /* that are in force when it is made */

/* The number of the line that it is banned by; 0: it is not. kind: of a client or a user. */
unsigned ban_list_find(const struct ban_list *l, enum ban_kind kind, struct bytes name,
                       uint64_t now_ms);
unsigned ban_list_find_address(const struct ban_list *l, const struct in6_addr *address,
                               uint64_t now_ms); /* IPv4 mapped */
