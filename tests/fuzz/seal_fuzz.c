/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seal_fuzz: no bytes open but those that were sealed, whole, once, in the right cluster.
 *
 * Input: one byte of choice, then bytes. As they are they open nowhere. A message made of them is
 * sealed, and opens, once; and with the bytes laid over it at the place of choice it opens only if
 * that changed nothing. The key is the input's own: the fuzzer remembers sealed bytes that it saw
 * compared, and gives them to a later run.
 */
#include <string.h>

#include <xxhash.h>

#include "cluster/seal.h"
#include "tests/fuzz/fuzz.h"

#define MESSAGE_MAX 256u

static struct seal_key key_of(const uint8_t *data, size_t size)
{
    const uint64_t hash = XXH3_64bits(data, size);
    struct seal_key key = {{0}};
    memcpy(key.bytes, &hash, sizeof hash);
    return key;
}

static struct seal *create(const struct seal_key *key, uint8_t node, uint8_t cluster)
{
    const struct seal_conf conf = {
        .identity = {.cluster = {{cluster}}, .node = {{node}}, .generation = 1}, .senders_max = 8};
    struct seal *s = seal_create(&conf);
    FUZZ_EXPECT(s != NULL);
    seal_set_keys(s, key, 1);
    return s;
}

static enum seal_err open_it(struct seal *s, struct bytes sealed, struct bytes message)
{
    struct seal_sender sender;
    size_t len = 0;
    uint8_t *out = malloc(sealed.len + 1);
    FUZZ_EXPECT(out != NULL);
    const enum seal_err err = seal_open(s, out, &len, &sender, sealed);
    if (err == SEAL_OK) {
        FUZZ_EXPECT(bytes_equal(bytes_of(out, len), message));
        FUZZ_EXPECT(sender.node.bytes[0] == 1 && sender.generation == 1);
    }
    free(out);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    const struct seal_key key = key_of(data, size);
    struct seal *ann = create(&key, 1, 7), *bob = create(&key, 2, 7),
                *stranger = create(&key, 3, 8);
    const struct bytes input = bytes_of(data + 1, size - 1);
    const struct bytes message =
        bytes_of(input.at, input.len < MESSAGE_MAX ? input.len : MESSAGE_MAX);
    uint8_t sealed[MESSAGE_MAX + SEAL_BYTES], changed[MESSAGE_MAX + SEAL_BYTES];
    const size_t len = message.len + SEAL_BYTES;
    FUZZ_EXPECT(open_it(bob, input, message) != SEAL_OK);
    FUZZ_EXPECT(seal_make(ann, sealed, message) == SEAL_OK);
    memcpy(changed, sealed, len);
    const size_t at = data[0] % len;
    memcpy(changed + at, input.at, input.len < len - at ? input.len : len - at);
    const bool same = memcmp(changed, sealed, len) == 0;
    FUZZ_EXPECT((open_it(bob, bytes_of(changed, len), message) == SEAL_OK) == same);
    FUZZ_EXPECT(open_it(stranger, bytes_of(sealed, len), message) == SEAL_FORGED);
    FUZZ_EXPECT(open_it(bob, bytes_of(sealed, len), message) == (same ? SEAL_REPLAYED : SEAL_OK));
    FUZZ_EXPECT(open_it(bob, bytes_of(sealed, len), message) == SEAL_REPLAYED);
    seal_destroy(ann);
    seal_destroy(bob);
    seal_destroy(stranger);
    return 0;
}
