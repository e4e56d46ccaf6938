/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/relay/boundary.h"

#include "proto/mqtt.h"

#define LENGTH_BITS    7u
#define LENGTH_MORE    0x80u
#define SHIFT_MAX      21u /* of the fourth byte, the last that there may be (2.1.4) */
#define CONNACK_REASON 1u  /* its place in the body (3.2.2) */

static void type(struct boundary *b, uint8_t byte)
{
    b->begun = true;
    b->is_connack = byte >> 4 == MQTT_CONNACK;
    b->seen = 0;
    b->left = 0;
    b->shift = 0;
    b->at = BOUNDARY_IN_LENGTH;
}

static void length(struct boundary *b, uint8_t byte)
{
    b->left |= (uint32_t)(byte & ~LENGTH_MORE) << b->shift;
    if ((byte & LENGTH_MORE) == 0) {
        b->at = b->left == 0 ? BOUNDARY_BETWEEN : BOUNDARY_IN_BODY;
    } else if (b->shift == SHIFT_MAX) {
        b->at = BOUNDARY_NOWHERE;
    } else {
        b->shift = (uint8_t)(b->shift + LENGTH_BITS);
    }
}

/* Returns how many of them are the packet's. */
static size_t body(struct boundary *b, struct bytes bytes)
{
    const size_t len = bytes.len < b->left ? bytes.len : b->left;
    for (size_t i = 0; b->is_connack && i < len && b->seen <= CONNACK_REASON; i++, b->seen++) {
        b->connected = b->connected || (b->seen == CONNACK_REASON && bytes.at[i] == 0);
    }
    b->left -= (uint32_t)len;
    b->at = b->left == 0 ? BOUNDARY_BETWEEN : BOUNDARY_IN_BODY;
    return len;
}

void boundary_pass(struct boundary *b, struct bytes bytes)
{
    for (size_t i = 0; i < bytes.len;) {
        switch ((enum boundary_at)b->at) {
        case BOUNDARY_BETWEEN:
            type(b, bytes.at[i++]);
            break;
        case BOUNDARY_IN_LENGTH:
            length(b, bytes.at[i++]);
            break;
        case BOUNDARY_IN_BODY:
            i += body(b, bytes_of(bytes.at + i, bytes.len - i));
            break;
        case BOUNDARY_NOWHERE:
            return;
        }
    }
}
