/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_fuzz: a whole node, and clients that do fair things in the order that the input says; the
 * promises of tests/unit/broker/crowd.h are kept.
 *
 * Input: each choice takes a byte, or two where there are more than 256 to choose from; choices
 * beyond its end are the first ones.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/broker/crowd.h"

struct input {
    struct chooser base;
    const uint8_t *at, *end;
};

static uint32_t below(struct chooser *chooser, uint32_t bound)
{
    struct input *in = (struct input *)chooser;
    uint32_t value = 0;
    for (uint32_t most = 1; most < bound && in->at < in->end; most *= 256) {
        value = value << 8 | *in->at++;
    }
    return value % bound;
}

static bool has_more(const struct chooser *chooser)
{
    const struct input *in = (const struct input *)chooser;
    return in->at < in->end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {
        .base = {.below = below, .has_more = has_more}, .at = data, .end = data + size};
    struct crowd_figures figures;
    crowd_run(&in.base, &figures);
    return 0;
}
