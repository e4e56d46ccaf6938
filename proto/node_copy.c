/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_copy.h"

#include "proto/cursor.h"
#include "proto/node_field.h"

void node_copy_encode(uint8_t out[NODE_COPY_HEAD_BYTES], const struct node_copy *copy)
{
    out[0] = copy->kind;
    out[1] = copy->partition;
    out[2] = copy->is_last;
    out[3] = 0;
    struct sink s = node_sink(out + 4);
    node_put_u32(&s, copy->incarnation);
    node_put_u64(&s, copy->copy);
    node_put_u64(&s, copy->part);
    node_put_u64(&s, copy->index);
    node_put_u64(&s, copy->sealed);
}

enum node_err node_copy_decode(struct node_copy *copy, struct bytes body)
{
    if (body.len < NODE_COPY_HEAD_BYTES || body.at[0] < NODE_COPY_WANT ||
        body.at[0] > NODE_COPY_HAVE || body.at[1] >= NODE_COPY_PARTITIONS || body.at[2] > 1) {
        return NODE_MALFORMED;
    }
    *copy =
        (struct node_copy){.kind = body.at[0], .partition = body.at[1], .is_last = body.at[2] == 1};
    struct cursor c = node_cursor(bytes_of(body.at + 4, body.len - 4));
    if (!node_u32(&c, &copy->incarnation) || !node_u64(&c, &copy->copy) ||
        !node_u64(&c, &copy->part) || !node_u64(&c, &copy->index) || !node_u64(&c, &copy->sealed)) {
        return NODE_MALFORMED;
    }
    copy->data = cursor_rest(&c);
    return (copy->data.len > 0) == (copy->kind == NODE_COPY_PART) ? NODE_OK : NODE_MALFORMED;
}
