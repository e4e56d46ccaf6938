/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/admin/api/trace_json.h"

#include <arpa/inet.h>
#include <time.h>

#include "broker/admin/api/answer.h"
#include "broker/admin/api/binary.h"
#include "broker/admin/api/packet_json.h"
#include "broker/metrics.h"
#include "broker/node.h"
#include "broker/recorder/trace.h"
#include "proto/reason.h"

static const char *const events[] = {
    [NOTE_RECEIVED] = "received", [NOTE_SENT] = "sent",       [NOTE_MALFORMED] = "malformed",
    [NOTE_ACCEPTED] = "opened",   [NOTE_NAMED] = "connected", [NOTE_CLOSED] = "closed",
    [NOTE_DROPPED] = "dropped"};

static json_t *time_json(int64_t unix_us)
{
    char seconds[32], text[48];
    struct tm tm;
    const time_t s = (time_t)(unix_us / 1000000);
    if (gmtime_r(&s, &tm) == NULL ||
        strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
        return NULL;
    }
    snprintf(text, sizeof text, "%s.%06dZ", seconds, (int)(unix_us % 1000000));
    return json_string(text);
}

json_t *trace_json_event(const struct node *node, uint64_t at_us, const char *event)
{
    return json_pack("{s:o, s:s}", "time", time_json((int64_t)at_us + node->wall_offset_ms * 1000),
                     "event", event);
}

static json_t *address_json(const struct trace_record *r)
{
    char host[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 16];
    if (r->local) {
        return json_string("unix");
    }
    if (IN6_IS_ADDR_V4MAPPED(&r->address)) {
        inet_ntop(AF_INET, &r->address.s6_addr[12], host, sizeof host);
        snprintf(text, sizeof text, "%s:%u", host, r->port);
    } else {
        inet_ntop(AF_INET6, &r->address, host, sizeof host);
        snprintf(text, sizeof text, "[%s]:%u", host, r->port);
    }
    return json_string(text);
}

static int tell_whose(json_t *o, const struct trace_record *r)
{
    int failed = 0;
    if (r->client_id_len > 0) {
        failed |=
            json_object_set_new(o, "client_id", answer_text(bytes_of(r->text, r->client_id_len)));
    }
    if (r->has_peer) {
        failed |= json_object_set_new(o, "address", address_json(r));
        failed |= json_object_set_new(o, "listener", json_integer(r->listener));
    }
    return failed;
}

static int tell_topic(json_t *o, const struct trace_record *r)
{
    int failed = 0;
    if (r->topic_bytes > 0) {
        failed |= json_object_set_new(
            o, "topic", answer_text(bytes_of(r->text + r->client_id_len, r->topic_len)));
    }
    if (r->topic_len < r->topic_bytes) {
        failed |= json_object_set_new(o, "topic_bytes", json_integer(r->topic_bytes));
    }
    return failed;
}

static int tell_packet(json_t *o, const struct trace_record *r)
{
    const uint8_t *const head = r->text + r->client_id_len + r->topic_len;
    int failed = json_object_set_new(o, "bytes", json_integer(r->length));
    failed |= packet_json_add(o, r->version, bytes_of(head, r->head_len));
    failed |= tell_topic(o, r);
    if (r->topic_bytes > 0) {
        failed |= json_object_set_new(o, "payload_bytes", json_integer(r->payload_bytes));
    }
    if (r->payload_len > 0) {
        failed |= binary_add(o, "payload", bytes_of(head + r->head_len, r->payload_len));
    }
    return failed;
}

static int tell_reason(json_t *o, uint16_t code)
{
    return json_object_set_new(o, "reason_code", json_integer(code)) |
           json_object_set_new(o, "reason", json_string(mqtt_reason_text((uint8_t)code)));
}

static int tell(json_t *o, const struct trace_record *r)
{
    switch (r->kind) {
    case NOTE_RECEIVED:
    case NOTE_SENT:
        return tell_packet(o, r);
    case NOTE_MALFORMED:
        return json_object_set_new(o, "bytes", json_integer(r->length)) | tell_reason(o, r->code);
    case NOTE_CLOSED:
        return tell_reason(o, r->code);
    case NOTE_DROPPED:
        return json_object_set_new(o, "reason", json_string(metrics_name((enum metric)r->code))) |
               tell_topic(o, r);
    default:
        return 0;
    }
}

json_t *trace_json(const struct node *node, const struct trace_record *r)
{
    json_t *const o = trace_json_event(node, r->at_us, events[r->kind]);
    if (o != NULL && (tell_whose(o, r) | tell(o, r)) != 0) {
        json_decref(o);
        return NULL;
    }
    return o;
}

bool trace_json_line(FILE *to, json_t *line)
{
    const bool ok =
        line != NULL && json_dumpf(line, to, JSON_COMPACT) == 0 && fputc('\n', to) != EOF;
    json_decref(line);
    return ok;
}
