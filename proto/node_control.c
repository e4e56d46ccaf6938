/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_control.h"

#include <assert.h>

#include "proto/node_field.h"

/* Of each of the four; given once and for all, as the types of frames are. */
enum tag {
    TAG_VALUE = 1, /* CLOSE: u8 why; CREDIT: u64 bytes; GAP: u64 first, u8 why; CLOCK: u64 ms */
};

static const struct close_rule {
    const char *text;
    bool refused;
} close_rules[] = {
#define NODE_CLOSE(name, number, refused, text) [number] = {text, refused},
#include "proto/tbl/node_close.h"
};

static const struct close_rule *close_rule(enum node_close why)
{
    static const struct close_rule unknown = {"for a reason that only a later version knows",
                                              false};
    const size_t count = sizeof close_rules / sizeof close_rules[0];
    return (size_t)why < count && close_rules[why].text != NULL ? &close_rules[why] : &unknown;
}

const char *node_close_text(enum node_close why)
{
    return close_rule(why)->text;
}

bool node_close_is_refusal(enum node_close why)
{
    return close_rule(why)->refused;
}

enum node_close node_close_of(enum node_err err)
{
    switch (err) {
    case NODE_TOO_LARGE:
        return NODE_CLOSE_TOO_LARGE;
    case NODE_UNKNOWN_CRITICAL:
        return NODE_CLOSE_UNKNOWN_CRITICAL;
    default:
        return NODE_CLOSE_MALFORMED;
    }
}

size_t node_close_encode(uint8_t *out, enum node_close why)
{
    struct sink s = node_sink(out);
    node_put_field_u8(&s, TAG_VALUE, (uint8_t)why);
    return s.len;
}

enum node_err node_close_decode(enum node_close *why, struct bytes body)
{
    struct bytes value;
    uint8_t number;
    const enum node_err err = node_field_only(&value, body, TAG_VALUE);
    if (err != NODE_OK) {
        return err;
    }
    if (!node_value_u8(value, &number)) {
        return NODE_MALFORMED;
    }
    *why = (enum node_close)number;
    return NODE_OK;
}

static size_t number_encode(uint8_t *out, uint64_t number)
{
    struct sink s = node_sink(out);
    node_put_field_u64(&s, TAG_VALUE, number);
    return s.len;
}

static enum node_err number_decode(uint64_t *number, struct bytes body)
{
    struct bytes value;
    const enum node_err err = node_field_only(&value, body, TAG_VALUE);
    if (err != NODE_OK) {
        return err;
    }
    return node_value_u64(value, number) ? NODE_OK : NODE_MALFORMED;
}

size_t node_credit_encode(uint8_t *out, uint64_t credit)
{
    return number_encode(out, credit);
}

enum node_err node_credit_decode(uint64_t *credit, struct bytes body)
{
    return number_decode(credit, body);
}

size_t node_clock_encode(uint8_t *out, uint64_t wall_ms)
{
    return number_encode(out, wall_ms);
}

enum node_err node_clock_decode(uint64_t *wall_ms, struct bytes body)
{
    return number_decode(wall_ms, body);
}

size_t node_gap_encode(uint8_t *out, const struct node_gap_body *gap)
{
    struct sink s = node_sink(out);
    node_put_head(&s, TAG_VALUE, sizeof gap->first + 1);
    node_put_u64(&s, gap->first);
    sink_u8(&s, (uint8_t)gap->why);
    return s.len;
}

enum node_err node_gap_decode(struct node_gap_body *gap, struct bytes body)
{
    struct bytes value;
    const enum node_err err = node_field_only(&value, body, TAG_VALUE);
    if (err != NODE_OK) {
        return err;
    }
    struct cursor c = node_cursor(value);
    uint64_t first;
    uint8_t why;
    if (!node_u64(&c, &first) || !cursor_u8(&c, &why) ||
        (why != NODE_GAP_FRESH && why != NODE_GAP_LOST)) {
        return NODE_MALFORMED;
    }
    *gap = (struct node_gap_body){.first = first, .why = (enum node_gap)why};
    return NODE_OK;
}
