/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer: what a request of the API comes to: a status and JSON, or a text, or bytes, or
 * a stream of them. What went
 * wrong is told as RFC 9457 has it: {"status": 404, "title": "Not Found", "detail": "…"}.
 *
 * Owner: whoever has it; the JSON is a reference that goes with it, and the bytes go with it too.
 */
#pragma once

#include <sys/types.h>

#include <jansson.h>

#include "proto/bytes.h"

/* What comes by and by, for as long as whoever asked stays. */
#define API_STREAM_ENDS   (-1)
#define API_STREAM_BREAKS (-2) /* what has come is not all */
struct api_stream {
    /* So many bytes, at least 1; may wait for them. */
    ssize_t (*read)(struct api_stream *s, char *to, size_t max);
    void (*close)(struct api_stream *s); /* frees it */
};

struct api_answer {
    unsigned status;         /* HTTP's */
    json_t *json;            /* a reference; NULL: `text`, or nothing */
    const char *text, *type; /* constant; NULL: none */
    char *bytes;             /* owned, of type `type`; NULL: none */
    size_t bytes_len;
    struct api_stream *stream; /* owned, of type `type`; NULL: none */
    const char *allow;         /* of 405: the methods that there are; constant */
};

/* json NULL (no memory, or what is no UTF-8): 500 instead. Takes the reference. */
struct api_answer answer_json(unsigned status, json_t *json);
struct api_answer answer_nothing(void); /* 204 */

/* `detail`: a sentence without a full stop. */
__attribute__((format(printf, 2, 3))) struct api_answer answer_problem(unsigned status,
                                                                       const char *detail, ...);

json_t *answer_text(struct bytes text); /* a JSON string; U+FFFD where it is not UTF-8 */
json_t *answer_time(int64_t unix_ms);   /* RFC 3339, UTC */
