/* SPDX-License-Identifier: Apache-2.0 */
/*
 * removal: an operator ends a client's connection, or its session with all that is queued in it.
 *
 * Owner: as an errand (shard/errand.h), of the shard of the session.
 */
#pragma once

#include <stdbool.h>

#include "broker/shard/errand.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

#define REMOVAL_WORDS_MAX 200u

enum removal_of { REMOVAL_OF_CONNECTION, REMOVAL_OF_SESSION };

struct removal {
    struct errand errand;
    enum removal_of of;
    bool was_there; /* the connection, or the session */
    char words[REMOVAL_WORDS_MAX + 1];
    size_t client_id_len;
    uint8_t client_id[];
};

/* words: for the client, of 5.0, with reason code 0x98; REMOVAL_WORDS_MAX bytes of UTF-8 at most,
 * "" for none. NULL: no memory. */
NODISCARD struct removal *removal_create(enum removal_of of, struct bytes client_id,
                                         const char *words);
