/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/publish_rate.h"

#include <stdlib.h>

#include "broker/conn/conn.h"
#include "broker/conn/input.h"
#include "broker/guard/rate.h"
#include "broker/shard/wheel.h"

/* Who is over its rate waits for somewhat more than what it needs for one message, so that it is
 * not woken for each; and at a time not for all that it owes after a large one, as the limit may be
 * changed meanwhile. */
#define PAUSE_MIN_MS 100u
#define PAUSE_MAX_MS 1000u

struct taken {
    uint64_t paid_until_ns; /* as in rate.h */
    uint64_t per_second;    /* what it was taken of; 0: there is no limit */
};

struct publish_rate {
    struct timer again; /* set while the connection is BLOCKED_RATE */
    struct conn *conn;
    struct taken messages, bytes;
};

static void on_time(struct timer *timer, uint64_t now_ms)
{
    struct conn *const c = table_object(timer, struct publish_rate, again)->conn;
    shard_enter(c->shard);
    c->last_packet_ms = now_ms; /* it was we who did not read */
    input_unblock(c, BLOCKED_RATE);
}

static struct publish_rate *rate_of(struct conn *c)
{
    if (c->rate == NULL && (c->rate = calloc(1, sizeof *c->rate)) != NULL) {
        c->rate->conn = c;
        timer_init(&c->rate->again, on_time);
    }
    return c->rate;
}

/* What that much costs; 0: there is no limit. With another one everybody begins anew. */
static uint64_t cost_ns(struct taken *t, uint64_t units, uint64_t per_second)
{
    if (t->per_second != per_second) {
        *t = (struct taken){.per_second = per_second};
    }
    return per_second > 0 ? rate_cost_ns(units, per_second) : 0;
}

static void wait(struct conn *c, struct publish_rate *r, uint64_t needed_ms)
{
    struct shard *s = c->shard;
    const uint64_t wait_ms = PAUSE_MIN_MS + needed_ms;
    c->blocked |= BLOCKED_RATE;
    shard_count(s, METRIC_publish_paced);
    wheel_set(s->wheel, &r->again, s->now_ms + (wait_ms < PAUSE_MAX_MS ? wait_ms : PAUSE_MAX_MS));
}

bool publish_rate_is_over(struct conn *c, const struct mqtt_publish *publish)
{
    const uint64_t now_ms = c->shard->now_ms;
    const struct config_limits *const l = &c->shard->config->limits;
    struct publish_rate *const r = rate_of(c);
    if (r == NULL) {
        return false;
    }
    const size_t bytes = publish->topic.len + publish->properties.raw.len + publish->payload.len;
    const uint64_t message_ns = cost_ns(&r->messages, 1, l->publish_messages_per_second);
    const uint64_t bytes_ns = cost_ns(&r->bytes, bytes, l->publish_bytes_per_second);
    const uint64_t messages_ms = rate_wait_ms(r->messages.paid_until_ns, now_ms, message_ns);
    const uint64_t bytes_ms = rate_wait_ms(r->bytes.paid_until_ns, now_ms, bytes_ns);
    if (messages_ms > 0 || bytes_ms > 0) {
        wait(c, r, messages_ms > bytes_ms ? messages_ms : bytes_ms);
        return true;
    }
    r->messages.paid_until_ns = rate_taken(r->messages.paid_until_ns, now_ms, message_ns);
    r->bytes.paid_until_ns = rate_taken(r->bytes.paid_until_ns, now_ms, bytes_ns);
    return false;
}

/* One with another limit than it was taken of begins anew. */
static uint64_t foresee_ms(struct taken t, uint64_t now_ms, uint64_t units, uint64_t per_second)
{
    return per_second == 0 || t.per_second != per_second
               ? 0
               : rate_wait_ms(t.paid_until_ns, now_ms, rate_cost_ns(units, per_second));
}

uint64_t publish_rate_wait_ms(const struct conn *c, size_t bytes)
{
    const struct config_limits *const l = &c->shard->config->limits;
    const uint64_t now_ms = c->shard->now_ms;
    if (c->rate == NULL) {
        return 0;
    }
    const uint64_t messages_ms =
        foresee_ms(c->rate->messages, now_ms, 1, l->publish_messages_per_second);
    const uint64_t bytes_ms =
        foresee_ms(c->rate->bytes, now_ms, bytes, l->publish_bytes_per_second);
    return messages_ms > bytes_ms ? messages_ms : bytes_ms;
}

void publish_rate_forget(struct conn *c)
{
    if (c->rate != NULL) {
        wheel_cancel(c->shard->wheel, &c->rate->again);
        free(c->rate);
        c->rate = NULL;
    }
}
