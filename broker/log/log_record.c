/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log_record.h"

#include <assert.h>
#include <string.h>

static const char ellipsis[] = "\xe2\x80\xa6";
#define ELLIPSIS_LEN (sizeof ellipsis - 1)

/* How many of its bytes to keep before an ellipsis, so that no character is cut in two. */
static size_t kept_len(struct bytes text, size_t room)
{
    size_t len = room - ELLIPSIS_LEN;
    for (unsigned back = 0; back < 3 && len > 0 && (text.at[len] & 0xc0) == 0x80; back++) {
        len--;
    }
    return len;
}

/* For a text or number, after its head; false: not even for the head. */
static bool has_room(const struct log_record *r, size_t *room)
{
    const size_t left = sizeof r->fields - r->used;
    if (left < sizeof(struct log_head)) {
        return false;
    }
    *room = left - sizeof(struct log_head);
    return true;
}

static void append(struct log_record *r, const void *from, size_t len)
{
    assert(len <= sizeof r->fields - r->used);
    if (len > 0) {
        memcpy(r->fields + r->used, from, len);
        r->used = (uint16_t)(r->used + len);
    }
}

static void append_head(struct log_record *r, const struct log_field *field, size_t len)
{
    struct log_head head;
    memset(&head, 0, sizeof head);
    head.name = field->name;
    head.len = (uint16_t)len;
    head.kind = (uint8_t)field->kind;
    append(r, &head, sizeof head);
}

static void append_text(struct log_record *r, const struct log_field *field)
{
    size_t room;
    if (!has_room(r, &room)) {
        r->cut = true;
        return;
    }
    room = room < LOG_TEXT_BYTES_MAX ? room : LOG_TEXT_BYTES_MAX;
    if (field->bytes.len <= room) {
        append_head(r, field, field->bytes.len);
        append(r, field->bytes.at, field->bytes.len);
    } else if (room > ELLIPSIS_LEN) {
        const size_t len = kept_len(field->bytes, room);
        append_head(r, field, len + ELLIPSIS_LEN);
        append(r, field->bytes.at, len);
        append(r, ellipsis, ELLIPSIS_LEN);
    } else {
        r->cut = true;
    }
}

static void append_number(struct log_record *r, const struct log_field *field)
{
    const uint64_t number = field->kind == LOG_KIND_BOOL ? field->truth : field->unsigned_number;
    size_t room;
    if (!has_room(r, &room) || room < sizeof number) {
        r->cut = true;
        return;
    }
    append_head(r, field, sizeof number);
    append(r, &number, sizeof number);
}

void log_record_fill(struct log_record *r, enum log_level level, const char *event,
                     const struct log_place *place, const struct log_field *fields, size_t count)
{
    assert(count >= 1);
    assert(count - 1 <= LOG_FIELDS_MAX);

    r->now_ns = place->now_ns;
    r->event = event;
    r->level = level;
    r->suppressed = place->suppressed;
    r->used = 0;
    r->cut = false;
    for (size_t i = 1; i < count; i++) {
        if (fields[i].kind == LOG_KIND_BYTES) {
            append_text(r, &fields[i]);
        } else {
            append_number(r, &fields[i]);
        }
    }
}

bool log_record_next(const struct log_record *r, size_t *at, struct log_field *field)
{
    struct log_head head;
    if (*at == r->used) {
        return false;
    }
    assert(*at + sizeof head <= r->used);
    memcpy(&head, r->fields + *at, sizeof head);
    const uint8_t *const text = r->fields + *at + sizeof head;
    *at += sizeof head + head.len;
    assert(*at <= r->used);

    *field = (struct log_field){.name = head.name, .kind = (enum log_kind)head.kind};
    if (field->kind == LOG_KIND_BYTES) {
        field->bytes = bytes_of(text, head.len);
        return true;
    }
    uint64_t number;
    memcpy(&number, text, sizeof number);
    if (field->kind == LOG_KIND_BOOL) {
        field->truth = number != 0;
    } else {
        field->unsigned_number = number;
    }
    return true;
}
