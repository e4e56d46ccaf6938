/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head is read in two goes. The first, on every call, looks for line ends up to the empty line,
 * and judges the request line when it is there. Only when the head is whole, its fields are read:
 * each line is split at its colon, and a table says by the field's name what is done with its
 * value.
 */
#include "proto/ws_handshake.h"

#include <assert.h>
#include <string.h>

#include "proto/cursor.h"

#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* [1.3] */

static const struct {
    uint16_t status;
    const char *text;
} errs[WS_HANDSHAKE_ERRS] = {
    [WS_HANDSHAKE_MALFORMED] = {WS_STATUS_BAD_REQUEST, "not a well-formed HTTP request"},
    [WS_HANDSHAKE_HTTP_VERSION] = {WS_STATUS_HTTP_VERSION, "not HTTP/1.1"},
    [WS_HANDSHAKE_METHOD] = {WS_STATUS_METHOD_NOT_ALLOWED, "not GET"},
    [WS_HANDSHAKE_TOO_LARGE] = {WS_STATUS_HEAD_TOO_LARGE, "a head of more than 8192 bytes"},
    [WS_HANDSHAKE_HOST] = {WS_STATUS_BAD_REQUEST, "not one Host field with a host"},
    [WS_HANDSHAKE_BODY] = {WS_STATUS_BAD_REQUEST, "a request with a body"},
    [WS_HANDSHAKE_NO_UPGRADE] = {WS_STATUS_BAD_REQUEST, "does not ask for a WebSocket"},
    [WS_HANDSHAKE_WS_VERSION] = {WS_STATUS_UPGRADE_REQUIRED, "not WebSocket version 13"},
    [WS_HANDSHAKE_KEY] = {WS_STATUS_BAD_REQUEST, "not one Sec-WebSocket-Key of 16 bytes"},
};

/* ---- Characters (RFC 9110, 5.6.2; RFC 3986). */

