/* SPDX-License-Identifier: Apache-2.0 */
/* certificate_names_fuzz: the names of a client's certificate, of any bytes. */
#include <stdlib.h>
#include <string.h>

#include "proto/certificate_names.h"
#include "proto/utf8.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct certificate_names names;
    uint8_t *const exact = malloc(size == 0 ? 1 : size); /* so that a read beyond shows */
    if (exact == NULL) {
        abort();
    }
    if (size > 0) {
        memcpy(exact, data, size);
    }
    if (certificate_names_decode(&names, bytes_of(exact, size))) {
        for (unsigned kind = 0; kind < CERTIFICATE_NAMES; kind++) {
            const struct bytes name = names.name[kind];
            if (name.len > 0) {
                FUZZ_EXPECT(name.at > exact && name.at + name.len <= exact + size);
                FUZZ_EXPECT(name.len <= CERTIFICATE_NAME_BYTES_MAX && utf8_valid(name));
                FUZZ_EXPECT(memchr(name.at, '\0', name.len) == NULL);
                FUZZ_EXPECT(kind > CERTIFICATE_DNS || memchr(name.at, '*', name.len) == NULL);
            }
        }
    }
    free(exact);
    return 0;
}
