/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/recorder/story.h"

#include <assert.h>
#include <string.h>

#include "broker/metrics.h"
#include "broker/node.h"
#include "broker/recorder/pcapng.h"
#include "broker/recorder/recorder.h"
#include "broker/transport/listener.h"
#include "broker/version.h"
#include "proto/mqtt.h"
#include "proto/reason.h"

struct line {
    char text[PCAPNG_TEXT_MAX];
    size_t len;
};

static void say(struct line *l, struct bytes text)
{
    const size_t room = sizeof l->text - l->len;
    const size_t len = text.len < room ? text.len : room;
    if (len > 0) {
        memcpy(l->text + l->len, text.at, len);
        l->len += len;
    }
}

static void say_text(struct line *l, const char *text)
{
    say(l, bytes_text(text));
}

/* Of what it is, where it is known. */
static void say_what(struct line *l, const char *name, struct bytes value)
{
    if (value.len > 0) {
        say_text(l, name);
        say(l, value);
    }
}

static void say_number(struct line *l, uint32_t value)
{
    char digits[10];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    say(l, bytes_of(digits + at, sizeof digits - at));
}

static void say_dropped(struct line *l, const struct note *r, struct bytes text)
{
    const uint8_t *const zero = text.len == 0 ? NULL : memchr(text.at, '\0', text.len);
    const size_t name_len = zero == NULL ? text.len : (size_t)(zero - text.at);
    const size_t topic_at = zero == NULL ? text.len : name_len + 1;
    say_text(l, r->code < METRICS ? metrics_name((enum metric)r->code) : "dropped");
    say_what(l, " client_id=", bytes_of(text.at, name_len));
    say_what(l, " topic=", bytes_of(text.at + topic_at, text.len - topic_at));
}

/* What is no packet, in words. */
static void tell(struct line *l, const struct note *r, struct bytes text)
{
    switch (r->kind) {
    case NOTE_MALFORMED:
        say_text(l, "malformed: ");
        say_text(l, mqtt_reason_text((uint8_t)r->code));
        break;
    case NOTE_ACCEPTED:
        say_text(l, "accepted");
        break;
    case NOTE_NAMED:
        say_what(l, "connected client_id=", text);
        break;
    case NOTE_CLOSED:
        say_text(l, "closed: ");
        say_text(l, mqtt_reason_text((uint8_t)r->code));
        say_what(l, " client_id=", text);
        break;
    case NOTE_DROPPED:
        say_dropped(l, r, text);
        break;
    case NOTE_SKIPPED:
        say_number(l, r->length);
        say_text(l, " more, which were too many");
        break;
    default:
        say_text(l, "?");
        break;
    }
}

/* The broker's end: no note has its address; so it is the loopback of the client's family. */
static struct pcapng_end our_end(const struct story *s, const struct note *r)
{
    static const struct in6_addr loopback_4 = {
        .s6_addr = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}};
    return (struct pcapng_end){.address = IN6_IS_ADDR_V4MAPPED(&r->address) ? loopback_4
                                                                            : in6addr_loopback,
                               .port = r->listener < s->listeners ? s->ports[r->listener] : 0};
}

bool story_note(const struct story *s, unsigned shard, const struct note *r, story_sink *sink,
                void *context)
{
    uint8_t block[PCAPNG_BLOCK_BYTES];
    struct line line = {.len = 0};
    const struct pcapng_end client = {.address = r->address, .port = r->port};
    const bool is_mqtt = r->kind == NOTE_RECEIVED || r->kind == NOTE_SENT;
    const struct bytes text = bytes_of(r->text, r->text_len);
    struct pcapng_packet packet = {.interface = shard,
                                   .at_ms = (int64_t)r->at_ms + s->wall_offset_ms,
                                   .from = client,
                                   .to = our_end(s, r),
                                   .is_mqtt = is_mqtt,
                                   .length = r->length,
                                   .text = text};
    if (r->kind == NOTE_SENT) {
        packet.from = packet.to;
        packet.to = client;
    }
    if (!is_mqtt) {
        tell(&line, r, text);
        packet.text = bytes_of(line.text, line.len);
        packet.length = line.len;
    }
    return sink(context, block, pcapng_packet(block, &packet));
}

bool story_pause(const struct story *s, uint64_t at_ms, story_sink *sink, void *context)
{
    uint8_t block[PCAPNG_BLOCK_BYTES];
    return sink(context, block, pcapng_statistics(block, 0, (int64_t)at_ms + s->wall_offset_ms));
}

bool story_begin(const struct story *s, story_sink *sink, void *context)
{
    uint8_t block[PCAPNG_BLOCK_BYTES];
    bool ok = sink(context, block, pcapng_section(block, s->program));
    for (unsigned i = 0; ok && i < s->shards; i++) {
        char name[] = "shard 00";
        name[6] = (char)('0' + i / 10);
        name[7] = (char)('0' + i % 10);
        ok = sink(context, block, pcapng_interface(block, name));
    }
    return ok;
}

void story_of(struct story *s, const struct node *node)
{
    *s = (struct story){.shards = node->shard_count,
                        .listeners = node->listener_count,
                        .wall_offset_ms = node->wall_offset_ms,
                        .program = "dunlin " DUNLIN_VERSION};
    for (unsigned i = 0; i < node->listener_count; i++) {
        s->ports[i] = node->listeners[i].url.port;
    }
}

bool story_tell(const struct story *s, story_sink *sink, void *context)
{
    const struct note *next[STORY_SHARDS_MAX];
    uint64_t cursors[STORY_SHARDS_MAX] = {0};
    assert(s->shards <= STORY_SHARDS_MAX);
    if (!story_begin(s, sink, context)) {
        return false;
    }
    for (unsigned i = 0; i < s->shards; i++) {
        next[i] = s->rings[i] == NULL ? NULL : note_ring_next(s->rings[i], &cursors[i]);
    }
    while (true) {
        unsigned first = s->shards;
        for (unsigned i = 0; i < s->shards; i++) {
            if (next[i] != NULL && (first == s->shards || next[i]->at_ms < next[first]->at_ms)) {
                first = i;
            }
        }
        if (first == s->shards) {
            return true;
        }
        if (!story_note(s, first, next[first], sink, context)) {
            return false;
        }
        next[first] = note_ring_next(s->rings[first], &cursors[first]);
    }
}
