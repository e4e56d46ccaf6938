/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/gossip.h"

#include <assert.h>

#include "proto/cursor.h"
#include "proto/sink.h"

#define FIELD_HEAD_BYTES 3u
#define PART_LAST        0x01u
#define PART_WANTS_STATE 0x02u

enum field {
    FIELD_SEQ = 0x01,
    FIELD_TARGET = 0x02,
    FIELD_PART = 0x03,
    FIELD_ALIVE = 0x10,
    FIELD_SUSPECT = 0x11,
    FIELD_DEAD = 0x12,
    FIELD_LEFT = 0x13,
    FIELD_MEMBER = 0x14,
};

/* ---- Reading */

static bool take_uuid(struct cursor *c, struct node_uuid *uuid)
{
    struct bytes raw;
    if (!cursor_bytes(c, UUID_BYTES, &raw)) {
        return false;
    }
    memcpy(uuid->bytes, raw.at, UUID_BYTES);
    return !node_uuid_is_none(*uuid);
}

static bool take_address(struct cursor *c, struct node_address *address)
{
    struct bytes raw;
    if (!cursor_bytes(c, sizeof address->ip, &raw) || !cursor_u16(c, &address->port)) {
        return false;
    }
    memcpy(address->ip, raw.at, sizeof address->ip);
    return address->port != 0;
}

static bool take_incarnation(struct cursor *c, struct incarnation *incarnation)
{
    uint32_t high, low;
    if (!cursor_u32(c, &high) || !cursor_u32(c, &low) || !cursor_u32(c, &incarnation->version)) {
        return false;
    }
    incarnation->generation = (uint64_t)high << 32 | low;
    return incarnation->generation != 0;
}

static bool take_short(struct cursor *c, struct bytes *out)
{
    uint8_t len;
    return cursor_u8(c, &len) && cursor_bytes(c, len, out);
}

static bool take_attributes(struct cursor *c, struct gossip_word *word)
{
    return take_address(c, &word->address) && take_short(c, &word->name) &&
           node_name_is_valid(word->name) && take_short(c, &word->data) &&
           word->data.len <= GOSSIP_DATA_MAX;
}

static bool take_who(struct cursor *c, struct gossip_word *word)
{
    return take_uuid(c, &word->node) && take_incarnation(c, &word->incarnation);
}

/* They need not be there; and only who left can be gone. */
static bool take_bits(struct cursor *c, struct gossip_word *word)
{
    uint8_t bits = 0;
    if (cursor_left(c) > 0 && !cursor_u8(c, &bits)) {
        return false;
    }
    word->gone = word->kind == GOSSIP_LEFT && (bits & GOSSIP_GONE) != 0;
    return true;
}

static bool take_member(struct cursor *c, struct gossip_word *word)
{
    uint8_t state;
    if (!cursor_u8(c, &state) || state > GOSSIP_LEFT) {
        return false;
    }
    word->kind = (enum gossip_word_kind)state;
    word->whole = true;
    return cursor_u32(c, &word->age_s) && take_who(c, word) && take_attributes(c, word) &&
           take_bits(c, word);
}

/* false: it is no fair word of that type. */
static bool take_word(uint8_t type, struct bytes value, struct gossip_word *word)
{
    struct cursor c = {.at = value.at, .end = value.at + value.len};
    *word = (struct gossip_word){.kind = (enum gossip_word_kind)(type - FIELD_ALIVE)};
    switch (type) {
    case FIELD_ALIVE:
        return take_who(&c, word) && take_attributes(&c, word);
    case FIELD_SUSPECT:
    case FIELD_DEAD:
        return take_who(&c, word) && take_uuid(&c, &word->accuser);
    case FIELD_LEFT:
        return take_who(&c, word) && take_bits(&c, word);
    default:
        return take_member(&c, word);
    }
}

static bool is_word(uint8_t type)
{
    return type >= FIELD_ALIVE && type <= FIELD_MEMBER;
}

