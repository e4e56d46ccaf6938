/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/trace_errand.h"

#include <stdlib.h>

#include "broker/recorder/trace.h"
#include "broker/shard/shard.h"
#include "cluster/table.h"

static struct trace_errand *errand_of(struct errand *e)
{
    return table_object(e, struct trace_errand, errand);
}

static void destroy(struct errand *e)
{
    trace_put(errand_of(e)->trace);
    free(errand_of(e));
}

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct trace_errand *const te = errand_of(e);
    ASSERT_OWNED(s);
    if (te->begins) {
        te->done = tracing_begin(&s->recorder, s->id, te->trace);
    } else {
        tracing_end(&s->recorder, te->trace);
        te->done = true;
    }
    return ERRAND_DONE;
}

struct trace_errand *trace_errand_create(struct trace *t, bool begins)
{
    struct trace_errand *const te = calloc(1, sizeof *te);
    if (te != NULL) {
        te->errand = (struct errand){.run = run, .destroy = destroy};
        te->trace = t;
        te->begins = begins;
        trace_take(t);
    }
    return te;
}
