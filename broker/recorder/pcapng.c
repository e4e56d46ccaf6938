/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/pcapng.h"

#include <assert.h>
#include <string.h>

enum block {
    BLOCK_SECTION = 0x0A0D0D0A,
    BLOCK_INTERFACE = 1,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6
};
enum option {
    OPTION_END = 0,
    OPTION_COMMENT = 1,
    OPTION_NAME = 2,
    OPTION_PROGRAM = 4,
    OPTION_RESOLUTION = 9
};

#define MAGIC            0x1A2B3C4Du
#define LINKTYPE_UPPER   252u /* LINKTYPE_WIRESHARK_UPPER_PDU */
#define MILLISECONDS     3u   /* 10 to the power of minus that */
#define OPTION_BYTES_MAX PCAPNG_TEXT_MAX

/* Of an exported PDU (Wireshark's epan/exported_pdu.h), big-endian. */
enum tag {
    TAG_END = 0,
    TAG_DISSECTOR = 12,
    TAG_IPV4_FROM = 20,
    TAG_IPV4_TO = 21,
    TAG_IPV6_FROM = 22,
    TAG_IPV6_TO = 23,
    TAG_PORT_TYPE = 24,
    TAG_PORT_FROM = 25,
    TAG_PORT_TO = 26,
};
#define PORT_TYPE_TCP 2u

struct writer {
    uint8_t *at;
    size_t len;
};

static void put(struct writer *w, const void *bytes, size_t len)
{
    assert(len <= PCAPNG_BLOCK_BYTES - w->len);
    if (len > 0) {
        memcpy(w->at + w->len, bytes, len);
        w->len += len;
    }
}

static void put_16(struct writer *w, uint32_t value)
{
    const uint16_t v = (uint16_t)value;
    put(w, &v, sizeof v);
}

static void put_32(struct writer *w, uint32_t value)
{
    put(w, &value, sizeof value);
}

static void pad(struct writer *w)
{
    static const uint8_t zeros[4];
    put(w, zeros, (4 - w->len % 4) % 4);
}

static struct writer begin(uint8_t *out, enum block type)
{
    struct writer w;
    w.at = out;
    w.len = 0;
    put_32(&w, (uint32_t)type);
    put_32(&w, 0); /* the size, which is known at the end */
    return w;
}

static size_t end(struct writer *w)
{
    const uint32_t size = (uint32_t)w->len + 4;
    memcpy(w->at + 4, &size, sizeof size);
    put_32(w, size);
    return w->len;
}

static void put_option(struct writer *w, enum option code, const void *value, size_t len)
{
    const size_t some = len < OPTION_BYTES_MAX ? len : OPTION_BYTES_MAX;
    put_16(w, (uint32_t)code);
    put_16(w, (uint32_t)some);
    put(w, value, some);
    pad(w);
}

size_t pcapng_section(uint8_t out[PCAPNG_BLOCK_BYTES], const char *program)
{
    struct writer w = begin(out, BLOCK_SECTION);
    put_32(&w, MAGIC);
    put_16(&w, 1); /* version 1.0 */
    put_16(&w, 0);
    put_32(&w, UINT32_MAX); /* how long it is: not said */
    put_32(&w, UINT32_MAX);
    put_option(&w, OPTION_PROGRAM, program, strlen(program));
    put_option(&w, OPTION_END, NULL, 0);
    return end(&w);
}

size_t pcapng_interface(uint8_t out[PCAPNG_BLOCK_BYTES], const char *name)
{
    const uint8_t resolution = MILLISECONDS;
    struct writer w = begin(out, BLOCK_INTERFACE);
    put_16(&w, LINKTYPE_UPPER);
    put_16(&w, 0);
    put_32(&w, 0); /* packets are cut at no certain length */
    put_option(&w, OPTION_NAME, name, strlen(name));
    put_option(&w, OPTION_RESOLUTION, &resolution, 1);
    put_option(&w, OPTION_END, NULL, 0);
    return end(&w);
}

static void put_time(struct writer *w, int64_t at_ms)
{
    put_32(w, (uint32_t)((uint64_t)at_ms >> 32));
    put_32(w, (uint32_t)at_ms);
}

size_t pcapng_statistics(uint8_t out[PCAPNG_BLOCK_BYTES], unsigned interface, int64_t at_ms)
{
    struct writer w = begin(out, BLOCK_STATISTICS);
    put_32(&w, interface);
    put_time(&w, at_ms);
    return end(&w);
}

/* ---- a packet */

static void put_big(struct writer *w, uint32_t value, unsigned bytes)
{
    for (unsigned i = bytes; i > 0; i--) {
        const uint8_t byte = (uint8_t)(value >> (8 * (i - 1)));
        put(w, &byte, 1);
    }
}

static void put_tag(struct writer *w, enum tag tag, const void *value, size_t len)
{
    put_big(w, (uint32_t)tag, 2);
    put_big(w, (uint32_t)((len + 3) / 4 * 4), 2);
    put(w, value, len);
    pad(w);
}

static void put_number_tag(struct writer *w, enum tag tag, uint32_t value)
{
    put_big(w, (uint32_t)tag, 2);
    put_big(w, 4, 2);
    put_big(w, value, 4);
}

static void put_end(struct writer *w, const struct pcapng_end *e, enum tag ipv4, enum tag ipv6,
                    enum tag port)
{
    if (IN6_IS_ADDR_V4MAPPED(&e->address)) {
        put_tag(w, ipv4, &e->address.s6_addr[12], 4);
    } else {
        put_tag(w, ipv6, &e->address, sizeof e->address);
    }
    put_number_tag(w, port, e->port);
}

size_t pcapng_packet(uint8_t out[PCAPNG_BLOCK_BYTES], const struct pcapng_packet *packet)
{
    const char *const dissector = packet->is_mqtt ? "mqtt" : "syslog";
    const size_t text_len = packet->text.len < PCAPNG_TEXT_MAX ? packet->text.len : PCAPNG_TEXT_MAX;
    struct writer w = begin(out, BLOCK_PACKET);
    put_32(&w, packet->interface);
    put_time(&w, packet->at_ms);
    const size_t lengths = w.len;
    put_32(&w, 0);
    put_32(&w, 0);
    const size_t begin_of_data = w.len;
    put_tag(&w, TAG_DISSECTOR, dissector, strlen(dissector));
    put_end(&w, &packet->from, TAG_IPV4_FROM, TAG_IPV6_FROM, TAG_PORT_FROM);
    put_end(&w, &packet->to, TAG_IPV4_TO, TAG_IPV6_TO, TAG_PORT_TO);
    put_number_tag(&w, TAG_PORT_TYPE, PORT_TYPE_TCP);
    put_tag(&w, TAG_END, NULL, 0);
    const size_t tags_len = w.len - begin_of_data;
    put(&w, packet->text.at, text_len);
    const uint32_t there = (uint32_t)(tags_len + text_len);
    const uint32_t was =
        (uint32_t)(tags_len + (packet->length > text_len ? packet->length : text_len));
    memcpy(w.at + lengths, &there, sizeof there);
    memcpy(w.at + lengths + 4, &was, sizeof was);
    pad(&w);
    if (!packet->is_mqtt) {
        put_option(&w, OPTION_COMMENT, packet->text.at, text_len);
        put_option(&w, OPTION_END, NULL, 0);
    }
    return end(&w);
}
