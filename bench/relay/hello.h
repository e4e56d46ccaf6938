/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hello: what a client of the relay says first, and all that the relay ever understands.
 *
 * A source's bytes go to all sinks of its channel. A sink's bytes are read and dropped. If the
 * source has told ack_bytes, the relay answers it with so many bytes for each message_bytes that it
 * has sent: as many bytes, in as many writes, as a broker's acknowledgements.
 * The relay answers a hello with the four bytes of a CONNACK that accepts.
 */
#pragma once

#include <stdint.h>

#define HELLO_MAGIC UINT32_C(0x594c5244) /* "DRLY" */

enum hello_role {
    HELLO_SOURCE = 1,
    HELLO_SINK = 2,
};

struct hello { /* native byte order */
    uint32_t magic;
    uint32_t role; /* enum hello_role */
    uint32_t channel;
    uint32_t message_bytes; /* of a source: size of each of its messages on the wire */
    uint32_t ack_bytes;     /* of a source: what it gets back for each; 0: nothing */
};

/* The acknowledgement: a PUBACK without a packet identifier. */
#define HELLO_ACK_BYTES 4u
#define HELLO_ACK                                                                                  \
    {                                                                                              \
        0x40, 0x02, 0x00, 0x00                                                                     \
    }
