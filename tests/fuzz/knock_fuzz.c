/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knock_fuzz: nobody gets through who has not got the key, whatever is said, in whatever parts.
 *
 * Input: one byte of choice (role, and the size of parts), then what the other end says. The key is
 * the input's own: the fuzzer remembers bytes that it saw compared, and gives them to a later run.
 */
#include <string.h>

#include <xxhash.h>

#include "cluster/knock.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    const struct identity self = {.cluster = {{7}}, .node = {{1}}, .generation = 1};
    const uint64_t hash = XXH3_64bits(data, size);
    struct seal_key key = {{0}};
    uint8_t random[KNOCK_RANDOM_BYTES] = {0};
    memcpy(key.bytes, &hash, sizeof hash);
    memcpy(random, &hash, sizeof hash);
    struct knock k;
    struct knock_out out;
    const bool dials = (data[0] & 1) != 0;
    FUZZ_EXPECT(dials ? knock_dial(&k, &self, (struct node_uuid){{2}}, &key, 1, random, &out)
                      : knock_accept(&k, &self, &key, 1, random));
    const size_t step = 1 + (data[0] >> 1);
    enum knock_state state = KNOCK_NEED_MORE;
    size_t from = 1, to = 1;
    while (state == KNOCK_NEED_MORE && to < size) {
        size_t used = 0;
        to = size - to > step ? to + step : size;
        uint8_t *const in = malloc(to - from + 1); /* its end is the allocator's to guard */
        FUZZ_EXPECT(in != NULL);
        memcpy(in, data + from, to - from);
        state = knock_take(&k, bytes_of(in, to - from), &used, &out);
        free(in);
        FUZZ_EXPECT(used <= to - from && out.len <= KNOCK_BYTES_MAX);
        from += used;
    }
    FUZZ_EXPECT(state != KNOCK_DONE);
    knock_end(&k);
    return 0;
}
