/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#include "proto/cursor.h"

/* ---- version 1: "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n" */

#define TEXT_BYTES_MAX 107u /* with its CRLF */
#define TEXT_PREFIX    "PROXY "

static bool is_prefix(const uint8_t *in, size_t in_len, const void *whole, size_t whole_len)
{
    return memcmp(in, whole, in_len < whole_len ? in_len : whole_len) == 0;
}

/* Moves past one word and the single space behind it, or the end. */
static bool take_word(struct cursor *line, char *word, size_t size)
{
    const uint8_t *const space = memchr(line->at, ' ', cursor_left(line));
    const size_t len = (size_t)((space == NULL ? line->end : space) - line->at);
    if (len == 0 || len >= size) {
        return false;
    }
    memcpy(word, line->at, len);
    word[len] = '\0';
    line->at += len + (space != NULL);
    return strlen(word) == len; /* no NUL in it */
}

static bool take_address(struct cursor *line, enum proxy_family family, struct in6_addr *address)
{
    char text[INET6_ADDRSTRLEN];
    if (!take_word(line, text, sizeof text)) {
        return false;
    }
    if (family == PROXY_FAMILY_IPV6) {
        return inet_pton(AF_INET6, text, address) == 1;
    }
    *address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    return inet_pton(AF_INET, text, &address->s6_addr[12]) == 1;
}

static bool take_port(struct cursor *line, uint16_t *port)
{
    char text[6];
    unsigned sum = 0;
    if (!take_word(line, text, sizeof text) || (text[0] == '0' && text[1] != '\0')) {
        return false;
    }
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9') {
            return false;
        }
        sum = sum * 10 + (unsigned)(*at - '0');
    }
    *port = (uint16_t)sum;
    return sum <= UINT16_MAX;
}

static bool read_text(struct proxy_header *h, struct cursor line)
{
    char family[8];
    const bool ends_with_space = line.end > line.at && line.end[-1] == ' ';
    if (!take_word(&line, family, sizeof family)) {
        return false;
    }
    if (strcmp(family, "UNKNOWN") == 0) {
        return true; /* whatever else is in the line */
    }
    h->family = strcmp(family, "TCP4") == 0   ? PROXY_FAMILY_IPV4
                : strcmp(family, "TCP6") == 0 ? PROXY_FAMILY_IPV6
                                              : PROXY_FAMILY_NONE;
    return h->family != PROXY_FAMILY_NONE && !ends_with_space &&
           take_address(&line, h->family, &h->source.address) &&
           take_address(&line, h->family, &h->destination.address) &&
           take_port(&line, &h->source.port) && take_port(&line, &h->destination.port) &&
           cursor_left(&line) == 0;
}

static enum proxy_header_err decode_text(struct proxy_header *header, const uint8_t *in,
                                         size_t in_len, size_t *used)
{
    const size_t prefix_len = sizeof TEXT_PREFIX - 1;
    const size_t looked_at = in_len < TEXT_BYTES_MAX ? in_len : TEXT_BYTES_MAX;
    const uint8_t *const newline = memchr(in, '\n', looked_at);
    if (newline == NULL) {
        *used = in_len < prefix_len ? prefix_len : in_len + 1;
        return in_len < TEXT_BYTES_MAX ? PROXY_HEADER_NEED_MORE : PROXY_HEADER_MALFORMED;
    }
    struct proxy_header h = {.local = false};
    const size_t len = (size_t)(newline - in);
    if (len <= prefix_len || in[len - 1] != '\r' ||
        !read_text(&h, (struct cursor){.at = in + prefix_len, .end = in + len - 1})) {
        return PROXY_HEADER_MALFORMED;
    }
    *header = h;
    *used = len + 1;
    return PROXY_HEADER_OK;
}

/* ---- version 2 */

static const uint8_t signature[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                    '\n', 'Q',  'U',  'I',  'T', '\n'};

#define FIXED_BYTES (sizeof signature + 4u)

#define COMMAND_LOCAL 0x0u
#define COMMAND_PROXY 0x1u

#define TYPE_ALPN        0x01u
#define TYPE_AUTHORITY   0x02u
#define TYPE_CRC32C      0x03u
#define TYPE_SSL         0x20u
#define TYPE_SSL_VERSION 0x21u
#define TYPE_SSL_CN      0x22u

#define SSL_USED                0x01u
#define SSL_CERTIFICATE         0x02u
#define SSL_CERTIFICATE_EARLIER 0x04u

/* What a header of version 2 is read with. */
struct binary {
    struct proxy_header *header;
    struct bytes whole;
};

/* CRC-32C (RFC 3720, appendix B.4) bit by bit: a header is small, and most have none. */
static uint32_t crc32c(uint32_t crc, const uint8_t *at, size_t len)
{
    for (; len > 0; at++, len--) {
        crc ^= *at;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
        }
    }
    return crc;
}

/* Of the whole header, with zeros where the sum stands. */
static bool crc_is_right(struct bytes whole, struct bytes sum)
{
    static const uint8_t zeros[4];
    struct cursor c = {.at = sum.at, .end = sum.at + sum.len};
    uint32_t told;
    if (sum.len != sizeof zeros || !cursor_u32(&c, &told)) {
        return false;
    }
    uint32_t crc = crc32c(UINT32_MAX, whole.at, (size_t)(sum.at - whole.at));
    crc = crc32c(crc, zeros, sizeof zeros);
    crc = crc32c(crc, sum.at + 4, (size_t)(whole.at + whole.len - sum.at - 4));
    return ~crc == told;
}

