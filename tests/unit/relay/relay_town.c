/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/relay/relay_town.h"

#include <criterion/criterion.h>
#include <string.h>

#include "broker/peers/peers.h"

struct fake_cluster *town;

static const unsigned shards[TOWN_NODES] = {2, 1, 3};

void town_begin(const char *const settings[])
{
    town = fake_cluster_create(TOWN_NODES, shards, settings, NULL);
}

void town_end(void)
{
    fake_cluster_destroy(town);
}

void town_settle(void)
{
    fake_cluster_settle(town);
}

void town_move(unsigned home)
{
    for (unsigned i = 0; i < TOWN_NODES; i++) {
        for (unsigned p = 0; p < PARTITIONS; p++) {
            relay_set_home(town->nodes[i]->node, p, i == home ? RELAY_HERE : RELAY_PEER + home);
        }
    }
}

void town_move_to_nowhere(void)
{
    for (unsigned i = 0; i < TOWN_NODES; i++) {
        for (unsigned p = 0; p < PARTITIONS; p++) {
            relay_set_home(town->nodes[i]->node, p, RELAY_NOWHERE);
        }
    }
}

void town_cut(unsigned a, unsigned b, bool cut)
{
    fake_cluster_cut(town, a, b, cut);
}

void town_die(unsigned node)
{
    for (unsigned other = 0; other < TOWN_NODES; other++) {
        if (other != node) {
            fake_cluster_cut(town, node, other, true);
            fake_cluster_tell(town, other, node, false, false);
            fake_cluster_tell(town, node, other, false, false);
        }
    }
    fake_cluster_settle(town);
}

struct fake_client *town_come_as(unsigned at, const char *id, const struct terms *terms)
{
    return fake_cluster_connect(town, at, 0, id, terms);
}

struct fake_client *town_come(unsigned at, const char *id)
{
    return town_come_as(at, id, TERMS(.version = MQTT_V5, .session_expiry_s = 1000));
}

bool town_is_in(const struct fake_client *c)
{
    return c->connack.type == MQTT_CONNACK && c->connack.reason == 0;
}

uint8_t town_subscribe(struct fake_client *c, const char *filter, uint8_t qos)
{
    client_send_subscribe(c, ASK(.filter = filter, .qos = qos));
    fake_cluster_settle(town);
    const struct got *const suback = client_take(c, MQTT_SUBACK);
    return suback == NULL ? 255 : suback->reason;
}

/* What each client acknowledges goes on its way, until none says anything any more. */
static void settle_clients(void)
{
    for (unsigned round = 0; round < 8; round++) {
        fake_cluster_settle(town);
        for (unsigned i = 0; i < TOWN_NODES; i++) {
            for (struct fake_client *c = town->nodes[i]->clients; c != NULL; c = c->next) {
                client_read(c);
            }
        }
    }
    fake_cluster_settle(town);
}

void town_say(struct fake_client *c, const char *topic, const char *payload, uint8_t qos)
{
    client_say(c, topic, payload, qos);
    settle_clients();
}

const char *town_heard(struct fake_client *c)
{
    settle_clients();
    return client_heard(c);
}

uint8_t town_told(struct fake_client *c)
{
    fake_cluster_settle(town);
    const struct got *const bye = client_take(c, MQTT_DISCONNECT);
    return bye == NULL ? 255 : bye->reason;
}

struct session *town_session(unsigned node, const char *id)
{
    struct fake_node *const n = town->nodes[node];
    return session_find(fake_node_enter(n, fake_node_home(n, id)), bytes_text(id));
}

int64_t town_near(unsigned node)
{
    return atomic_load(&town->nodes[node]->node->relays_near);
}

int64_t town_far(unsigned node)
{
    return atomic_load(&town->nodes[node]->node->relays_far);
}

uint64_t town_count(enum metric metric)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < TOWN_NODES; i++) {
        sum += fake_cluster_count(town, i, metric);
    }
    return sum;
}

uint64_t town_kept_bytes(unsigned node)
{
    return peers_gauge(town->nodes[node]->node->peers, PEERS_KEPT_BYTES);
}
