/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/histogram.h"

#include <assert.h>

static const struct {
    const char *family, *labels, *text;
} rows[HISTOGRAMS] = {
#define HISTOGRAM(name, family, labels, what) [HISTOGRAM_##name] = {#family, labels, what},
#include "broker/tbl/histogram.h"
};

void histogram_read(const struct histograms *h, enum histogram which, struct histogram_sum *sum)
{
    const struct durations *const d = &h->of[which];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum->count[i] += atomic_load_explicit(&d->count[i], memory_order_relaxed);
    }
    sum->sum_us += atomic_load_explicit(&d->sum_us, memory_order_relaxed);
}

const char *histogram_family(enum histogram which)
{
    assert(which < HISTOGRAMS);
    return rows[which].family;
}

const char *histogram_labels(enum histogram which)
{
    assert(which < HISTOGRAMS);
    return rows[which].labels;
}

const char *histogram_text(enum histogram which)
{
    assert(which < HISTOGRAMS);
    return rows[which].text;
}
