/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: are user name and password right, or is this token? Asked by shards, answered by threads of
 * its own, as a hash takes some 50 ms of a processor by design, and a signature up to half of one.
 *
 *   shard ── gate_ask() ─▶ waiting, not too many ─▶ a thread ── answer() ─▶ shard
 *
 * Passwords and tokens wait in lines of their own: a token is judged before the passwords that came
 * earlier, as it takes a hundredth of the time; a password's turn comes after GATE_TOKENS_IN_A_ROW.
 *
 * A token by a key that is unknown may wait for other keys, if conf.seek_keys says that such are
 * sought, and is judged once more then.
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
#include "broker/auth/token.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

/* Of each thread, with 50 ms each: two and a half seconds. A client that waits for less than it
 * takes goes, and comes again: with more, all would be judged when they have gone. */
#define GATE_WAITING_PER_THREAD 50u
/* Tokens, of each thread, up to half a millisecond each: one second. */
#define GATE_TOKENS_PER_THREAD 2000u
#define GATE_TOKENS_IN_A_ROW   100u /* as long as one password */
/* Tokens that wait for other keys, of each thread. Anybody can make some: what is above it is told
 * to come again. */
#define GATE_HELD_PER_THREAD 500u
/* Of each kind and thread, whatever their number: names may be long. */
#define GATE_BYTES_PER_THREAD (8u << 20)

struct gate;
struct password_file;

enum gate_kind {
    GATE_PASSWORD,
    GATE_TOKEN,
    GATE_KINDS /* so many */
};

enum gate_verdict {
    GATE_RIGHT,
    GATE_WRONG,
    GATE_BUSY,    /* too many are waiting, or the process ends */
    GATE_LIMITED, /* wrong too often of late */
    GATE_FAILED,  /* no memory to judge */
    GATE_UNREADY, /* there is nothing yet to judge a token by */
};

struct gate_request {
    struct inquiry inquiry;       /* `destroy` is the gate's */
    struct in6_addr address;      /* zeros: none, then it is not counted */
    uint32_t failures_per_minute; /* of the address, and of a password's user; 0: any number */
    enum gate_kind kind;
    struct proof proof;
    uint64_t fingerprint; /* the asker's, of the user's line */
    bool provable;        /* there is such a user, and `proof` is of it and this password */
    enum gate_verdict verdict;

    /* Of a token. */
    bool has_user;
    bool again; /* the gate's: keys were sought for it */
    enum token_err token_err;
    struct token_facts facts; /* if it is right; what it owns goes with the request */
    uint64_t ends_ms;         /* facts.ends_s, by the clock of the gate */

    size_t user_len, password_len, client_id_len;
    /* User name, password or token, client identifier of a token's bearer; the second is wiped when
     * it has been judged. */
    uint8_t text[];
};

static inline struct bytes gate_request_user(const struct gate_request *r)
{
    return bytes_of(r->text, r->user_len);
}

/* Copies of both; the rest is zeros. NULL: no memory. */
struct gate_request *gate_request_create(struct bytes user, struct bytes password);

/* The same, of a token and who shows it. */
struct gate_request *gate_token_request_create(const struct token_bearer *bearer,
                                               struct bytes token);
void gate_request_destroy(struct gate_request *r);

/* What tokens are judged by. */
struct token_judge {
    const struct token_keys *keys;
    struct token_rules rules;
};

struct gate_conf {
    unsigned threads;
    uint64_t seed; /* of hashes of what clients choose; random */
    uint64_t (*clock_ms)(void);
    uint64_t (*wall_s)(void); /* since 1970: tokens' clock; NULL: no token will be asked for */
    void (*answer)(void *context, struct gate_request *r); /* by a thread of the gate */
    /* A token names a key that is unknown: will gate_keys_sought() be called, soon, and after this?
     * By a thread of the gate. NULL: never. */
    bool (*seek_keys)(void *context);
    void *context;
};

/* `users` is borrowed; NULL: nobody will be asked for a password. NULL: no memory, or no thread. */
NODISCARD struct gate *gate_start(const struct gate_conf *conf, const struct password_file *users);

/* From now on others are in force; returns when nobody looks at the former ones. */
void gate_set_users(struct gate *g, const struct password_file *users);

/* The same, of what tokens are judged by: borrowed; NULL: every token is wrong. */
void gate_set_tokens(struct gate *g, const struct token_judge *tokens);

/* Keys were sought, found or not; if so, they are in force. Tokens that waited are judged again. */
void gate_keys_sought(struct gate *g);

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
