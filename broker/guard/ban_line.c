/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/ban_line.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/utf8.h"

#define ADDRESS_TEXT 64u
#define TIME_TEXT    32u
#define MAPPED_BITS  96u /* before an IPv4 address */

static const char *const kinds[] = {
    [BAN_CLIENT] = "client", [BAN_USER] = "user", [BAN_ADDRESS] = "address"};
#define KINDS (sizeof kinds / sizeof kinds[0])

const char *ban_kind_name(enum ban_kind kind)
{
    return kinds[kind];
}

/* ---- lines */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct bytes without_front(struct bytes text, size_t len)
{
    return bytes_of(text.at + len, text.len - len);
}

static struct bytes trimmed_front(struct bytes text)
{
    while (text.len > 0 && is_blank(text.at[0])) {
        text = without_front(text, 1);
    }
    return text;
}

static struct bytes trimmed(struct bytes text)
{
    text = trimmed_front(text);
    while (text.len > 0 && is_blank(text.at[text.len - 1])) {
        text.len--;
    }
    return text;
}

struct ban_lines ban_lines_of(struct bytes text)
{
    return (struct ban_lines){.left = text};
}

bool ban_lines_next(struct ban_lines *lines, struct ban_line *line)
{
    const struct bytes left = lines->left;
    if (left.len == 0) {
        return false;
    }
    const uint8_t *const newline = memchr(left.at, '\n', left.len);
    const size_t len = newline == NULL ? left.len : (size_t)(newline - left.at) + 1;
    size_t end_len = newline == NULL ? 0 : 1;
    if (len > end_len && left.at[len - end_len - 1] == '\r') {
        end_len++; /* also where \n is still to come */
    }
    lines->left = without_front(left, len);
    lines->number++;
    line->whole = bytes_of(left.at, len);
    line->end = bytes_of(left.at + len - end_len, end_len);
    line->text = trimmed(bytes_of(left.at, len - end_len));
    if (line->text.len > 0 && line->text.at[0] == '#') {
        line->text.len = 0;
    }
    return true;
}

/* ---- words */

/* The next word, up to a blank; *rest begins behind it. Empty: there is none. */
static struct bytes take_word(struct bytes *rest)
{
    const struct bytes text = trimmed_front(*rest);
    size_t len = 0;
    while (len < text.len && !is_blank(text.at[len])) {
        len++;
    }
    *rest = without_front(text, len);
    return bytes_of(text.at, len);
}

