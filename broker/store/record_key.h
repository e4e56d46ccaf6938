/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_key: the keys of the checkpoint. A letter says what it is of; numbers follow with the most
 * significant byte first, so that what belongs together lies together, and in order.
 *
 *   s SERIAL               a session
 *   f SERIAL HASH          its subscription to a filter, by XXH3-128 of the filter
 *   q SERIAL NUMBER        a delivery in its queue
 *   b ID                   the body of queued messages
 *   r HASH                 a retained message, by XXH3-128 of its topic
 *   t HASH                 a topic that has none, as of a version (cluster/replica)
 *   h 0                    up to which stamp versions are forgotten, likewise
 *   p PLACE                how far a partition's entries are in it (revive_place())
 *   n 0                    wills of lower numbers are an earlier process's, and over
 *   w SERIAL NUMBER        a will that is due, and not with all yet (store/apply.h)
 *   o, u PARTITION …       how far it has come with each source of messages (store/origins.h)
 *   g PARTITION            how far its records are, of which incarnation (store/place.h)
 *   g 65, g 66             who is a member of the cluster, and how it was formed (broker/meta)
 */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>
#include <xxhash.h>

#include "proto/bytes.h"

#define RECORD_KEY_MAX 25u

struct record_key {
    uint8_t at[RECORD_KEY_MAX];
    size_t len;
};

static inline void record_key_add_number(struct record_key *k, uint64_t number)
{
    const uint64_t big_endian = htobe64(number);
    memcpy(k->at + k->len, &big_endian, sizeof big_endian);
    k->len += sizeof big_endian;
}

static inline void record_key_add_hash(struct record_key *k, struct bytes name)
{
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(name.at, name.len));
    memcpy(k->at + k->len, &hash, sizeof hash);
    k->len += sizeof hash;
}

static inline struct record_key record_key_of(char letter, uint64_t number)
{
    struct record_key k = {.at = {(uint8_t)letter}, .len = 1};
    record_key_add_number(&k, number);
    return k;
}

static inline struct record_key record_key_delivery(uint64_t serial, uint64_t number)
{
    struct record_key k = record_key_of('q', serial);
    record_key_add_number(&k, number);
    return k;
}

static inline struct record_key record_key_due_will(uint64_t serial, uint64_t number)
{
    struct record_key k = record_key_of('w', serial);
    record_key_add_number(&k, number);
    return k;
}

static inline struct record_key record_key_filter(uint64_t serial, struct bytes filter)
{
    struct record_key k = record_key_of('f', serial);
    record_key_add_hash(&k, filter);
    return k;
}

static inline struct record_key record_key_retained(struct bytes topic)
{
    struct record_key k = {.at = {'r'}, .len = 1};
    record_key_add_hash(&k, topic);
    return k;
}

static inline struct record_key record_key_grave(struct bytes topic)
{
    struct record_key k = {.at = {'t'}, .len = 1};
    record_key_add_hash(&k, topic);
    return k;
}

static inline struct bytes record_key_bytes(const struct record_key *k)
{
    return bytes_of(k->at, k->len);
}

/* The number that begins at byte `at`, which the key is long enough for. */
static inline uint64_t record_key_number(struct bytes key, size_t at)
{
    uint64_t big_endian;
    memcpy(&big_endian, key.at + at, sizeof big_endian);
    return be64toh(big_endian);
}