static bool take_tlv(struct cursor *c, uint8_t *type, struct bytes *value)
{
    return cursor_u8(c, type) && cursor_binary(c, value);
}

static bool read_tls(struct proxy_tls *tls, struct bytes value)
{
    struct cursor c = {.at = value.at, .end = value.at + value.len};
    uint8_t flags, type;
    uint32_t verify;
    struct bytes inner;
    if (!cursor_u8(&c, &flags) || !cursor_u32(&c, &verify)) {
        return false;
    }
    tls->used = (flags & SSL_USED) != 0;
    tls->certificate = (flags & SSL_CERTIFICATE) != 0;
    tls->certificate_earlier = (flags & SSL_CERTIFICATE_EARLIER) != 0;
    tls->verified = (tls->certificate || tls->certificate_earlier) && verify == 0;
    while (cursor_left(&c) > 0) {
        if (!take_tlv(&c, &type, &inner)) {
            return false;
        }
        if (type == TYPE_SSL_VERSION) {
            tls->version = inner;
        } else if (type == TYPE_SSL_CN) {
            tls->common_name = inner;
        }
    }
    return true;
}

/* Of two of one type the later counts. */
static bool read_tlvs(const struct binary *b, struct cursor c)
{
    uint8_t type;
    struct bytes value;
    while (cursor_left(&c) > 0) {
        if (!take_tlv(&c, &type, &value)) {
            return false;
        }
        switch (type) {
        case TYPE_ALPN:
            b->header->alpn = value;
            break;
        case TYPE_AUTHORITY:
            b->header->server_name = value;
            break;
        case TYPE_CRC32C:
            if (!crc_is_right(b->whole, value)) {
                return false;
            }
            break;
        case TYPE_SSL:
            b->header->tls = (struct proxy_tls){.used = false};
            if (!read_tls(&b->header->tls, value)) {
                return false;
            }
            break;
        default:
            break;
        }
    }
    return true;
}

static bool take_ipv4(struct cursor *c, struct in6_addr *address)
{
    struct bytes four;
    if (!cursor_bytes(c, 4, &four)) {
        return false;
    }
    *address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&address->s6_addr[12], four.at, four.len);
    return true;
}

static bool take_ipv6(struct cursor *c, struct in6_addr *address)
{
    struct bytes sixteen;
    if (!cursor_bytes(c, sizeof *address, &sixteen)) {
        return false;
    }
    memcpy(address, sixteen.at, sizeof *address);
    return true;
}

static bool take_ports(struct cursor *c, struct proxy_header *h)
{
    return cursor_u16(c, &h->source.port) && cursor_u16(c, &h->destination.port);
}

/* The byte is a family in its upper half, and in its lower one a protocol, which says nothing to
 * us. */
static bool read_addresses(struct proxy_header *h, uint8_t family, struct cursor *c)
{
    struct bytes paths;
    switch (family >> 4) {
    case 0x0:
        return true;
    case 0x1:
        h->family = PROXY_FAMILY_IPV4;
        return take_ipv4(c, &h->source.address) && take_ipv4(c, &h->destination.address) &&
               take_ports(c, h);
    case 0x2:
        h->family = PROXY_FAMILY_IPV6;
        return take_ipv6(c, &h->source.address) && take_ipv6(c, &h->destination.address) &&
               take_ports(c, h);
    case 0x3:
        h->family = PROXY_FAMILY_UNIX;
        return cursor_bytes(c, 2 * (size_t)108, &paths);
    default:
        return false;
    }
}

static bool read_binary(struct proxy_header *header, struct bytes whole)
{
    const struct binary b = {.header = header, .whole = whole};
    struct cursor c = {.at = whole.at + FIXED_BYTES, .end = whole.at + whole.len};
    const uint8_t command = whole.at[sizeof signature] & 0x0f;
    if (command == COMMAND_LOCAL) {
        header->local = true;
        return true; /* what else is in there is to be passed over */
    }
    return command == COMMAND_PROXY && read_addresses(header, whole.at[sizeof signature + 1], &c) &&
           read_tlvs(&b, c);
}

static enum proxy_header_err decode_binary(struct proxy_header *header, const uint8_t *in,
                                           size_t in_len, size_t *used)
{
    if (in_len > sizeof signature && in[sizeof signature] >> 4 != 2) {
        return PROXY_HEADER_MALFORMED;
    }
    if (in_len < FIXED_BYTES) {
        *used = FIXED_BYTES;
        return PROXY_HEADER_NEED_MORE;
    }
    const size_t len = FIXED_BYTES + ((size_t)in[FIXED_BYTES - 2] << 8 | in[FIXED_BYTES - 1]);
    if (len > PROXY_HEADER_BYTES_MAX) {
        return PROXY_HEADER_MALFORMED;
    }
    *used = len;
    if (in_len < len) {
        return PROXY_HEADER_NEED_MORE;
    }
    struct proxy_header h = {.local = false};
    if (!read_binary(&h, bytes_of(in, len))) {
        return PROXY_HEADER_MALFORMED;
    }
    *header = h;
    return PROXY_HEADER_OK;
}

enum proxy_header_err proxy_header_decode(struct proxy_header *header, const uint8_t *in,
                                          size_t in_len, size_t *used)
{
    if (in_len == 0) {
        *used = 1;
        return PROXY_HEADER_NEED_MORE;
    }
    if (is_prefix(in, in_len, TEXT_PREFIX, sizeof TEXT_PREFIX - 1)) {
        return decode_text(header, in, in_len, used);
    }
    if (is_prefix(in, in_len, signature, sizeof signature)) {
        return decode_binary(header, in, in_len, used);
    }
    return PROXY_HEADER_MALFORMED;
}
