/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/config/seeds.h"

#include <string.h>

#include "broker/config/comma_list.h"
#include "broker/config/listen_url.h"
#include "proto/bytes.h"

#define FORM                                                                                       \
    "is no list of seeds, as in "                                                                  \
    "10.0.0.7:4000,dunlin.example.org:4000,srv:_dunlin._tcp.example.org"

static const char srv[] = "srv:";

/* What a resolver may be asked, or inet_pton(): nothing that could be anything else. */
static bool take_host(struct seed *seed, struct bytes host)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:";
    if (host.len == 0 || host.len >= SEED_HOST_BYTES) {
        return false;
    }
    memcpy(seed->host, host.at, host.len);
    seed->host[host.len] = '\0';
    return strspn(seed->host, plain) == host.len;
}

static bool take(struct seed *seed, struct bytes word)
{
    const size_t prefix = sizeof srv - 1;
    if (word.len > prefix && memcmp(word.at, srv, prefix) == 0) {
        seed->srv = true;
        return memchr(word.at + prefix, ':', word.len - prefix) == NULL &&
               take_host(seed, bytes_of(word.at + prefix, word.len - prefix));
    }
    const uint8_t *const colon = word.len == 0 ? NULL : memrchr(word.at, ':', word.len);
    if (colon == NULL) {
        return false;
    }
    struct bytes host = bytes_of(word.at, (size_t)(colon - word.at));
    const bool bracketed = host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';
    if (bracketed) {
        host = bytes_of(host.at + 1, host.len - 2);
    }
    const bool colons = host.len > 0 && memchr(host.at, ':', host.len) != NULL;
    return bracketed == colons && take_host(seed, host) &&
           listen_port_parse((const char *)colon + 1, (const char *)word.at + word.len,
                             &seed->port) &&
           seed->port > 0;
}

const char *seeds_parse(struct seeds *out, const char *text)
{
    struct seeds seeds = {.count = 0};
    for (struct bytes word; comma_list_next(&text, &word);) {
        if (seeds.count == SEEDS_MAX) {
            return "has more than 16 seeds";
        }
        if (!take(&seeds.at[seeds.count++], word)) {
            return FORM;
        }
    }
    *out = seeds;
    return NULL;
}
