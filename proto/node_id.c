/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/node_id.h"

#include <arpa/inet.h>
#include <stdio.h>

static void as_version_4(uint8_t out[UUID_BYTES], const uint8_t random[UUID_BYTES])
{
    memcpy(out, random, UUID_BYTES);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

struct node_uuid node_uuid_of_random(const uint8_t random[UUID_BYTES])
{
    struct node_uuid uuid;
    as_version_4(uuid.bytes, random);
    return uuid;
}

struct cluster_uuid cluster_uuid_of_random(const uint8_t random[UUID_BYTES])
{
    struct cluster_uuid uuid;
    as_version_4(uuid.bytes, random);
    return uuid;
}

/* Whether a hyphen stands before that byte. */
static bool follows_hyphen(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_print(char out[UUID_TEXT_BYTES], const uint8_t uuid[UUID_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (follows_hyphen(i)) {
            *out++ = '-';
        }
        *out++ = digits[uuid[i] >> 4];
        *out++ = digits[uuid[i] & 0xf];
    }
    *out = '\0';
}

/* 0..15; 16: it is no digit. */
static uint8_t digit_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return (uint8_t)(c - '0');
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10) : 16;
}

bool uuid_parse(uint8_t out[UUID_BYTES], struct bytes text)
{
    if (text.len != UUID_TEXT_BYTES - 1) {
        return false;
    }
    uint8_t uuid[UUID_BYTES];
    const uint8_t *at = text.at;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (follows_hyphen(i) && *at++ != '-') {
            return false;
        }
        const uint8_t high = digit_value(at[0]), low = digit_value(at[1]);
        if (high > 15 || low > 15) {
            return false;
        }
        uuid[i] = (uint8_t)(high << 4 | low);
        at += 2;
    }
    memcpy(out, uuid, UUID_BYTES);
    return true;
}

void node_address_print(char out[ADDRESS_TEXT_BYTES], const struct node_address *address)
{
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    char ip[INET6_ADDRSTRLEN];
    const bool is_v4 = memcmp(address->ip, v4, sizeof v4) == 0;
    inet_ntop(is_v4 ? AF_INET : AF_INET6, address->ip + (is_v4 ? sizeof v4 : 0), ip, sizeof ip);
    snprintf(out, ADDRESS_TEXT_BYTES, is_v4 ? "%s:%u" : "[%s]:%u", ip, address->port);
}

bool node_name_is_valid(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++) {
        const uint8_t c = name.at[i];
        const uint8_t lower = c | 0x20;
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' &&
            c != '.') {
            return false;
        }
    }
    return name.len > 0 && name.len <= NODE_NAME_MAX;
}