static int digit_of(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash, at the front of *rest. false: nothing that there is. */
static bool take_escaped(struct bytes *rest, uint8_t *byte)
{
    const uint8_t *const at = rest->at;
    if (rest->len >= 1 && (at[0] == '"' || at[0] == '\\')) {
        *byte = at[0];
        *rest = without_front(*rest, 1);
        return true;
    }
    if (rest->len >= 3 && at[0] == 'x' && digit_of(at[1]) >= 0 && digit_of(at[2]) >= 0) {
        *byte = (uint8_t)(digit_of(at[1]) << 4 | digit_of(at[2]));
        *rest = without_front(*rest, 3);
        return true;
    }
    return false;
}

/* Behind the first quote: up to the second. */
static const char *take_quoted(struct ban *out, struct bytes *rest)
{
    while (rest->len > 0 && rest->at[0] != '"') {
        uint8_t byte = rest->at[0];
        *rest = without_front(*rest, 1);
        if (byte == '\\' && !take_escaped(rest, &byte)) {
            return "behind a backslash there has to be a quote, a backslash, or x and two digits "
                   "of 0-9, a-f";
        }
        if (out->value_len == BAN_VALUE_BYTES_MAX) {
            return "the value is longer than 1024 bytes";
        }
        out->value[out->value_len++] = byte;
    }
    if (rest->len == 0) {
        return "the quotes are not closed";
    }
    *rest = without_front(*rest, 1);
    return rest->len > 0 && !is_blank(rest->at[0]) ? "behind quotes there has to be a blank" : NULL;
}

static const char *take_value(struct ban *out, struct bytes *rest)
{
    *rest = trimmed_front(*rest);
    if (rest->len > 0 && rest->at[0] == '"') {
        *rest = without_front(*rest, 1);
        return take_quoted(out, rest);
    }
    const struct bytes word = take_word(rest);
    if (word.len == 0) {
        return "the value is missing; a line is KIND VALUE, as in: client sensor-17";
    }
    if (word.len > BAN_VALUE_BYTES_MAX) {
        return "the value is longer than 1024 bytes";
    }
    memcpy(out->value, word.at, word.len);
    out->value_len = (uint16_t)word.len;
    return NULL;
}

/* ---- values */

/* The value becomes the range. */
static const char *judge_address(struct ban *out)
{
    char text[ADDRESS_TEXT];
    struct address_ranges ranges;
    if (out->value_len >= sizeof text || memchr(out->value, ',', out->value_len) != NULL ||
        memchr(out->value, '\0', out->value_len) != NULL) {
        return "there has to be one address or range, as in 192.0.2.7 or 2001:db8::/32";
    }
    memcpy(text, out->value, out->value_len);
    text[out->value_len] = '\0';
    const char *const wrong = address_ranges_parse(&ranges, text);
    if (wrong != NULL) {
        return wrong;
    }
    if (ranges.count != 1) {
        return "there has to be one address or range, as in 192.0.2.7 or 2001:db8::/32";
    }
    out->range = ranges.all[0];
    out->value_len = 0;
    return NULL;
}

static const char *judge(struct ban *out)
{
    if (out->kind == BAN_ADDRESS) {
        return judge_address(out);
    }
    if (out->value_len == 0) {
        return "the value is empty";
    }
    return utf8_valid(bytes_of(out->value, out->value_len))
               ? NULL
               : "the value is no text that a client could send: it is not UTF-8, or has a NUL";
}

static bool kind_of(struct bytes word, enum ban_kind *kind)
{
    for (unsigned i = 0; i < KINDS; i++) {
        if (bytes_equal(word, bytes_text(kinds[i]))) {
            *kind = (enum ban_kind)i;
            return true;
        }
    }
    return false;
}

static const char wrong_kind[] = "a ban is of a client, a user, or an address: the line has to "
                                 "begin with one of these words";

const char *ban_make(struct ban *out, struct bytes kind, struct bytes value)
{
    *out = (struct ban){.until_s = BAN_FOREVER};
    if (!kind_of(kind, &out->kind)) {
        return wrong_kind;
    }
    if (value.len > BAN_VALUE_BYTES_MAX) {
        return "the value is longer than 1024 bytes";
    }
    if (value.len > 0) {
        memcpy(out->value, value.at, value.len);
    }
    out->value_len = (uint16_t)value.len;
    return judge(out);
}

bool ban_is_same(const struct ban *a, const struct ban *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    return a->kind == BAN_ADDRESS
               ? a->range.bits == b->range.bits &&
                     memcmp(&a->range.address, &b->range.address, sizeof a->range.address) == 0
               : bytes_equal(bytes_of(a->value, a->value_len), bytes_of(b->value, b->value_len));
}

/* ---- times */

static bool number_of(struct bytes text, size_t at, size_t len, int low, int high, int *out)
{
    int sum = 0;
    for (size_t i = at; i < at + len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        sum = sum * 10 + (text.at[i] - '0');
    }
    *out = sum;
    return sum >= low && sum <= high;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

bool ban_time_parse(int64_t *out_s, struct bytes text)
{
    static const char form[] = "0000-00-00T00:00:00Z";
    if (text.len != sizeof form - 1) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (form[i] != '0' && text.at[i] != (uint8_t)form[i]) {
            return false;
        }
    }
    struct tm t = {0};
    int year, month;
    if (!number_of(text, 0, 4, 1970, 9999, &year) || !number_of(text, 5, 2, 1, 12, &month) ||
        !number_of(text, 8, 2, 1, days_of(year, month), &t.tm_mday) ||
        !number_of(text, 11, 2, 0, 23, &t.tm_hour) || !number_of(text, 14, 2, 0, 59, &t.tm_min) ||
        !number_of(text, 17, 2, 0, 59, &t.tm_sec)) {
        return false;
    }
    t.tm_year = year - 1900;
    t.tm_mon = month - 1;
    *out_s = timegm(&t);
    return true;
}

/* ---- a line */

static bool skip_word(struct bytes *rest, const char *word)
{
    struct bytes behind = *rest;
    if (!bytes_equal(take_word(&behind), bytes_text(word))) {
        return false;
    }
    *rest = behind;
    return true;
}

const char *ban_parse(struct ban *out, struct bytes text)
{
    struct ban ban = {.until_s = BAN_FOREVER};
    struct bytes rest = text;
    if (text.len > BAN_LINE_BYTES_MAX) {
        return "the line is longer than 8192 bytes";
    }
    if (!kind_of(take_word(&rest), &ban.kind)) {
        return wrong_kind;
    }
    const char *wrong = take_value(&ban, &rest);
    if (wrong == NULL) {
        wrong = judge(&ban);
    }
    if (wrong != NULL) {
        return wrong;
    }
    if (skip_word(&rest, "until") && !ban_time_parse(&ban.until_s, take_word(&rest))) {
        return "behind until there has to be a time of UTC, as in 2026-12-31T23:59:59Z";
    }
    if (skip_word(&rest, "because")) {
        ban.because = trimmed(rest);
        rest.len = 0;
        if (ban.because.len > BAN_TEXT_BYTES_MAX) {
            return "the text behind because is longer than 1024 bytes";
        }
    }
    if (trimmed_front(rest).len > 0) {
        return "behind the value there may be only until TIME and because TEXT; a value with a "
               "blank in it goes in quotes";
    }
    *out = ban;
    return NULL;
}

/* ---- printing */

struct printer {
    char *at;
    size_t len;
};

static void put(struct printer *p, const void *text, size_t len)
{
    assert(len < BAN_LINE_BYTES_MAX - p->len); /* the bounds of the parts add up to less */
    memcpy(p->at + p->len, text, len);
    p->len += len;
}

static void put_text(struct printer *p, const char *text)
{
    put(p, text, strlen(text));
}

static bool is_control(uint8_t c)
{
    return c < 0x20 || c == 0x7f;
}

static bool is_plain(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        const uint8_t c = value.at[i];
        if (is_blank(c) || is_control(c) || (c == '"' && i == 0)) {
            return false;
        }
    }
    return true;
}

