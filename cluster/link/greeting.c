/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/link/greeting.h"

enum node_close greeting_judge(const struct identity *self, const struct node_hello *hello,
                               bool dialed)
{
    if (hello->protocol_min > NODE_PROTOCOL || hello->protocol_max < NODE_PROTOCOL) {
        return NODE_CLOSE_VERSION;
    }
    if (!cluster_uuid_equal(hello->cluster, self->cluster)) {
        return NODE_CLOSE_OTHER_CLUSTER;
    }
    if (node_uuid_equal(hello->node, self->node)) {
        return NODE_CLOSE_ITSELF;
    }
    if (!node_uuid_is_none(hello->to) && !node_uuid_equal(hello->to, self->node)) {
        return NODE_CLOSE_WRONG_NODE;
    }
    if (!dialed && node_uuid_compare(hello->node, self->node) > 0) {
        return NODE_CLOSE_NOT_THE_DIALER;
    }
    return NODE_CLOSE_NONE;
}

enum greeting_state greeting_read(const struct identity *self, const uint8_t *in, size_t in_len,
                                  struct greeting *greeting, enum node_close *why)
{
    struct node_frame frame;
    size_t used;
    enum node_err err = node_frame_decode(&frame, in, in_len, NODE_HELLO_BYTES_MAX, &used);
    if (err == NODE_NEED_MORE) {
        return GREETING_NEED_MORE;
    }
    if (err == NODE_OK && frame.type != NODE_FRAME_HELLO) {
        *why = NODE_CLOSE_NO_HELLO;
        return GREETING_BAD;
    }
    if (err == NODE_OK) {
        err = node_hello_decode(&greeting->hello, frame.body);
    }
    if (err != NODE_OK) {
        *why = node_close_of(err);
        return GREETING_BAD;
    }
    *why = greeting_judge(self, &greeting->hello, false);
    if (*why != NODE_CLOSE_NONE) {
        return GREETING_BAD;
    }
    greeting->lane = frame.lane;
    greeting->used = used;
    return GREETING_OK;
}

size_t greeting_farewell(uint8_t out[GREETING_FAREWELL_BYTES], enum node_close why)
{
    struct node_frame frame = {.type = NODE_FRAME_CLOSE};
    frame.body.len = node_close_encode(out + NODE_FRAME_HEAD_BYTES, why);
    node_frame_head_encode(out, &frame);
    return NODE_FRAME_HEAD_BYTES + frame.body.len;
}
