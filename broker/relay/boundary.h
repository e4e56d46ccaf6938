/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boundary: where in a stream of a server's MQTT packets one is: between two of them, or inside of
 * one; and whether it was said that the client is connected.
 *
 * Owner: whoever has it. Memory: none else. Any bytes are fair input; after what is no packet there
 * is no boundary any more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/bytes.h"

enum boundary_at {
    BOUNDARY_BETWEEN, /* zeros: at the beginning */
    BOUNDARY_IN_LENGTH,
    BOUNDARY_IN_BODY,
    BOUNDARY_NOWHERE,
};

struct boundary {
    uint32_t left; /* of the body, or its length so far */
    uint8_t at;    /* enum boundary_at */
    uint8_t shift; /* of the next byte of the length */
    uint8_t seen;  /* bytes of a CONNACK's body, 2 at most */
    bool is_connack;
    bool connected;
    bool begun; /* there was a byte */
};

void boundary_pass(struct boundary *b, struct bytes bytes);

static inline bool boundary_is_between(const struct boundary *b)
{
    return b->at == BOUNDARY_BETWEEN;
}