static bool alphanumeric(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool one_of(uint8_t c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

static bool token_char(uint8_t c)
{
    return alphanumeric(c) || one_of(c, "!#$%&'*+-.^_`|~");
}

static bool host_char(uint8_t c)
{
    return alphanumeric(c) || one_of(c, "-._~%!$&'()*+,;=:[]");
}

static bool target_char(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '#'; /* a fragment is never sent */
}

static bool value_char(uint8_t c)
{
    return (c >= ' ' && c != 0x7f) || c == '\t';
}

static bool base64_char(uint8_t c)
{
    return alphanumeric(c) || c == '+' || c == '/';
}

static bool all(struct bytes text, bool (*is_fair)(uint8_t c))
{
    for (size_t i = 0; i < text.len; i++) {
        if (!is_fair(text.at[i])) {
            return false;
        }
    }
    return true;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

/* As names are compared; `name` is in lower case. */
static bool is_named(struct bytes text, const char *name)
{
    size_t i = 0;
    while (i < text.len && name[i] != '\0' && lower(text.at[i]) == (uint8_t)name[i]) {
        i++;
    }
    return i == text.len && name[i] == '\0';
}

/* ---- Pieces of a line. */

/* Moves past what comes before the first `end` and past that; false: there is none. */
static bool take_until(struct cursor *c, uint8_t end, struct bytes *out)
{
    const uint8_t *const found = memchr(c->at, end, cursor_left(c));
    if (found == NULL) {
        return false;
    }
    *out = bytes_of(c->at, (size_t)(found - c->at));
    c->at = found + 1;
    return true;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct bytes trimmed(struct bytes text)
{
    while (text.len > 0 && is_blank(text.at[0])) {
        text = bytes_of(text.at + 1, text.len - 1);
    }
    while (text.len > 0 && is_blank(text.at[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* Moves to the next element of a list with commas; empty ones are none (RFC 9110, 5.6.1). */
static bool list_next(struct cursor *list, struct bytes *element)
{
    while (cursor_left(list) > 0) {
        struct bytes raw;
        if (!take_until(list, ',', &raw)) {
            raw = cursor_rest(list);
        }
        *element = trimmed(raw);
        if (element->len > 0) {
            return true;
        }
    }
    return false;
}

static bool list_has(struct bytes value, const char *name)
{
    struct cursor list = {value.at, value.at + value.len};
    struct bytes element;
    while (list_next(&list, &element)) {
        if (is_named(element, name)) {
            return true;
        }
    }
    return false;
}

/* ---- The request line. */

/* What it says, if nothing is wrong with it. */
struct request_line {
    struct bytes path, query;
    struct bytes authority; /* of a target that begins with a scheme; else at NULL */
};

/* Passes over "http://" or "https://" and the authority, if the target has them [4.1; RFC
 * 9112, 3.2.2]. */
static bool take_authority(struct cursor *target, struct bytes *authority)
{
    if (*target->at == '/') {
        *authority = bytes_of(NULL, 0);
        return true;
    }
    struct bytes scheme, slashes;
    if (!take_until(target, ':', &scheme) || !cursor_bytes(target, 2, &slashes) ||
        !bytes_equal(slashes, bytes_text("//")) ||
        !(is_named(scheme, "http") || is_named(scheme, "https"))) {
        return false;
    }
    const uint8_t *const begin = target->at;
    while (target->at < target->end && host_char(*target->at)) {
        target->at++;
    }
    *authority = bytes_of(begin, (size_t)(target->at - begin));
    return authority->len > 0 &&
           (target->at == target->end || *target->at == '/' || *target->at == '?');
}

static bool target_read(struct request_line *line, struct bytes target)
{
    if (target.len == 0 || !all(target, target_char)) {
        return false;
    }
    struct cursor c = {target.at, target.at + target.len};
    if (!take_authority(&c, &line->authority)) {
        return false;
    }
    line->query = bytes_of(NULL, 0);
    if (take_until(&c, '?', &line->path)) {
        line->query = cursor_rest(&c);
    } else {
        line->path = cursor_rest(&c);
    }
    return true;
}

static bool digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* "HTTP/" and two digits with a point between them (RFC 9112, 2.3). */
static bool version_valid(struct bytes version)
{
    return version.len == 8 && memcmp(version.at, "HTTP/", 5) == 0 && digit(version.at[5]) &&
           version.at[6] == '.' && digit(version.at[7]);
}

/* `text` is without its CR LF. */
static enum ws_handshake_err request_line_read(struct request_line *line, struct bytes text)
{
    struct cursor c = {text.at, text.at + text.len};
    struct bytes method, target;
    if (!take_until(&c, ' ', &method) || !take_until(&c, ' ', &target)) {
        return WS_HANDSHAKE_MALFORMED;
    }
    const struct bytes version = cursor_rest(&c);
    if (!version_valid(version) || method.len == 0 || !all(method, token_char) ||
        !all(target, target_char)) {
        return WS_HANDSHAKE_MALFORMED;
    }
    if (!bytes_equal(version, bytes_text("HTTP/1.1"))) {
        return WS_HANDSHAKE_HTTP_VERSION;
    }
    if (!bytes_equal(method, bytes_text("GET"))) {
        return WS_HANDSHAKE_METHOD;
    }
    return target_read(line, target) ? WS_HANDSHAKE_OK : WS_HANDSHAKE_MALFORMED;
}

/* Of a request line that has not come to its end: can it still become one? */
static bool beginning_valid(const uint8_t *in, size_t in_len)
{
    size_t i = 0;
    while (i < in_len && i < WS_HANDSHAKE_METHOD_BYTES && token_char(in[i])) {
        i++;
    }
    return i == in_len || (i > 0 && in[i] == ' ');
}

/* ---- The header fields. */

/* What the fields have said so far. */
struct head {
    struct ws_handshake *handshake;
    uint32_t seen; /* bit i: rules[i] */
    bool is_upgrade, is_connection;
};

/* A field's value, trimmed, of fair characters. */
typedef enum ws_handshake_err field_fn(struct head *head, struct bytes value);

static enum ws_handshake_err field_host(struct head *head, struct bytes value)
{
    head->handshake->host = value;
    return value.len > 0 && all(value, host_char) ? WS_HANDSHAKE_OK : WS_HANDSHAKE_HOST;
}

static enum ws_handshake_err field_origin(struct head *head, struct bytes value)
{
    head->handshake->origin = value;
    return WS_HANDSHAKE_OK;
}

static enum ws_handshake_err field_upgrade(struct head *head, struct bytes value)
{
    head->is_upgrade = head->is_upgrade || list_has(value, "websocket");
    return WS_HANDSHAKE_OK;
}

static enum ws_handshake_err field_connection(struct head *head, struct bytes value)
{
    head->is_connection = head->is_connection || list_has(value, "upgrade");
    return WS_HANDSHAKE_OK;
}

static enum ws_handshake_err field_version(struct head *head, struct bytes value)
{
    (void)head;
    return bytes_equal(value, bytes_text("13")) ? WS_HANDSHAKE_OK : WS_HANDSHAKE_WS_VERSION;
}

/* The last character before the "==" stands for two bits of a byte and four that mean nothing. They
 * ought to be 0, but in the RFC's own example they are not ("…DQ4PEC==", [4.1]), so they may be. */
static enum ws_handshake_err field_key(struct head *head, struct bytes value)
{
    head->handshake->key = value;
    const bool fair = value.len == WS_KEY_BYTES &&
                      all(bytes_of(value.at, WS_KEY_BYTES - 2), base64_char) &&
                      memcmp(value.at + WS_KEY_BYTES - 2, "==", 2) == 0;
    return fair ? WS_HANDSHAKE_OK : WS_HANDSHAKE_KEY;
}

static enum ws_handshake_err field_protocol(struct head *head, struct bytes value)
{
    struct cursor list = {value.at, value.at + value.len};
    struct bytes element;
    while (list_next(&list, &element)) {
        if (!all(element, token_char)) {
            return WS_HANDSHAKE_MALFORMED;
        }
        if (bytes_equal(element, bytes_text("mqtt"))) {
            head->handshake->offers_mqtt = true;
        } else if (bytes_equal(element, bytes_text("mqttv3.1"))) {
            head->handshake->offers_mqttv31 = true;
        }
    }
    return WS_HANDSHAKE_OK;
}

static bool zero(uint8_t c)
{
    return c == '0';
}

static enum ws_handshake_err field_length(struct head *head, struct bytes value)
{
    (void)head;
    return value.len > 0 && all(value, zero) ? WS_HANDSHAKE_OK : WS_HANDSHAKE_BODY;
}

static enum ws_handshake_err field_encoding(struct head *head, struct bytes value)
{
    (void)head;
    (void)value;
    return WS_HANDSHAKE_BODY;
}

/* What the fields are for; all others are passed over. */
static const struct {
    const char *name; /* in lower case */
    field_fn *read;
    enum ws_handshake_err twice;  /* what is said if it occurs again; OK: it may */
    enum ws_handshake_err absent; /* what is said if it does not occur; OK: it need not */
} rules[] = {
    {"host", field_host, WS_HANDSHAKE_HOST, WS_HANDSHAKE_HOST},
    {"origin", field_origin, WS_HANDSHAKE_MALFORMED, WS_HANDSHAKE_OK},
    {"upgrade", field_upgrade, WS_HANDSHAKE_OK, WS_HANDSHAKE_NO_UPGRADE},
    {"connection", field_connection, WS_HANDSHAKE_OK, WS_HANDSHAKE_NO_UPGRADE},
    {"sec-websocket-version", field_version, WS_HANDSHAKE_MALFORMED, WS_HANDSHAKE_NO_UPGRADE},
    {"sec-websocket-key", field_key, WS_HANDSHAKE_KEY, WS_HANDSHAKE_KEY},
    {"sec-websocket-protocol", field_protocol, WS_HANDSHAKE_OK, WS_HANDSHAKE_OK},
    {"content-length", field_length, WS_HANDSHAKE_BODY, WS_HANDSHAKE_OK},
    {"transfer-encoding", field_encoding, WS_HANDSHAKE_BODY, WS_HANDSHAKE_OK},
};
#define RULES (sizeof rules / sizeof rules[0])

static enum ws_handshake_err field_read(struct head *head, struct bytes line)
{
    struct cursor c = {line.at, line.at + line.len};
    struct bytes name;
    /* A line that goes on from the one before begins with a blank, which is no token. */
    if (!take_until(&c, ':', &name) || name.len == 0 || !all(name, token_char)) {
        return WS_HANDSHAKE_MALFORMED;
    }
    const struct bytes value = trimmed(cursor_rest(&c));
    if (!all(value, value_char)) {
        return WS_HANDSHAKE_MALFORMED;
    }
    for (size_t i = 0; i < RULES; i++) {
        if (!is_named(name, rules[i].name)) {
            continue;
        }
        if ((head->seen & 1u << i) != 0 && rules[i].twice != WS_HANDSHAKE_OK) {
            return rules[i].twice;
        }
        head->seen |= 1u << i;
        return rules[i].read(head, value);
    }
    return WS_HANDSHAKE_OK;
}

static enum ws_handshake_err head_check(const struct head *head)
{
    for (size_t i = 0; i < RULES; i++) {
        if ((head->seen & 1u << i) == 0 && rules[i].absent != WS_HANDSHAKE_OK) {
            return rules[i].absent;
        }
    }
    return head->is_upgrade && head->is_connection ? WS_HANDSHAKE_OK : WS_HANDSHAKE_NO_UPGRADE;
}

/* ---- The whole. */

/* Takes a line off, without its CR LF. NEED_MORE: it has no end yet. */
static enum ws_handshake_err line_take(struct cursor *c, struct bytes *line)
{
    if (cursor_left(c) == 0 || !take_until(c, '\n', line)) {
        return WS_HANDSHAKE_NEED_MORE;
    }
    if (line->len == 0 || line->at[line->len - 1] != '\r') {
        return WS_HANDSHAKE_MALFORMED; /* a bare LF; a bare CR is no character of anything */
    }
    line->len--;
    return WS_HANDSHAKE_OK;
}

/* Moves *c past the empty line. */
static enum ws_handshake_err head_end(struct cursor *c)
{
    struct bytes line;
    enum ws_handshake_err err;
    do {
        err = line_take(c, &line);
    } while (err == WS_HANDSHAKE_OK && line.len > 0);
    return err;
}

static enum ws_handshake_err fields_read(struct ws_handshake *handshake, struct cursor fields)
{
    struct head head = {.handshake = handshake};
    struct bytes line;
    for (;;) {
        enum ws_handshake_err err = line_take(&fields, &line);
        assert(err == WS_HANDSHAKE_OK); /* head_end() has been here */
        if (line.len == 0) {
            return head_check(&head);
        }
        err = field_read(&head, line);
        if (err != WS_HANDSHAKE_OK) {
            return err;
        }
    }
}

enum ws_handshake_err ws_handshake_decode(struct ws_handshake *handshake, const uint8_t *in,
                                          size_t in_len, size_t *used)
{
    if (in_len == 0) {
        return WS_HANDSHAKE_NEED_MORE;
    }
    const bool full = in_len >= WS_HEAD_BYTES_MAX;
    struct cursor c = {in, in + (full ? WS_HEAD_BYTES_MAX : in_len)};
    if (!beginning_valid(in, cursor_left(&c))) {
        return WS_HANDSHAKE_MALFORMED;
    }
    struct bytes text;
    struct request_line line;
    enum ws_handshake_err err = line_take(&c, &text);
    if (err == WS_HANDSHAKE_OK) {
        err = request_line_read(&line, text);
    }
    const struct cursor fields = c;
    if (err == WS_HANDSHAKE_OK) {
        err = head_end(&c);
    }
    if (err != WS_HANDSHAKE_OK) {
        return err == WS_HANDSHAKE_NEED_MORE && full ? WS_HANDSHAKE_TOO_LARGE : err;
    }
    struct ws_handshake found = {.path = line.path, .query = line.query};
    err = fields_read(&found, fields);
    if (err != WS_HANDSHAKE_OK) {
        return err;
    }
    if (line.authority.at != NULL) {
        found.host = line.authority; /* then Host does not count (RFC 9112, 3.2.2) */
    }
    *handshake = found;
    *used = (size_t)(c.at - in);
    return WS_HANDSHAKE_OK;
}

enum ws_status ws_handshake_status(enum ws_handshake_err err)
{
    assert(err > WS_HANDSHAKE_NEED_MORE);
    assert(err < WS_HANDSHAKE_ERRS);

    return errs[err].status;
}

const char *ws_handshake_err_text(enum ws_handshake_err err)
{
    assert(err > WS_HANDSHAKE_NEED_MORE);
    assert(err < WS_HANDSHAKE_ERRS);

    return errs[err].text;
}

/* ---- The answers. */

void ws_handshake_accept_input(const struct ws_handshake *handshake,
                               uint8_t out[WS_ACCEPT_INPUT_BYTES])
{
    assert(handshake->key.len == WS_KEY_BYTES);

    memcpy(out, handshake->key.at, WS_KEY_BYTES);
    memcpy(out + WS_KEY_BYTES, ACCEPT_GUID, sizeof ACCEPT_GUID - 1);
}

/* All texts are ours, and there is room for each answer. */
static void add(struct ws_answer *answer, const char *text)
{
    const size_t len = strlen(text);
    assert(len <= sizeof answer->bytes - answer->len);

    memcpy(answer->bytes + answer->len, text, len);
    answer->len += len;
}

/* Three bytes are four characters; a digest's last two are three, and a "=". */
static void add_base64(struct ws_answer *answer, const uint8_t digest[WS_DIGEST_BYTES])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char out[(WS_DIGEST_BYTES + 2) / 3 * 4 + 1];
    size_t len = 0;
    for (size_t i = 0; i < WS_DIGEST_BYTES; i += 3) {
        const uint32_t third = i + 2 < WS_DIGEST_BYTES ? digest[i + 2] : 0;
        const uint32_t bits = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | third;
        out[len++] = digits[bits >> 18];
        out[len++] = digits[bits >> 12 & 63];
        out[len++] = digits[bits >> 6 & 63];
        out[len++] = i + 2 < WS_DIGEST_BYTES ? digits[bits & 63] : '=';
    }
    out[len] = '\0';
    add(answer, out);
}

void ws_handshake_answer_encode(struct ws_answer *answer, const uint8_t digest[WS_DIGEST_BYTES],
                                enum ws_subprotocol subprotocol)
{
    answer->len = 0;
    add(answer, "HTTP/1.1 101 Switching Protocols\r\n"
                "Upgrade: websocket\r\n"
                "Connection: Upgrade\r\n"
                "Sec-WebSocket-Accept: ");
    add_base64(answer, digest);
    add(answer, "\r\n");
    if (subprotocol == WS_SUBPROTOCOL_MQTT) {
        add(answer, "Sec-WebSocket-Protocol: mqtt\r\n");
    } else if (subprotocol == WS_SUBPROTOCOL_MQTTV31) {
        add(answer, "Sec-WebSocket-Protocol: mqttv3.1\r\n");
    }
    add(answer, "\r\n");
}

#define CLOSE "Connection: close\r\n"

/* The fields that HTTP demands with some statuses: RFC 9110, 15.5.6 and 15.5.22 with 7.8; [4.2.2].
 */
static const struct {
    enum ws_status status;
    const char *line;
    const char *fields;
} refusals[] = {
    {WS_STATUS_BAD_REQUEST, "400 Bad Request", CLOSE},
    {WS_STATUS_FORBIDDEN, "403 Forbidden", CLOSE},
    {WS_STATUS_NOT_FOUND, "404 Not Found", CLOSE},
    {WS_STATUS_METHOD_NOT_ALLOWED, "405 Method Not Allowed", CLOSE "Allow: GET\r\n"},
    {WS_STATUS_UPGRADE_REQUIRED, "426 Upgrade Required",
     "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
    {WS_STATUS_HEAD_TOO_LARGE, "431 Request Header Fields Too Large", CLOSE},
    {WS_STATUS_UNAVAILABLE, "503 Service Unavailable", CLOSE},
    {WS_STATUS_HTTP_VERSION, "505 HTTP Version Not Supported", CLOSE},
};

void ws_handshake_refusal_encode(struct ws_answer *answer, enum ws_status status)
{
    size_t i = 0;
    while (i < sizeof refusals / sizeof refusals[0] && refusals[i].status != status) {
        i++;
    }
    assert(i < sizeof refusals / sizeof refusals[0]); /* an enum ws_status */

    answer->len = 0;
    add(answer, "HTTP/1.1 ");
    add(answer, refusals[i].line);
    add(answer, "\r\n");
    add(answer, refusals[i].fields);
    add(answer, "Content-Length: 0\r\n\r\n");
}
