/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/guard/guard.h"

#include <stdlib.h>
#include <xxhash.h>

#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/life.h"
#include "broker/guard/address_rate.h"
#include "broker/guard/ban_list.h"
#include "broker/guard/flapping.h"
#include "broker/log/log.h"
#include "broker/login/method.h"
#include "broker/relay/relay.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"

static bool has_address(const struct conn *c)
{
    return !c->local && !IN6_IS_ADDR_UNSPECIFIED(&c->at.address);
}

/* ---- the ban list */

/* The line that it is banned by; 0: none. */
static unsigned banned_address(const struct conn *c)
{
    const struct shard *s = c->shard;
    return s->bans != NULL && has_address(c)
               ? ban_list_find_address(s->bans, &c->at.address, s->now_ms)
               : 0;
}

static unsigned banned_name(const struct conn *c, enum ban_kind kind, struct bytes name)
{
    const struct shard *s = c->shard;
    return s->bans != NULL && name.len > 0 ? ban_list_find(s->bans, kind, name, s->now_ms) : 0;
}

static void log_banned(const struct conn *c, const char *what, struct bytes client_id,
                       unsigned line)
{
    char address[CONN_ADDRESS_TEXT];
    log_event(LOG_INFO, "banned", LOG_TEXT("by", what), LOG_NUMBER("line", line),
              LOG_BYTES("client_id", client_id), LOG_BYTES("user_name", login_user_name(c->user)),
              LOG_TEXT("peer", conn_address(c, address, sizeof address)));
}

/* Is it on the list, with all that is known of it by now? Then that is told. */
static bool is_listed(const struct conn *c, struct bytes client_id)
{
    const struct {
        const char *what;
        unsigned line;
    } found[] = {
        {"client", banned_name(c, BAN_CLIENT, client_id)},
        {"user", banned_name(c, BAN_USER, login_user_name(c->user))},
        {"address", banned_address(c)},
    };
    for (unsigned i = 0; i < sizeof found / sizeof found[0]; i++) {
        if (found[i].line > 0) {
            log_banned(c, found[i].what, client_id, found[i].line);
            return true;
        }
    }
    return false;
}

/* ---- connections */

static bool is_within_rate(const struct conn *c)
{
    const struct shard *s = c->shard;
    const uint32_t most = s->config->limits.connections_per_second_per_address;
    return most == 0 ||
           address_rate_take(s->node->arrivals_by_address, &c->at.address, most, s->now_ms);
}

static bool refuse(const struct conn *c, enum metric metric, const char *why, unsigned line)
{
    char address[CONN_ADDRESS_TEXT];
    shard_count(c->shard, metric);
    log_event(LOG_WARNING, "connection_refused",
              LOG_TEXT("peer", conn_address(c, address, sizeof address)), LOG_TEXT("reason", why),
              LOG_NUMBER("line", line));
    return false;
}

bool guard_admits(struct conn *c)
{
    c->admitted = true;
    if (!has_address(c)) {
        return true;
    }
    const unsigned line = banned_address(c);
    if (line > 0) {
        return refuse(c, METRIC_connections_banned, "its address is banned", line);
    }
    if (!is_within_rate(c)) {
        return refuse(c, METRIC_connections_over_rate, "connections_per_second_per_address", 0);
    }
    return true;
}

/* ---- those who connect over and over */

static uint64_t hash_of(const struct shard *s, struct bytes client_id, const struct in6_addr *from)
{
    const uint64_t seed = XXH3_64bits_withSeed(client_id.at, client_id.len, s->node->seed);
    return XXH3_64bits_withSeed(from, address_network_bytes(from), seed);
}

static uint64_t flapping_hash(const struct conn *c, struct bytes client_id)
{
    const struct in6_addr from = login_address(c);
    return hash_of(c->shard, client_id, &from);
}

/* NULL: nobody is looked after, or there is no memory. One without a client id is given another
 * each time. */
static struct flapping *flapping_of(const struct conn *c, struct bytes client_id)
{
    struct shard *s = c->shard;
    if (s->config->auth.flapping_connects_per_minute == 0 || client_id.len == 0) {
        return NULL;
    }
    if (s->flapping == NULL) {
        s->flapping = calloc(1, sizeof *s->flapping);
    }
    return s->flapping;
}

