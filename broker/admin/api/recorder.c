/* SPDX-License-Identifier: Apache-2.0 */
/* recorder: what the shards did last (broker/recorder), as a file for Wireshark. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/node.h"
#include "broker/recorder/dump.h"
#include "broker/shard/shard.h"

static bool to_memory(void *context, const void *bytes, size_t len)
{
    return fwrite(bytes, 1, len, context) == len;
}

struct api_answer recorder_post(struct api_request *r)
{
    struct api_answer answer = {.status = 200, .type = "application/x-pcapng"};
    if (r->node->shards[0]->recorder.bytes == 0) {
        return answer_problem(409, "nothing is recorded: recorder.bytes_per_shard is 0");
    }
    FILE *const f = open_memstream(&answer.bytes, &answer.bytes_len);
    if (f == NULL) {
        return answer_json(500, NULL);
    }
    const bool told = dump_tell(r->node, to_memory, f);
    if (fclose(f) != 0 || !told) {
        free(answer.bytes);
        return answer_json(500, NULL);
    }
    return answer;
}
