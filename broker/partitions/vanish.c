/* SPDX-License-Identifier: Apache-2.0 */
/* The sessions of a partition that is led elsewhere now go from memory. */
#include <stdlib.h>

#include "broker/partitions/partitions_parts.h"
#include "broker/session/session.h"
#include "broker/session/will.h"
#include "broker/store/serial.h"
#include "broker/store/store.h"
#include "proto/mqtt.h"

struct vanishing {
    unsigned partition;
    struct fifo sessions; /* struct session * */
};

static bool add(void *context, struct table_link *link)
{
    struct vanishing *const v = context;
    struct session *const session = table_object(link, struct session, by_client_id);
    if (serial_partition(session->serial) == v->partition && session->kept != NULL &&
        !fifo_push(&v->sessions, &session)) {
        store_out_of_memory();
    }
    return true;
}

/* All at once: none of them may be told anything any more. */
void partition_vanish(struct partition *p)
{
    struct shard *const s = p->shard;
    struct vanishing v = {.partition = p->number, .sessions.item = sizeof(struct session *)};
    kept_forget_gathered(s, p->number);
    will_drop(s, p->number);
    (void)table_all(&s->sessions, add, &v);
    for (struct session **session; (session = fifo_first(&v.sessions)) != NULL;) {
        struct session *const gone = *session;
        fifo_pop(&v.sessions);
        session_vanish(gone, MQTT_REASON_USE_ANOTHER_SERVER);
    }
    fifo_fini(&v.sessions);
}