static bool is_flapping(const struct conn *c, struct bytes client_id)
{
    const struct flapping *const f = flapping_of(c, client_id);
    return f != NULL && flapping_is_banned(f, flapping_hash(c, client_id), c->shard->now_ms);
}

/* One time more; true: that is too often. */
static bool flaps(const struct conn *c, struct bytes client_id)
{
    struct shard *s = c->shard;
    struct flapping *const f = flapping_of(c, client_id);
    if (f == NULL) {
        return false;
    }
    const enum flapping_verdict verdict = flapping_connect(
        f, flapping_hash(c, client_id), s->config->auth.flapping_connects_per_minute,
        s->config->auth.flapping_ban_s, s->now_ms);
    if (verdict == FLAPPING_BEGINS) {
        shard_count(s, METRIC_clients_flapping);
        char address[CONN_ADDRESS_TEXT];
        log_event(LOG_WARNING, "client_flapping", LOG_BYTES("client_id", client_id),
                  LOG_TEXT("peer", conn_address(c, address, sizeof address)),
                  LOG_NUMBER("banned_s", s->config->auth.flapping_ban_s));
    }
    return verdict != FLAPPING_WELCOME;
}

/* ---- CONNECT */

void guard_judge(struct conn *c, const struct mqtt_connect *m)
{
    if (c->login == LOGIN_OPEN && (is_listed(c, m->client_id) || is_flapping(c, m->client_id))) {
        c->login = LOGIN_SETTLED;
        c->login_reason = MQTT_REASON_BANNED;
        shard_count(c->shard, METRIC_connect_banned);
    }
}

enum mqtt_reason guard_judge_user(const struct conn *c, const struct mqtt_connect *m)
{
    if (!is_listed(c, m->client_id) && !flaps(c, m->client_id)) {
        return MQTT_REASON_SUCCESS;
    }
    shard_count(c->shard, METRIC_connect_banned);
    return MQTT_REASON_BANNED;
}

/* ---- a dry run */

struct guard_outlook guard_foresee(const struct shard *s, const struct conn *c,
                                   struct bytes client_id, const struct in6_addr *from)
{
    struct guard_outlook o = {0};
    const struct in6_addr own = c == NULL ? in6addr_any : login_address(c);
    const struct in6_addr *const at = from != NULL ? from : c == NULL ? NULL : &own;
    if (s->bans != NULL) {
        const struct bytes user = c == NULL ? bytes_of(NULL, 0) : login_user_name(c->user);
        o.client_line = ban_list_find(s->bans, BAN_CLIENT, client_id, s->now_ms);
        o.user_line = user.len == 0 ? 0 : ban_list_find(s->bans, BAN_USER, user, s->now_ms);
        o.address_line = at == NULL || IN6_IS_ADDR_UNSPECIFIED(at)
                             ? 0
                             : ban_list_find_address(s->bans, at, s->now_ms);
    }
    o.flaps = at != NULL && s->flapping != NULL &&
              s->config->auth.flapping_connects_per_minute > 0 &&
              flapping_is_banned(s->flapping, hash_of(s, client_id, at), s->now_ms);
    return o;
}

/* ---- another list */

static void review(struct shard *s)
{
    for (struct conn *c = s->all.first; c != NULL; c = c->links[CONN_ALL].next) {
        const bool is_listed_now =
            c->phase == CONN_RELAYED
                ? is_listed(c, relay_client_id(c))
                : c->phase == CONN_CONNECTED && is_listed(c, session_client_id(c->session));
        if (is_listed_now) {
            shard_count(s, METRIC_bans_enforced);
            conn_close(c, MQTT_REASON_ADMINISTRATIVE_ACTION, SESSION_WILL_PUBLISH);
        }
    }
}

void guard_turn(struct shard *s)
{
    const uint64_t generation =
        atomic_load_explicit(&s->node->bans_generation, memory_order_acquire);
    if (s->bans_generation != generation) {
        shard_look(s); /* not before: who was let in by a former list is reviewed by this one */
        s->bans_generation = generation;
        review(s);
    }
}