static bool take_field(struct cursor *c, uint8_t *type, struct bytes *value)
{
    uint16_t len;
    return cursor_u8(c, type) && cursor_u16(c, &len) && cursor_bytes(c, len, value);
}

/* What message->kind has to bring. */
static bool is_complete(const struct gossip *message, bool has_seq, bool has_part)
{
    switch (message->kind) {
    case GOSSIP_PING:
    case GOSSIP_PING_REQUEST:
        return has_seq && !node_uuid_is_none(message->target);
    case GOSSIP_ACK:
    case GOSSIP_NACK:
        return has_seq;
    case GOSSIP_STATE:
        return has_part;
    default:
        return true;
    }
}

static enum gossip_err take_plain_field(struct gossip *message, uint8_t type, struct bytes value,
                                        bool *has_seq, bool *has_part)
{
    struct cursor c = {.at = value.at, .end = value.at + value.len};
    uint8_t part;
    struct gossip_word word;
    switch (type) {
    case FIELD_SEQ:
        *has_seq = true;
        return cursor_u32(&c, &message->seq) ? GOSSIP_OK : GOSSIP_MALFORMED;
    case FIELD_TARGET:
        return take_uuid(&c, &message->target) && take_address(&c, &message->target_address)
                   ? GOSSIP_OK
                   : GOSSIP_MALFORMED;
    case FIELD_PART:
        if (!cursor_u8(&c, &part)) {
            return GOSSIP_MALFORMED;
        }
        *has_part = true;
        message->last = (part & PART_LAST) != 0;
        message->wants_state = (part & PART_WANTS_STATE) != 0;
        return GOSSIP_OK;
    default:
        if (is_word(type)) {
            return take_word(type, value, &word) ? GOSSIP_OK : GOSSIP_MALFORMED;
        }
        return (type & GOSSIP_CRITICAL) != 0 ? GOSSIP_UNKNOWN_CRITICAL : GOSSIP_OK;
    }
}

enum gossip_err gossip_decode(struct gossip *message, struct bytes in)
{
    if (in.len > GOSSIP_MESSAGE_MAX) {
        return GOSSIP_TOO_LARGE;
    }
    struct cursor c = {.at = in.at, .end = in.at + in.len};
    struct gossip m = {0};
    uint8_t version, type;
    struct bytes value;
    bool has_seq = false, has_part = false;
    if (!cursor_u8(&c, &version) || !cursor_u8(&c, &m.kind) || m.kind == 0) {
        return GOSSIP_MALFORMED;
    }
    if (version != GOSSIP_VERSION) {
        return GOSSIP_UNKNOWN_VERSION;
    }
    m.fields = bytes_of(c.at, cursor_left(&c));
    while (cursor_left(&c) > 0) {
        if (!take_field(&c, &type, &value)) {
            return GOSSIP_MALFORMED;
        }
        const enum gossip_err err = take_plain_field(&m, type, value, &has_seq, &has_part);
        if (err != GOSSIP_OK) {
            return err;
        }
    }
    if (!is_complete(&m, has_seq, has_part)) {
        return GOSSIP_MALFORMED;
    }
    *message = m;
    return GOSSIP_OK;
}

bool gossip_next_word(struct bytes *fields, struct gossip_word *word)
{
    struct cursor c = {.at = fields->at, .end = fields->at + fields->len};
    uint8_t type;
    struct bytes value;
    while (take_field(&c, &type, &value)) {
        if (is_word(type) && take_word(type, value, word)) {
            *fields = bytes_of(c.at, cursor_left(&c));
            return true;
        }
    }
    *fields = bytes_of(c.at, 0);
    return false;
}

/* ---- Writing */

