/* SPDX-License-Identifier: Apache-2.0 */
/* trace: what shards do with certain clients, told while it happens (recorder/trace.h). */
#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <microhttpd.h>

#include "broker/admin/api/api.h"
#include "broker/admin/api/request.h"
#include "broker/admin/api/resources.h"
#include "broker/admin/api/trace_json.h"
#include "broker/log/log.h"
#include "broker/node.h"
#include "broker/recorder/story.h"
#include "broker/recorder/trace.h"
#include "broker/recorder/trace_errand.h"
#include "broker/session/listing.h"
#include "broker/transport/listener.h"
#include "proto/topic.h"
#include "proto/utf8.h"

#define SECONDS_DEFAULT 60u
#define SECONDS_MAX     3600u
#define LOOK_AGAIN_MS   50
#define ALIVE_MS        3000u /* who is not sent anything for ADMIN_TIMEOUT_S is cut off */
#define EVENTS_AT_ONCE  64u

/* One who watches. */
struct watch {
    struct api_stream stream; /* first */
    struct node *node;
    struct trace *trace;
    unsigned begun; /* on so many shards */
    int fd;         /* the connection's; looked at only */
    bool as_capture;
    char *text; /* what is to be sent, from `sent` to `len`; owned */
    size_t len, sent;
    uint64_t ends_ms, alive_ms; /* when to end; to say that it goes on */
    uint64_t events, not_kept;
    bool over;
    char key[KEY_NAME_BYTES];
    struct story story;
};

/* ---- what is told */

static bool to_file(void *context, const void *bytes, size_t len)
{
    return fwrite(bytes, 1, len, context) == len;
}

/* As the recorder would have noted it. */
static bool write_note(const struct watch *w, FILE *to, unsigned shard,
                       const struct trace_record *r)
{
    _Alignas(struct note) uint8_t space[sizeof(struct note) + NOTE_TEXT_MAX];
    struct note *const note = (void *)space;
    const bool is_packet = r->kind == NOTE_RECEIVED || r->kind == NOTE_SENT;
    const uint8_t *const topic = r->text + r->client_id_len;
    struct bytes text = is_packet ? bytes_of(topic + r->topic_len, r->head_len)
                                  : bytes_of(r->text, r->client_id_len);
    text.len = text.len < NOTE_TEXT_MAX ? text.len : NOTE_TEXT_MAX;
    *note = (struct note){.address = r->address,
                          .at_ms = r->at_us / 1000,
                          .length = r->length,
                          .port = r->port,
                          .code = r->code,
                          .kind = r->kind,
                          .listener = r->listener};
    memcpy(note->text, text.at, text.len);
    if (r->kind == NOTE_DROPPED && text.len < NOTE_TEXT_MAX) {
        const size_t room = NOTE_TEXT_MAX - text.len - 1;
        const size_t len = r->topic_len < room ? r->topic_len : room;
        note->text[text.len] = '\0';
        memcpy(note->text + text.len + 1, topic, len);
        text.len += 1 + len;
    }
    note->text_len = (uint8_t)text.len;
    return story_note(&w->story, shard, note, to_file, to);
}

static bool write_event(const struct watch *w, FILE *to, unsigned shard,
                        const struct trace_record *r)
{
    return w->as_capture ? write_note(w, to, shard, r)
                         : trace_json_line(to, trace_json(w->node, r));
}

/* Something about the trace itself. */
static bool write_about(const struct watch *w, FILE *to, const char *event)
{
    json_t *const o = trace_json_event(w->node, w->node->clock_us(), event);
    if (o == NULL || json_object_set_new(o, "events", json_integer((json_int_t)w->events)) != 0 ||
        json_object_set_new(o, "not_kept", json_integer((json_int_t)w->not_kept)) != 0) {
        json_decref(o);
        return false;
    }
    return trace_json_line(to, o);
}