static void put_name(struct printer *p, struct bytes value)
{
    if (is_plain(value)) {
        put(p, value.at, value.len);
        return;
    }
    put_text(p, "\"");
    for (size_t i = 0; i < value.len; i++) {
        const uint8_t c = value.at[i];
        char escaped[8];
        if (is_control(c)) {
            snprintf(escaped, sizeof escaped, "\\x%02x", c);
            put_text(p, escaped);
        } else {
            put(p, "\\", c == '"' || c == '\\');
            put(p, &c, 1);
        }
    }
    put_text(p, "\"");
}

static void put_range(struct printer *p, const struct address_range *range)
{
    char host[INET6_ADDRSTRLEN], text[ADDRESS_TEXT];
    const bool v4 = IN6_IS_ADDR_V4MAPPED(&range->address) && range->bits >= MAPPED_BITS;
    const unsigned all = v4 ? 32 : 128, bits = range->bits - (v4 ? MAPPED_BITS : 0);
    inet_ntop(v4 ? AF_INET : AF_INET6,
              v4 ? (const void *)&range->address.s6_addr[12] : &range->address, host, sizeof host);
    if (bits == all) {
        put_text(p, host);
    } else {
        snprintf(text, sizeof text, "%s/%u", host, bits);
        put_text(p, text);
    }
}

static void put_time(struct printer *p, int64_t time_s)
{
    char text[TIME_TEXT];
    struct tm t;
    const time_t s = (time_t)time_s;
    gmtime_r(&s, &t);
    put(p, text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &t));
}

size_t ban_print(const struct ban *ban, char text[BAN_LINE_BYTES_MAX])
{
    struct printer p = {.at = text};
    put_text(&p, kinds[ban->kind]);
    put_text(&p, " ");
    if (ban->kind == BAN_ADDRESS) {
        put_range(&p, &ban->range);
    } else {
        put_name(&p, bytes_of(ban->value, ban->value_len));
    }
    if (ban->until_s != BAN_FOREVER) {
        put_text(&p, " until ");
        put_time(&p, ban->until_s);
    }
    if (ban->because.len > 0) {
        put_text(&p, " because ");
        put(&p, ban->because.at, ban->because.len);
    }
    text[p.len] = '\0';
    return p.len;
}
