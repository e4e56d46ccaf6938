/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_frame.h"

#include <assert.h>

#include "proto/little_endian.h"

#define TYPES 256u

static const char *const names[TYPES] = {
#define NODE_FRAME(name, number, text) [number] = (text),
#include "proto/tbl/node_frame.h"
};

void node_frame_head_encode(uint8_t out[NODE_FRAME_HEAD_BYTES], const struct node_frame *frame)
{
    assert(frame->body.len <= UINT32_MAX);

    put_u32(out, (uint32_t)frame->body.len);
    out[4] = frame->type;
    out[5] = frame->flags;
    put_u16(out + 6, frame->lane);
    put_u64(out + 8, frame->seq);
    put_u64(out + 16, frame->ack);
}

enum node_err node_frame_decode(struct node_frame *frame, const uint8_t *in, size_t in_len,
                                size_t body_max, size_t *used)
{
    if (in_len < NODE_FRAME_HEAD_BYTES) {
        *used = NODE_FRAME_HEAD_BYTES;
        return NODE_NEED_MORE;
    }
    const size_t body_len = get_u32(in);
    if (body_len > body_max) {
        return NODE_TOO_LARGE;
    }
    *used = NODE_FRAME_HEAD_BYTES + body_len;
    if (body_len > in_len - NODE_FRAME_HEAD_BYTES) {
        return NODE_NEED_MORE;
    }
    *frame = (struct node_frame){.type = in[4],
                                 .flags = in[5],
                                 .lane = get_u16(in + 6),
                                 .seq = get_u64(in + 8),
                                 .ack = get_u64(in + 16),
                                 .body = bytes_of(in + NODE_FRAME_HEAD_BYTES, body_len)};
    return NODE_OK;
}

const char *node_frame_name(uint8_t type)
{
    return names[type];
}