static bool write_not_kept(const struct watch *w, FILE *to, uint64_t more)
{
    const struct note note = {.at_ms = w->node->clock_ms(),
                              .kind = NOTE_SKIPPED,
                              .length = more < UINT32_MAX ? (uint32_t)more : UINT32_MAX};
    return w->as_capture ? story_note(&w->story, 0, &note, to_file, to)
                         : write_about(w, to, "not_kept");
}

/* What has come, what was lost, and that it goes on or is over, if it is time. */
static bool gather(struct watch *w, FILE *to)
{
    const uint64_t now_ms = w->node->clock_ms();
    const bool ends =
        now_ms >= w->ends_ms || atomic_load_explicit(&w->node->ending, memory_order_relaxed);
    const struct trace_record *r = NULL;
    unsigned shard;
    bool ok = true;
    for (unsigned i = 0; ok && i < EVENTS_AT_ONCE && (r = trace_next(w->trace, &shard)) != NULL;
         i++) {
        w->events++;
        ok = write_event(w, to, shard, r);
    }
    const uint64_t more = trace_not_kept(w->trace);
    w->not_kept += more;
    if (more > 0) {
        ok = ok && write_not_kept(w, to, more);
    }
    if (ends) {
        w->over = true;
        return ok && (w->as_capture || write_about(w, to, "over"));
    }
    if (ftell(to) > 0) {
        w->alive_ms = now_ms + ALIVE_MS;
    } else if (now_ms >= w->alive_ms) {
        w->alive_ms = now_ms + ALIVE_MS;
        return w->as_capture ? story_pause(&w->story, now_ms, to_file, to)
                             : write_about(w, to, "alive");
    }
    return ok;
}

static bool write_beginning(const struct watch *w, FILE *to)
{
    return w->as_capture ? story_begin(&w->story, to_file, to) : write_about(w, to, "began");
}

/* Into w->text. false: no memory. */
static bool make_text(struct watch *w, bool (*write)(struct watch *w, FILE *to))
{
    free(w->text);
    w->text = NULL;
    w->len = w->sent = 0;
    FILE *const f = open_memstream(&w->text, &w->len);
    if (f == NULL) {
        return false;
    }
    const bool ok = write(w, f);
    return fclose(f) == 0 && ok;
}

static bool begin_text(struct watch *w, FILE *to)
{
    return write_beginning(w, to);
}

/* ---- the stream */

