/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcapng: records as blocks of a capture file that Wireshark reads (draft-ietf-opsawg-pcapng).
 *
 *   section ─▶ interface, one for each shard ─▶ packet …
 *
 * A packet is what Wireshark calls an exported PDU: which dissector reads it, the addresses, and
 * the bytes, of which there may be fewer than there were. So the MQTT is read as MQTT by any port,
 * and as it was before TLS.
 *
 * Pure, and without a call that a signal handler may not make.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/bytes.h"

/* Enough for any block. */
#define PCAPNG_BLOCK_BYTES 1024u
/* What is above that of a text is left out. */
#define PCAPNG_TEXT_MAX 320u

struct pcapng_end {
    struct in6_addr address; /* IPv4 mapped */
    uint16_t port;
};

struct pcapng_packet {
    unsigned interface;
    int64_t at_ms; /* since 1970 */
    struct pcapng_end from, to;
    bool is_mqtt;      /* otherwise `text` is for people */
    size_t length;     /* as it was */
    struct bytes text; /* as much of it as there is; of PCAPNG_TEXT_MAX bytes at most */
};

/* Each returns the block's size. */
size_t pcapng_section(uint8_t out[PCAPNG_BLOCK_BYTES], const char *program);
size_t pcapng_interface(uint8_t out[PCAPNG_BLOCK_BYTES], const char *name);
/* Nothing has happened until then: a reader knows that more may come. */
size_t pcapng_statistics(uint8_t out[PCAPNG_BLOCK_BYTES], unsigned interface, int64_t at_ms);
size_t pcapng_packet(uint8_t out[PCAPNG_BLOCK_BYTES], const struct pcapng_packet *packet);
