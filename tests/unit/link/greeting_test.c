/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/link/greeting.h"

#include <criterion/criterion.h>
#include <string.h>

/* Node 2 of cluster 9. */
static struct identity self(void)
{
    struct identity id = {.generation = 1, .name_len = 1, .name = "n"};
    memset(id.cluster.bytes, 9, UUID_BYTES);
    memset(id.node.bytes, 2, UUID_BYTES);
    return id;
}

/* Of node `node`, who thinks that it talks to `to`. */
static struct node_hello hello_of(uint8_t node, uint8_t to)
{
    struct node_hello h = {.protocol_min = 1,
                           .protocol_max = 1,
                           .generation = 1,
                           .name = bytes_text("m"),
                           .frame_max = 1,
                           .stream = 1};
    memset(h.cluster.bytes, 9, UUID_BYTES);
    memset(h.node.bytes, node, UUID_BYTES);
    memset(h.to.bytes, to, UUID_BYTES);
    return h;
}

static size_t frame_of(uint8_t *out, const struct node_hello *h, uint16_t lane)
{
    struct node_frame frame = {.type = NODE_FRAME_HELLO, .lane = lane};
    frame.body.len = node_hello_encode(out + NODE_FRAME_HEAD_BYTES, h);
    node_frame_head_encode(out, &frame);
    return NODE_FRAME_HEAD_BYTES + frame.body.len;
}

Test(greeting, is_refused_for_a_reason)
{
    const struct identity id = self();
    struct node_hello h = hello_of(1, 2);
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_NONE);
    h = hello_of(1, 0);
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_NONE, "whoever is there");
    h = hello_of(1, 3);
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_WRONG_NODE);
    h = hello_of(2, 2);
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_ITSELF);
    h = hello_of(3, 2);
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_NOT_THE_DIALER);
    cr_expect_eq(greeting_judge(&id, &h, true), NODE_CLOSE_NONE, "we have called");
    h = hello_of(1, 2);
    h.cluster.bytes[15]++;
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_OTHER_CLUSTER);
    h.protocol_min = NODE_PROTOCOL + 1;
    h.protocol_max = NODE_PROTOCOL + 1;
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_VERSION);
    h.protocol_min = 0;
    h.protocol_max = NODE_PROTOCOL - 1;
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_VERSION);
    h = hello_of(1, 2);
    h.protocol_max = NODE_PROTOCOL + 5;
    cr_expect_eq(greeting_judge(&id, &h, false), NODE_CLOSE_NONE, "one in common is enough");
}

Test(greeting, is_read_whole)
{
    const struct identity id = self();
    const struct node_hello h = hello_of(1, 2);
    uint8_t in[NODE_FRAME_HEAD_BYTES + NODE_HELLO_BYTES_MAX];
    const size_t len = frame_of(in, &h, 7);
    struct greeting g;
    enum node_close why;
    for (size_t some = 0; some < len; some++) {
        cr_expect_eq(greeting_read(&id, in, some, &g, &why), GREETING_NEED_MORE, "%zu", some);
    }
    in[len] = 0xff;
    cr_assert_eq(greeting_read(&id, in, len + 1, &g, &why), GREETING_OK);
    cr_expect_eq(g.used, len);
    cr_expect_eq(g.lane, 7);
    cr_expect(node_uuid_equal(g.hello.node, h.node));
}

Test(greeting, is_refused_as_soon_as_it_is_known)
{
    const struct identity id = self();
    struct node_hello h = hello_of(2, 2);
    uint8_t in[NODE_FRAME_HEAD_BYTES + NODE_HELLO_BYTES_MAX];
    struct greeting g;
    enum node_close why;
    const size_t len = frame_of(in, &h, 0);
    cr_expect_eq(greeting_read(&id, in, len, &g, &why), GREETING_BAD);
    cr_expect_eq(why, NODE_CLOSE_ITSELF);
    in[4] = NODE_FRAME_PING;
    cr_expect_eq(greeting_read(&id, in, len, &g, &why), GREETING_BAD);
    cr_expect_eq(why, NODE_CLOSE_NO_HELLO);
    in[4] = NODE_FRAME_HELLO;
    in[NODE_FRAME_HEAD_BYTES] = 'x';
    cr_expect_eq(greeting_read(&id, in, len, &g, &why), GREETING_BAD);
    cr_expect_eq(why, NODE_CLOSE_MALFORMED);
    in[NODE_FRAME_HEAD_BYTES] = 'd';
    in[NODE_FRAME_HEAD_BYTES + 12] |= 0x80; /* a field of a later version */
    cr_expect_eq(greeting_read(&id, in, len, &g, &why), GREETING_BAD);
    cr_expect_eq(why, NODE_CLOSE_UNKNOWN_CRITICAL);
    memcpy(in, "GET / HTTP/1.1\r\n\r\n      ", NODE_FRAME_HEAD_BYTES);
    cr_expect_eq(greeting_read(&id, in, NODE_FRAME_HEAD_BYTES, &g, &why), GREETING_BAD);
    cr_expect_eq(why, NODE_CLOSE_TOO_LARGE);
}

Test(greeting, farewell_says_why)
{
    uint8_t out[GREETING_FAREWELL_BYTES];
    const size_t len = greeting_farewell(out, NODE_CLOSE_OTHER_CLUSTER);
    struct node_frame frame;
    size_t used;
    enum node_close why;
    cr_assert_eq(node_frame_decode(&frame, out, len, NODE_CONTROL_BYTES_MAX, &used), NODE_OK);
    cr_expect_eq(used, len);
    cr_expect_eq(frame.type, NODE_FRAME_CLOSE);
    cr_assert_eq(node_close_decode(&why, frame.body), NODE_OK);
    cr_expect_eq(why, NODE_CLOSE_OTHER_CLUSTER);
}
