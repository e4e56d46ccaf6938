/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/reader.h"

#include <assert.h>

#include "proto/varint.h"

/* What look_at() saw of a packet. */
struct head {
    uint64_t packet_bytes; /* of the whole packet */
    uint64_t look_bytes;   /* so many have to be there to know all that is wanted */
};

static uint16_t u16_at(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* The beginning of a PUBLISH, from its topic up to and with the stamp. */
static enum reader_err look_at_publish(const uint8_t *in, size_t len, size_t fixed,
                                       enum mqtt_version version, struct arrival *a,
                                       struct head *head)
{
    const uint8_t *const end = in + len;
    const uint8_t *at = in + fixed;
    if (len < fixed + 2) {
        return READER_MORE;
    }
    const size_t topic = u16_at(at);
    const unsigned qos = a->flags >> 1 & 3u;
    const size_t before = 2 + topic + (qos > 0 ? 2 : 0);
    if ((size_t)(end - at) < before) {
        return READER_MORE;
    }
    at += before;
    a->packet_id = qos > 0 ? u16_at(at - 2) : 0;
    if (version == MQTT_V5) {
        uint32_t properties;
        const enum mqtt_err err = varint_decode(&at, end, &properties);
        if (err != MQTT_OK) {
            return err == MQTT_ERR_NEED_MORE ? READER_MORE : READER_BAD;
        }
        if ((size_t)(end - at) < properties) {
            return READER_MORE;
        }
        at += properties;
    }
    const uint64_t head_bytes = (uint64_t)(at - in);
    if (head_bytes > head->packet_bytes) {
        return READER_BAD;
    }
    a->is_stamped = head->packet_bytes - head_bytes >= STAMP_BYTES;
    head->look_bytes = head_bytes + (a->is_stamped ? STAMP_BYTES : 0);
    if (len < head->look_bytes) {
        return READER_MORE;
    }
    if (a->is_stamped) {
        a->stamp = stamp_read(at);
    }
    return READER_PACKET;
}

static enum reader_err look_at_control(const uint8_t *in, size_t len, size_t fixed,
                                       struct arrival *a, struct head *head)
{
    head->look_bytes = head->packet_bytes;
    if (len < head->packet_bytes) {
        return READER_MORE;
    }
    const uint8_t *const body = in + fixed;
    const size_t body_len = (size_t)head->packet_bytes - fixed;
    if (a->type == MQTT_CONNACK && body_len >= 2) {
        a->session_present = (body[0] & 1) != 0;
        a->reason = body[1];
    } else if (a->type == MQTT_DISCONNECT) {
        a->reason = body_len > 0 ? body[0] : 0;
    } else if (body_len >= 2) {
        a->packet_id = u16_at(body);
        a->reason = body_len > 2 ? body[2] : 0;
        a->rest = bytes_of(body + 2, body_len - 2);
    }
    return READER_PACKET;
}

static enum reader_err look_at(const uint8_t *in, size_t len, enum mqtt_version version,
                               struct arrival *a, struct head *head)
{
    if (len < 2) {
        return READER_MORE;
    }
    *a = (struct arrival){.type = (enum mqtt_type)(in[0] >> 4), .flags = in[0] & 15u};
    const uint8_t *at = in + 1;
    uint32_t remaining;
    const enum mqtt_err err = varint_decode(&at, in + len, &remaining);
    if (err != MQTT_OK) {
        return err == MQTT_ERR_NEED_MORE ? READER_MORE : READER_BAD;
    }
    const size_t fixed = (size_t)(at - in);
    head->packet_bytes = fixed + remaining;
    if (a->type == MQTT_PUBLISH) {
        return look_at_publish(in, len < head->packet_bytes ? len : (size_t)head->packet_bytes,
                               fixed, version, a, head);
    }
    return look_at_control(in, len, fixed, a, head);
}

/* Of the packet that was looked at, `in` begins `passed` bytes after its start. */
static enum reader_err pass_over(struct reader *r, struct bytes *in, const struct head *head,
                                 size_t passed, struct arrival *arrival)
{
    const uint64_t left = head->packet_bytes - passed;
    if (left <= in->len) {
        *in = bytes_of(in->at + left, in->len - (size_t)left);
        return READER_PACKET;
    }
    r->body_left = left - in->len;
    r->pending = *arrival;
    *in = bytes_of(NULL, 0);
    return READER_MORE;
}

static enum reader_err go_on_with_body(struct reader *r, struct bytes *in, struct arrival *arrival)
{
    const size_t taken = r->body_left < in->len ? (size_t)r->body_left : in->len;
    r->body_left -= taken;
    *in = bytes_of(in->at + taken, in->len - taken);
    if (r->body_left > 0) {
        return READER_MORE;
    }
    *arrival = r->pending;
    return READER_PACKET;
}

/* The beginning is held; what is there of `in` is put behind it, as far as there is room. */
static enum reader_err go_on_with_held(struct reader *r, struct bytes *in,
                                       enum mqtt_version version, struct arrival *arrival)
{
    const size_t room = READER_HELD_MAX - r->held_len;
    const size_t added = room < in->len ? room : in->len;
    struct head head;
    memcpy(r->held + r->held_len, in->at, added);
    const enum reader_err err = look_at(r->held, r->held_len + added, version, arrival, &head);
    if (err == READER_PACKET) {
        const size_t passed = r->held_len;
        r->held_len = 0;
        return pass_over(r, in, &head, passed, arrival);
    }
    if (err == READER_MORE && added == in->len) {
        r->held_len = (uint16_t)(r->held_len + added);
        *in = bytes_of(NULL, 0);
        return READER_MORE;
    }
    return READER_BAD;
}

enum reader_err reader_next(struct reader *r, struct bytes *in, enum mqtt_version version,
                            struct arrival *arrival)
{
    if (in->len == 0) {
        return READER_MORE;
    }
    if (r->body_left > 0) {
        return go_on_with_body(r, in, arrival);
    }
    if (r->held_len > 0) {
        return go_on_with_held(r, in, version, arrival);
    }
    struct head head;
    const enum reader_err err = look_at(in->at, in->len, version, arrival, &head);
    if (err == READER_PACKET) {
        return pass_over(r, in, &head, 0, arrival);
    }
    if (err == READER_BAD || in->len > READER_HELD_MAX) {
        return READER_BAD;
    }
    memcpy(r->held, in->at, in->len);
    r->held_len = (uint16_t)in->len;
    *in = bytes_of(NULL, 0);
    return READER_MORE;
}
