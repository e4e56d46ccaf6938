/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: are user name and password right? Asked by shards, answered by threads of its own, as a
 * hash takes some 50 ms of a processor by design.
 *
 *   shard ── gate_ask() ─▶ waiting, not too many ─▶ a thread ── answer() ─▶ shard
 *
 * Any thread may ask; what is asked is short, under a lock that is never held while a hash is
 * computed. At the bound, and where an address or a user has been wrong too often, the verdict
 * comes at once (GATE_BUSY, GATE_LIMITED).
 *
 * Owner: main. A request is the asker's until gate_ask() took it, then the gate's, and from
 * answer() on the receiver's.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/auth/inquiry.h"
#include "broker/auth/remembered.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* Of each thread, with 50 ms each: two and a half seconds. A client that waits for less than it
 * takes goes, and comes again: with more, all would be judged when they have gone. */
#define GATE_WAITING_PER_THREAD 50u

struct gate;
struct password_file;

enum gate_verdict {
    GATE_RIGHT,
    GATE_WRONG,
    GATE_BUSY,    /* too many are waiting, or the process ends */
    GATE_LIMITED, /* wrong too often of late */
    GATE_FAILED,  /* no memory to judge */
};

struct gate_request {
    struct inquiry inquiry;       /* `destroy` is the gate's */
    struct in6_addr address;      /* zeros: none, then it is not counted */
    uint32_t failures_per_minute; /* of the address, and of the user; 0: any number */
    struct remembered_proof proof;
    uint64_t fingerprint; /* the asker's, of the user's line */
    bool provable;        /* there is such a user, and `proof` is of it and this password */
    enum gate_verdict verdict;
    size_t user_len, password_len;
    uint8_t text[]; /* user name, password; the latter is wiped when it has been judged */
};

static inline struct bytes gate_request_user(const struct gate_request *r)
{
    return bytes_of(r->text, r->user_len);
}

/* Copies of both; the rest is zeros. NULL: no memory. */
struct gate_request *gate_request_create(struct bytes user, struct bytes password);
void gate_request_destroy(struct gate_request *r);

struct gate_conf {
    unsigned threads;
    uint64_t seed; /* of hashes of what clients choose; random */
    uint64_t (*clock_ms)(void);
    void (*answer)(void *context, struct gate_request *r); /* by a thread of the gate */
    void *context;
};

/* `users` is borrowed. NULL: no memory, or no thread. */
NODISCARD struct gate *gate_start(const struct gate_conf *conf, const struct password_file *users);

/* From now on others are in force; returns when nobody looks at the former ones. */
void gate_set_users(struct gate *g, const struct password_file *users);

/* false: *verdict says why, and the request is still the caller's. */
NODISCARD bool gate_ask(struct gate *g, struct gate_request *r, enum gate_verdict *verdict);

/* For those who judge without the gate, and quickly: may this user be tried by this address (zeros:
 * none)? And: it was wrong. They are counted together with the passwords. */
NODISCARD bool gate_allows(struct gate *g, struct bytes user, const struct in6_addr *address,
                           uint32_t failures_per_minute);
void gate_count_failure(struct gate *g, struct bytes user, const struct in6_addr *address,
                        uint32_t failures_per_minute);

/* What was found right so far. */
struct remembered *gate_remembered(struct gate *g);

/* What waits is answered with GATE_BUSY, as is what is asked later. */
void gate_stop(struct gate *g);
void gate_destroy(struct gate *g); /* stopped; nobody asks any more. NULL is fine */
