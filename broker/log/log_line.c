/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/log/log_line.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "broker/log/rune.h"

static const char *const level_texts[] = {
    [LOG_ERROR] = "error",
    [LOG_WARNING] = "warning",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

struct line {
    char *at;
    const char *end;
    enum log_format format;
};

static void put(struct line *l, const char *from, size_t len)
{
    assert(len <= (size_t)(l->end - l->at)); /* LOG_LINE_BYTES_MAX is enough */
    memcpy(l->at, from, len);
    l->at += len;
}

static void put_text(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

static void put_escape(struct line *l, uint32_t unit)
{
    char escape[8];
    snprintf(escape, sizeof escape, "\\u%04x", (unsigned)(unit & 0xffff));
    put(l, escape, 6);
}

static void put_rune(struct line *l, uint32_t rune, const uint8_t *at, size_t len)
{
    if (rune == '"' || rune == '\\') {
        put(l, "\\", 1);
        put(l, (const char *)at, 1);
    } else if (rune == '\n') {
        put(l, "\\n", 2);
    } else if (rune == '\r') {
        put(l, "\\r", 2);
    } else if (rune == '\t') {
        put(l, "\\t", 2);
    } else if (!rune_is_unsafe(rune)) {
        put(l, (const char *)at, len);
    } else if (rune < 0x10000) {
        put_escape(l, rune);
    } else {
        put_escape(l, 0xd800 + ((rune - 0x10000) >> 10));
        put_escape(l, 0xdc00 + ((rune - 0x10000) & 0x3ff));
    }
}

static void put_quoted(struct line *l, struct bytes text)
{
    put(l, "\"", 1);
    for (size_t at = 0; at < text.len;) {
        uint32_t rune = 0;
        const size_t len = rune_decode(text.at + at, text.len - at, &rune);
        if (len == 0) {
            put_escape(l, 0xfffd);
            at++;
        } else {
            put_rune(l, rune, text.at + at, len);
            at += len;
        }
    }
    put(l, "\"", 1);
}

/* In logfmt a value may go without quotes when nothing in it could be taken for something else. */
static bool is_bare(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.at[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return text.len > 0;
}

static void put_value(struct line *l, struct bytes text)
{
    if (l->format == LOG_LOGFMT && is_bare(text)) {
        put(l, (const char *)text.at, text.len);
    } else {
        put_quoted(l, text);
    }
}

static void put_name(struct line *l, const char *name, bool first)
{
    assert(strlen(name) <= LOG_NAME_BYTES_MAX);
    if (!first) {
        put(l, l->format == LOG_JSON ? "," : " ", 1);
    }
    if (l->format == LOG_JSON) {
        put_quoted(l, bytes_text(name));
        put(l, ":", 1);
    } else {
        put_text(l, name);
        put(l, "=", 1);
    }
}

static void put_time(struct line *l, uint64_t now_ns)
{
    char text[64];
    struct tm tm;
    const time_t seconds = (time_t)(now_ns / 1000000000u);
    gmtime_r(&seconds, &tm);
    const size_t len = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof text - len, ".%06uZ", (unsigned)(now_ns % 1000000000u / 1000));
    put_value(l, bytes_text(text));
}

static void put_field(struct line *l, const struct log_field *field)
{
    char text[24];
    put_name(l, field->name, false);
    switch (field->kind) {
    case LOG_KIND_BYTES:
        put_value(l, field->bytes);
        break;
    case LOG_KIND_SIGNED:
        snprintf(text, sizeof text, "%" PRId64, field->number);
        put_text(l, text);
        break;
    case LOG_KIND_UNSIGNED:
        snprintf(text, sizeof text, "%" PRIu64, field->unsigned_number);
        put_text(l, text);
        break;
    case LOG_KIND_BOOL:
        put_text(l, field->truth ? "true" : "false");
        break;
    }
}

/* What the log itself adds at the end. */
static void put_remarks(struct line *l, const struct log_record *r)
{
    if (r->cut) {
        put_field(l, &(struct log_field){.name = "cut", .kind = LOG_KIND_BOOL, .truth = true});
    }
    if (r->suppressed > 0) {
        put_field(l, &(struct log_field){.name = "suppressed",
                                         .kind = LOG_KIND_UNSIGNED,
                                         .unsigned_number = r->suppressed});
    }
}

size_t log_line_write(char out[LOG_LINE_BYTES_MAX], const struct log_record *r,
                      enum log_format format)
{
    struct line l = {.at = out, .end = out + LOG_LINE_BYTES_MAX, .format = format};
    if (format == LOG_JSON) {
        put(&l, "{", 1);
    }
    put_name(&l, "ts", true);
    put_time(&l, r->now_ns);
    put_name(&l, "level", false);
    put_value(&l, bytes_text(level_texts[r->level]));
    put_name(&l, "msg", false);
    put_value(&l, bytes_text(r->event));

    struct log_field field;
    for (size_t at = 0; log_record_next(r, &at, &field);) {
        put_field(&l, &field);
    }
    put_remarks(&l, r);
    if (format == LOG_JSON) {
        put(&l, "}", 1);
    }
    put(&l, "\n", 1);
    return (size_t)(l.at - out);
}
