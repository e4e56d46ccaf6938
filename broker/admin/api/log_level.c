/* SPDX-License-Identifier: Apache-2.0 */
/* log_level: the least important lines that are written, until a reload or the end. */
#include <string.h>

#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/log/log.h"

static const char *const names[] = {
    [LOG_ERROR] = "error", [LOG_WARNING] = "warning", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"};

#define NAMES (sizeof names / sizeof names[0])

struct api_answer log_level_get(struct api_request *r)
{
    (void)r;
    const int level = atomic_load_explicit(&log_level_on, memory_order_relaxed);
    return answer_json(200, json_pack("{s:s}", "level", names[level]));
}

struct api_answer log_level_put(struct api_request *r)
{
    struct api_answer problem;
    json_t *const body = request_object(r, "level", &problem);
    if (body == NULL) {
        return problem;
    }
    const char *const wanted = json_string_value(json_object_get(body, "level"));
    size_t level = 0;
    while (level < NAMES && (wanted == NULL || strcmp(names[level], wanted) != 0)) {
        level++;
    }
    json_decref(body);
    if (level == NAMES) {
        return answer_problem(400, "level: it is none of error, warning, info and debug");
    }
    log_set_level((enum log_level)level);
    return log_level_get(r);
}