void gossip_begin(struct gossip_writer *w, uint8_t *out, size_t max, enum gossip_kind kind)
{
    assert(max >= 2 && max <= GOSSIP_MESSAGE_MAX);

    out[0] = GOSSIP_VERSION;
    out[1] = (uint8_t)kind;
    *w = (struct gossip_writer){.out = out, .len = 2, .max = max};
}

static void sink_u32(struct sink *s, uint32_t value)
{
    sink_u16(s, (uint16_t)(value >> 16));
    sink_u16(s, (uint16_t)value);
}

static void sink_uuid(struct sink *s, struct node_uuid uuid)
{
    sink_bytes(s, bytes_of(uuid.bytes, UUID_BYTES));
}

static void sink_address(struct sink *s, const struct node_address *address)
{
    sink_bytes(s, bytes_of(address->ip, sizeof address->ip));
    sink_u16(s, address->port);
}

static void sink_short(struct sink *s, struct bytes value)
{
    sink_u8(s, (uint8_t)value.len);
    sink_bytes(s, value);
}

/* A field of the writer's, whose value is what `put` makes of it: counted first, then written. */
static bool put_field(struct gossip_writer *w, uint8_t type, const void *from,
                      void (*put)(struct sink *s, const void *from))
{
    struct sink count = {0};
    put(&count, from);
    if (count.len + FIELD_HEAD_BYTES > w->max - w->len) {
        return false;
    }
    struct sink s = {.at = w->out + w->len};
    sink_u8(&s, type);
    sink_u16(&s, (uint16_t)count.len);
    put(&s, from);
    w->len += s.len;
    return true;
}

static void put_seq(struct sink *s, const void *from)
{
    sink_u32(s, *(const uint32_t *)from);
}

bool gossip_put_seq(struct gossip_writer *w, uint32_t seq)
{
    return put_field(w, FIELD_SEQ, &seq, put_seq);
}

struct target {
    struct node_uuid node;
    const struct node_address *address;
};

static void put_target(struct sink *s, const void *from)
{
    const struct target *const target = from;
    sink_uuid(s, target->node);
    sink_address(s, target->address);
}

bool gossip_put_target(struct gossip_writer *w, struct node_uuid node,
                       const struct node_address *address)
{
    const struct target target = {.node = node, .address = address};
    return put_field(w, FIELD_TARGET, &target, put_target);
}

static void put_part(struct sink *s, const void *from)
{
    sink_u8(s, *(const uint8_t *)from);
}

bool gossip_put_part(struct gossip_writer *w, bool wants_state, bool last)
{
    const uint8_t part = (uint8_t)((wants_state ? PART_WANTS_STATE : 0) | (last ? PART_LAST : 0));
    return put_field(w, FIELD_PART, &part, put_part);
}

static void put_word(struct sink *s, const void *from)
{
    const struct gossip_word *const word = from;
    if (word->whole) {
        sink_u8(s, (uint8_t)word->kind);
        sink_u32(s, word->age_s);
    }
    sink_uuid(s, word->node);
    sink_u32(s, (uint32_t)(word->incarnation.generation >> 32));
    sink_u32(s, (uint32_t)word->incarnation.generation);
    sink_u32(s, word->incarnation.version);
    if (word->whole || word->kind == GOSSIP_ALIVE) {
        sink_address(s, &word->address);
        sink_short(s, word->name);
        sink_short(s, word->data);
    } else if (word->kind != GOSSIP_LEFT) {
        sink_uuid(s, word->accuser);
    }
    if (word->kind == GOSSIP_LEFT && word->gone) {
        sink_u8(s, GOSSIP_GONE);
    }
}

bool gossip_put_word(struct gossip_writer *w, const struct gossip_word *word)
{
    assert(word->name.len <= NODE_NAME_MAX);
    assert(word->data.len <= GOSSIP_DATA_MAX);

    const uint8_t type = (uint8_t)(word->whole ? FIELD_MEMBER : FIELD_ALIVE + word->kind);
    return put_field(w, type, word, put_word);
}
