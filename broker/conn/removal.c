/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/conn/removal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/partitions/partitions.h"
#include "broker/session/kept.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct removal *const r = table_object(e, struct removal, errand);
    const struct bytes client_id = bytes_of(r->client_id, r->client_id_len);
    struct session *session = session_find(s, client_id);
    struct conn *const c = session == NULL ? NULL : session->conn;
    r->was_there = r->of == REMOVAL_OF_SESSION ? session != NULL : c != NULL;
    if (c != NULL) {
        conn_close_saying(c, MQTT_REASON_ADMINISTRATIVE_ACTION, r->words, SESSION_WILL_PUBLISH);
        session = session_find(s, client_id); /* that may have been the end of it */
    }
    if (r->of == REMOVAL_OF_SESSION && session != NULL && partition_revives(session)) {
        session->kept->is_over = true;
    } else if (r->of == REMOVAL_OF_SESSION && session != NULL) {
        session_end(session);
    }
    return ERRAND_DONE;
}

static void destroy(struct errand *e)
{
    free(table_object(e, struct removal, errand));
}

struct removal *removal_create(enum removal_of of, struct bytes client_id, const char *words)
{
    assert(strlen(words) <= REMOVAL_WORDS_MAX);
    struct removal *const r = calloc(1, sizeof *r + client_id.len);
    if (r == NULL) {
        return NULL;
    }
    r->errand = (struct errand){.run = run, .destroy = destroy};
    r->of = of;
    strcpy(r->words, words);
    r->client_id_len = client_id.len;
    memcpy(r->client_id, client_id.at, client_id.len);
    return r;
}
