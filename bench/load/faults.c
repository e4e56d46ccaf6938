/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/faults.h"

#include "bench/load/options.h"

static void count_track(const struct run *r, const struct track *t, struct faults *f)
{
    for (uint32_t i = 0; i < t->count; i++) {
        const struct sequence *const s = &t->sequences[i];
        const uint64_t sent = t->from_first_seen
                                  ? s->next
                                  : atomic_load_explicit(&r->plan.publishers[t->first + i].sent,
                                                         memory_order_relaxed);
        f->expected += sent;
        f->lost += sent > s->seen ? sent - s->seen : 0;
        f->duplicates += s->duplicates;
        f->disordered += t->any_order ? 0 : s->late;
    }
}

/* QoS 0 may lose, QoS 1 may repeat; none may change the order (4.6). */
static bool is_broken(const struct run *r, const struct faults *f)
{
    const uint64_t qos = r->options->qos;
    const bool lost = f->lost > 0 && (qos > 0 || r->options->strict);
    const bool repeated = f->duplicates > 0 && (qos != 1 || r->options->strict);
    return lost || repeated || f->disordered > 0;
}

struct faults faults_count(const struct run *r)
{
    struct faults f = {0};
    for (uint32_t i = 0; i < r->plan.track_count; i++) {
        count_track(r, &r->plan.tracks[i], &f);
    }
    f.broken_promise = is_broken(r, &f);
    return f;
}
