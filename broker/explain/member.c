/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/explain/member.h"

#include <stdlib.h>

#include "broker/explain/subscriber.h"
#include "broker/route/index.h"
#include "broker/route/local.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

static enum errand_step run(struct shard *s, struct errand *e)
{
    struct explain_member *const x = table_object(e, struct explain_member, errand);
    ASSERT_OWNED(s);
    const struct share_member *const member = local_member(s, x->subscription);
    if (member != NULL && member->subscription != NULL) {
        explain_text_set(x->client_id, session_client_id(member->subscription->session));
    }
    return ERRAND_DONE;
}

static void destroy(struct errand *e)
{
    free(table_object(e, struct explain_member, errand));
}

struct explain_member *explain_member_create(uint64_t subscription)
{
    struct explain_member *const x = calloc(1, sizeof *x);
    if (x != NULL) {
        x->errand = (struct errand){.run = run, .destroy = destroy};
        x->subscription = subscription;
    }
    return x;
}
