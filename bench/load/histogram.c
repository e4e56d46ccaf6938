/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/histogram.h"

#include <assert.h>
#include <math.h>

#define LINEAR    (1u << HISTOGRAM_LINEAR_BITS)
#define VALUE_MAX ((UINT64_C(1) << HISTOGRAM_VALUE_BITS) - 1)

/* Below LINEAR a bucket each; then LINEAR of them for each power of two. */
static unsigned bucket_of(uint64_t value)
{
    if (value < LINEAR) {
        return (unsigned)value;
    }
    if (value > VALUE_MAX) {
        value = VALUE_MAX;
    }
    const unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_LINEAR_BITS;
    return ((shift + 1u) << HISTOGRAM_LINEAR_BITS) + (unsigned)(value >> shift) % LINEAR;
}

/* The largest value of a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < LINEAR) {
        return bucket;
    }
    const unsigned shift = (bucket >> HISTOGRAM_LINEAR_BITS) - 1u;
    return (((uint64_t)LINEAR + bucket % LINEAR + 1u) << shift) - 1u;
}

void histogram_init(struct histogram *h)
{
    *h = (struct histogram){.least = UINT64_MAX};
}

void histogram_add(struct histogram *h, uint64_t value)
{
    h->count++;
    h->sum += value;
    h->least = value < h->least ? value : h->least;
    h->most = value > h->most ? value : h->most;
    h->buckets[bucket_of(value)]++;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    into->sum += from->sum;
    into->least = from->least < into->least ? from->least : into->least;
    into->most = from->most > into->most ? from->most : into->most;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        into->buckets[i] += from->buckets[i];
    }
}

uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    assert(percent >= 0 && percent <= 100);

    if (h->count == 0) {
        return 0;
    }
    uint64_t wanted = (uint64_t)ceil((double)h->count * percent / 100);
    wanted = wanted < 1 ? 1 : wanted > h->count ? h->count : wanted;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted && i < HISTOGRAM_BUCKETS - 1u) {
            return bucket_end(i) < h->most ? bucket_end(i) : h->most;
        }
    }
    return h->most;
}

double histogram_mean(const struct histogram *h)
{
    return h->count == 0 ? 0 : (double)h->sum / (double)h->count;
}
