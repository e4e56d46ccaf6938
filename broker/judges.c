/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/judges.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "broker/auth/gate.h"
#include "broker/config/usable.h"
#include "broker/key_server.h"
#include "broker/log/log.h"
#include "broker/login/login.h"
#include "broker/node.h"

/* Half of the processors: a crowd that comes back shall not take all from those who are there. */
static unsigned gate_threads(void)
{
    const unsigned half = usable_processors(NULL) / 2;
    return half > 0 ? half : 1;
}

static uint64_t wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec < 0 ? 0 : (uint64_t)now.tv_sec;
}

static void answer(void *node, struct gate_request *r)
{
    login_answer(((struct node *)node)->shards[r->inquiry.shard], &r->inquiry);
}

static bool seek_keys(void *node)
{
    return key_server_seek(((struct node *)node)->key_server);
}

bool judges_start(struct node *node)
{
    if (node->gate != NULL) {
        return true;
    }
    const struct gate_conf conf = {.threads = gate_threads(),
                                   .seed = node->seed,
                                   .clock_ms = node->clock_ms,
                                   .wall_s = wall_s,
                                   .answer = answer,
                                   .seek_keys = seek_keys,
                                   .context = node};
    node->gate = gate_start(&conf, NULL);
    if (node->gate == NULL) {
        log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "passwords and tokens"));
        return false;
    }
    return true;
}

void judges_stop(struct node *node)
{
    if (node != NULL && node->gate != NULL) {
        gate_stop(node->gate);
    }
}

void judges_close(struct node *node)
{
    if (node != NULL) {
        gate_destroy(node->gate);
        node->gate = NULL;
    }
}
