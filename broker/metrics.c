/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/metrics.h"

#include <assert.h>

static const struct {
    const char *name, *text;
} rows[METRICS] = {
#define COUNTER(name, what) [METRIC_##name] = {#name, what},
#define DROP(name, what)    [METRIC_drop_##name] = {"drop_" #name, what},
#include "broker/tbl/metric.h"
};

const char *metrics_name(enum metric metric)
{
    assert(metric < METRICS);
    return rows[metric].name;
}

const char *metrics_text(enum metric metric)
{
    assert(metric < METRICS);
    return rows[metric].text;
}
