/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define DETAIL_BYTES 512u

struct api_answer answer_json(unsigned status, json_t *json)
{
    if (json == NULL) {
        return (struct api_answer){.status = 500};
    }
    return (struct api_answer){.status = status, .json = json};
}

struct api_answer answer_nothing(void)
{
    return (struct api_answer){.status = 204};
}

static const char *title_of(unsigned status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 413:
        return "Content Too Large";
    case 429:
        return "Too Many Requests";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

struct api_answer answer_problem(unsigned status, const char *detail, ...)
{
    char text[DETAIL_BYTES];
    va_list args;
    va_start(args, detail);
    vsnprintf(text, sizeof text, detail, args);
    va_end(args);
    json_t *const json = json_object();
    if (json_object_set_new(json, "status", json_integer(status)) != 0 ||
        json_object_set_new(json, "title", json_string(title_of(status))) != 0 ||
        json_object_set_new(json, "detail", answer_text(bytes_text(text))) != 0) {
        json_decref(json);
        return answer_json(status, NULL);
    }
    return answer_json(status, json);
}

/* As long as a character is in the whole; what is none becomes one. */
static json_t *mended(struct bytes text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    char *out = NULL;
    size_t len;
    FILE *const f = open_memstream(&out, &len);
    if (f == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < 0x80) {
            fputc(text.at[i], f);
        } else {
            fputs(replacement, f);
        }
    }
    json_t *const json = fclose(f) != 0 ? NULL : json_stringn(out, len);
    free(out);
    return json;
}

json_t *answer_text(struct bytes text)
{
    json_t *const json = json_stringn(text.len == 0 ? "" : (const char *)text.at, text.len);
    return json != NULL ? json : mended(text);
}

json_t *answer_time(int64_t unix_ms)
{
    char text[40];
    struct tm tm;
    const time_t s = (time_t)(unix_ms / 1000);
    if (gmtime_r(&s, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) {
        return NULL;
    }
    return json_string(text);
}
