/* SPDX-License-Identifier: Apache-2.0 */
/*
 * preamble_fuzz: what comes before everything else, of any bytes: the PROXY header and TLS' first
 * message. Both are read from growing beginnings of the input, as they arrive.
 */
#include <stdlib.h>
#include <string.h>

#include "proto/client_hello.h"
#include "proto/proxy_header.h"
#include "tests/fuzz/fuzz.h"

/* From memory that ends with the bytes, so that a read beyond shows. */
static uint8_t *copy(const uint8_t *data, size_t len)
{
    uint8_t *const exact = malloc(len == 0 ? 1 : len);
    if (exact == NULL) {
        abort();
    }
    memcpy(exact, data, len);
    return exact;
}

static bool lies_in(struct bytes part, const uint8_t *whole, size_t len)
{
    return part.len == 0 ||
           (part.at >= whole && part.len <= len && part.at <= whole + len - part.len);
}

static void proxy(const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (;;) {
        struct proxy_header h;
        size_t used = 0;
        uint8_t *const exact = copy(data, at);
        const enum proxy_header_err err = proxy_header_decode(&h, exact, at, &used);
        if (err == PROXY_HEADER_OK) {
            FUZZ_EXPECT(used == at); /* no byte behind it was asked for */
            FUZZ_EXPECT(lies_in(h.tls.version, exact, at) && lies_in(h.tls.common_name, exact, at));
            FUZZ_EXPECT(lies_in(h.server_name, exact, at) && lies_in(h.alpn, exact, at));
            struct proxy_header again;
            size_t used_again = 0;
            FUZZ_EXPECT(proxy_header_decode(&again, data, size, &used_again) == PROXY_HEADER_OK);
            FUZZ_EXPECT(used_again == used && again.family == h.family && again.local == h.local);
        }
        FUZZ_EXPECT(err != PROXY_HEADER_NEED_MORE || used > at);
        FUZZ_EXPECT(err != PROXY_HEADER_NEED_MORE || used <= PROXY_HEADER_BYTES_MAX);
        free(exact);
        if (err != PROXY_HEADER_NEED_MORE || used > size) {
            return;
        }
        at = used;
    }
}

static void hello(const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (;;) {
        struct client_hello h;
        size_t wanted = 0;
        uint8_t *const exact = copy(data, at);
        const enum client_hello_err err = client_hello_peek(&h, exact, at, &wanted);
        FUZZ_EXPECT(err != CLIENT_HELLO_OK || lies_in(h.server_name, exact, at));
        FUZZ_EXPECT(err != CLIENT_HELLO_NEED_MORE || wanted > at);
        FUZZ_EXPECT(err != CLIENT_HELLO_NEED_MORE || wanted <= CLIENT_HELLO_BYTES_MAX);
        free(exact);
        if (err != CLIENT_HELLO_NEED_MORE || wanted > size) {
            return;
        }
        at = wanted;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    proxy(data, size);
    hello(data, size);
    return 0;
}