/* So long, or until who asked has gone. */
static bool has_gone(const struct watch *w)
{
    struct pollfd asker = {.fd = w->fd, .events = POLLRDHUP};
    return poll(&asker, 1, LOOK_AGAIN_MS) > 0 &&
           (asker.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
}

static ssize_t watch_read(struct api_stream *stream, char *to, size_t max)
{
    struct watch *const w = (struct watch *)stream;
    while (w->sent == w->len) {
        if (w->over) {
            return API_STREAM_ENDS;
        }
        if (!make_text(w, gather)) {
            return API_STREAM_BREAKS;
        }
        if (w->len == 0 && !w->over && has_gone(w)) {
            return API_STREAM_BREAKS;
        }
    }
    const size_t len = w->len - w->sent < max ? w->len - w->sent : max;
    memcpy(to, w->text + w->sent, len);
    w->sent += len;
    return (ssize_t)len;
}

/* Shards that have too much to do let go of it later (tracing_begin()). */
static void leave_shards(struct watch *w)
{
    trace_end(w->trace);
    for (unsigned i = 0; i < w->begun; i++) {
        struct trace_errand *const te = trace_errand_create(w->trace, false);
        if (te != NULL) {
            const enum errand_result done =
                errand_do(w->node->shards[i], &te->errand, API_SHARD_MS);
            (void)done;
            errand_put(&te->errand);
        }
    }
}

static void watch_destroy(struct watch *w)
{
    leave_shards(w);
    atomic_fetch_sub_explicit(&w->node->traces, 1, memory_order_relaxed);
    trace_put(w->trace);
    free(w->text);
    free(w);
}

static void watch_close(struct api_stream *stream)
{
    struct watch *const w = (struct watch *)stream;
    log_event(LOG_INFO, "trace_ended", LOG_TEXT("key", w->key),
              LOG_NUMBER("events", (int64_t)w->events),
              LOG_NUMBER("not_kept", (int64_t)w->not_kept));
    watch_destroy(w);
}

/* ---- what is asked for */

struct asked {
    struct trace_wanted wanted;
    char *client_id, *topic_filter, *address; /* owned */
    uint32_t seconds;
    bool as_capture;
};

static void asked_fini(struct asked *a)
{
    free(a->client_id);
    free(a->topic_filter);
    free(a->address);
}

static const char *take_client_id(struct asked *a, char *text, struct bytes value)
{
    a->client_id = text;
    a->wanted.client_id = value;
    return value.len <= LISTING_PATTERN_MAX ? NULL : "of 128 bytes at most";
}

static const char *take_topic(struct asked *a, char *text, struct bytes value)
{
    a->topic_filter = text;
    a->wanted.topic_filter = value;
    return utf8_valid(value) && topic_filter_valid(value) && !topic_is_share(value)
               ? NULL
               : "a topic filter, which is not shared";
}

static const char *take_address(struct asked *a, char *text, struct bytes value)
{
    struct address_ranges ranges;
    (void)value;
    a->address = text;
    const bool fine = address_ranges_parse(&ranges, text) == NULL && ranges.count == 1;
    if (fine) {
        a->wanted.has_address = true;
        a->wanted.address = ranges.all[0];
        a->wanted.address.address = address_range_cut(ranges.all[0].address, ranges.all[0].bits);
    }
    return fine ? NULL : "an address, or a range as in 10.0.0.0/8";
}

static const char *take_payload(struct asked *a, char *text, struct bytes value)
{
    a->wanted.payload = bytes_equal(value, bytes_text("true"));
    const bool fine = a->wanted.payload || bytes_equal(value, bytes_text("false"));
    free(text);
    return fine ? NULL : "true or false";
}

static const char *take_format(struct asked *a, char *text, struct bytes value)
{
    a->as_capture = bytes_equal(value, bytes_text("pcapng"));
    const bool fine = a->as_capture || bytes_equal(value, bytes_text("json"));
    free(text);
    return fine ? NULL : "json or pcapng";
}

static bool take_texts(struct api_request *r, struct asked *a, struct api_answer *problem)
{
    /* Each owns `text` from then on. NULL, or what it has to be. */
    static const struct {
        const char *name;
        const char *(*take)(struct asked *a, char *text, struct bytes value);
    } rows[] = {{"client_id", take_client_id},
                {"topic", take_topic},
                {"address", take_address},
                {"payload", take_payload},
                {"format", take_format}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes value;
        if (!request_has(r, rows[i].name)) {
            continue;
        }
        const char *const wrong = request_query(r, rows[i].name, &value)
                                      ? rows[i].take(a, (char *)(uintptr_t)value.at, value)
                                      : "percent-encoded";
        if (wrong != NULL) {
            *problem = answer_problem(400, "%s: it has to be %s", rows[i].name, wrong);
            return false;
        }
    }
    return true;
}

static bool take_all(struct api_request *r, struct asked *a, struct api_answer *problem)
{
    bool wrong = false;
    if (!take_texts(r, a, problem)) {
        return false;
    }
    a->seconds = request_number(r, "seconds", SECONDS_DEFAULT, 1, SECONDS_MAX, &wrong);
    if (wrong) {
        *problem = answer_problem(400, "seconds: it has to be a number from 1 to %u", SECONDS_MAX);
        return false;
    }
    if (a->wanted.client_id.at == NULL && a->wanted.topic_filter.at == NULL &&
        !a->wanted.has_address) {
        *problem = answer_problem(400, "client_id, address or topic has to be given");
        return false;
    }
    if (a->wanted.payload && a->as_capture) {
        *problem = answer_problem(400, "payload: a capture has none");
        return false;
    }
    if (a->wanted.payload && r->key.role < KEY_ADMIN) {
        *problem =
            answer_problem(403, "the key '%s' is %s; payloads need one that is %s", r->key.name,
                           key_role_name(r->key.role), key_role_name(KEY_ADMIN));
        return false;
    }
    return true;
}

/* ---- the beginning */

static bool begin_on_shards(struct api_request *r, struct watch *w, struct api_answer *problem)
{
    for (unsigned i = 0; i < r->node->shard_count; i++) {
        struct trace_errand *const te = trace_errand_create(w->trace, true);
        if (te == NULL) {
            *problem = answer_json(500, NULL);
            return false;
        }
        w->begun = i + 1; /* or it may be, though late */
        const bool asked = request_ask(r, r->node->shards[i], &te->errand, problem);
        const bool done = asked && te->done;
        errand_put(&te->errand);
        if (asked && !done) {
            *problem = answer_json(500, NULL);
        }
        if (!done) {
            return false;
        }
    }
    return true;
}

static struct watch *watch_create(struct api_request *r, const struct asked *a)
{
    struct watch *const w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->trace = trace_create(&a->wanted, r->node->shard_count);
    if (w->trace == NULL) {
        free(w);
        return NULL;
    }
    w->stream = (struct api_stream){.read = watch_read, .close = watch_close};
    w->node = r->node;
    w->as_capture = a->as_capture;
    w->ends_ms = r->node->clock_ms() + a->seconds * 1000ull;
    w->alive_ms = r->node->clock_ms() + ALIVE_MS;
    snprintf(w->key, sizeof w->key, "%s", r->key.name);
    story_of(&w->story, r->node);
    const union MHD_ConnectionInfo *const info =
        MHD_get_connection_info(r->http, MHD_CONNECTION_INFO_CONNECTION_FD);
    w->fd = info == NULL ? -1 : info->connect_fd;
    return w;
}

static void log_begun(const struct watch *w, const struct asked *a)
{
    log_event(LOG_INFO, "trace_begun", LOG_TEXT("key", w->key),
              LOG_BYTES("client_id", a->wanted.client_id),
              LOG_BYTES("topic", a->wanted.topic_filter), LOG_TEXT("address", a->address),
              LOG_TEXT("payload", a->wanted.payload ? "yes" : "no"),
              LOG_NUMBER("seconds", a->seconds));
}

static struct api_answer begin(struct api_request *r, const struct asked *a)
{
    struct api_answer problem;
    if (atomic_fetch_add_explicit(&r->node->traces, 1, memory_order_relaxed) >=
        (int64_t)TRACES_MAX) {
        atomic_fetch_sub_explicit(&r->node->traces, 1, memory_order_relaxed);
        return answer_problem(503, "%u traces are under way already", TRACES_MAX);
    }
    struct watch *const w = watch_create(r, a);
    if (w == NULL) {
        atomic_fetch_sub_explicit(&r->node->traces, 1, memory_order_relaxed);
        return answer_json(500, NULL);
    }
    const bool began = begin_on_shards(r, w, &problem);
    if (!began || !make_text(w, begin_text)) {
        watch_destroy(w);
        return began ? answer_json(500, NULL) : problem;
    }
    log_begun(w, a);
    return (struct api_answer){.status = 200,
                               .stream = &w->stream,
                               .type =
                                   a->as_capture ? "application/x-pcapng" : "application/x-ndjson"};
}

struct api_answer trace_get(struct api_request *r)
{
    struct asked a = {.seconds = SECONDS_DEFAULT};
    struct api_answer answer;
    if (take_all(r, &a, &answer)) {
        answer = begin(r, &a);
    }
    asked_fini(&a);
    return answer;
}
