/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/load/subscribe.h"

#include <string.h>

#include "bench/load/client.h"
#include "bench/load/options.h"
#include "bench/load/worker.h"

#define PACKETS_UNDER_WAY 16u
#define FILTERS_BYTES_MAX (FOREIGN_PER_PACKET * (FOREIGN_BYTES_MAX + 3u))

bool subscribe_is_wanted(const struct client *c)
{
    return c->plan->filter != NULL || c->plan->foreign_count > 0;
}

static void send_filters(struct worker *w, struct client *c, enum mqtt_type type,
                         struct bytes filters, uint32_t count)
{
    const struct mqtt_packet packet = {
        .type = type, .subscribe = {.packet_id = 1, .filters = filters, .count = count}};
    c->subscribing.awaited++;
    client_send_packet(w, c, &packet);
}

static void send_own(struct worker *w, struct client *c)
{
    uint8_t filter[CLIENT_FILTER_BYTES_MAX + 3];
    const size_t len = strlen(c->plan->filter);
    filter[0] = (uint8_t)(len >> 8);
    filter[1] = (uint8_t)len;
    memcpy(filter + 2, c->plan->filter, len);
    filter[2 + len] = (uint8_t)w->run->options->qos;
    send_filters(w, c, MQTT_SUBSCRIBE, bytes_of(filter, len + 3), 1);
}

static void send_foreign(struct worker *w, struct client *c, enum mqtt_type type, uint64_t first,
                         uint32_t count)
{
    uint8_t filters[FILTERS_BYTES_MAX];
    const size_t len = foreign_filters(&w->run->options->foreign_shape, first, count,
                                       type == MQTT_SUBSCRIBE, filters);
    send_filters(w, c, type, bytes_of(filters, len), count);
}

static void send_more(struct worker *w, struct client *c)
{
    struct subscribing *const s = &c->subscribing;
    while (s->sent < c->plan->foreign_count && s->awaited < PACKETS_UNDER_WAY && c->fd >= 0) {
        const uint32_t left = c->plan->foreign_count - s->sent;
        const uint32_t count = left < FOREIGN_PER_PACKET ? left : FOREIGN_PER_PACKET;
        send_foreign(w, c, MQTT_SUBSCRIBE, c->plan->foreign_first + s->sent, count);
        s->sent += count;
    }
}

void subscribe_begin(struct worker *w, struct client *c)
{
    c->subscribing = (struct subscribing){0};
    if (c->plan->filter != NULL) {
        send_own(w, c);
    } else {
        send_more(w, c);
    }
}

enum subscribe_state subscribe_on_suback(struct worker *w, struct client *c,
                                         const struct arrival *a)
{
    /* The reason codes are at the end; those of a refusal are 0x80 and more. */
    const bool is_granted = a->rest.len > 0 && a->rest.at[a->rest.len - 1] < 0x80;
    if (c->subscribing.awaited == 0 || !is_granted) {
        return SUBSCRIBE_REFUSED;
    }
    c->subscribing.awaited--;
    if (c->phase == CLIENT_AWAIT_SUBACK) {
        send_more(w, c);
    }
    return c->subscribing.awaited == 0 ? SUBSCRIBE_DONE : SUBSCRIBE_GOES_ON;
}

bool subscribe_churn(struct worker *w, struct client *c)
{
    struct subscribing *const s = &c->subscribing;
    if (c->phase != CLIENT_READY || s->awaited >= PACKETS_UNDER_WAY) {
        return false;
    }
    const uint64_t sets = c->plan->foreign_count / FOREIGN_PER_PACKET;
    const uint64_t set = s->turns / 2 % sets;
    send_foreign(w, c, s->turns % 2 == 0 ? MQTT_UNSUBSCRIBE : MQTT_SUBSCRIBE,
                 c->plan->foreign_first + set * FOREIGN_PER_PACKET, FOREIGN_PER_PACKET);
    s->turns++;
    return true;
}
