/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/cluster.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/config/file_text.h"
#include "broker/config/listen_url.h"
#include "broker/data_dir.h"
#include "broker/descriptor.h"
#include "broker/drain.h"
#include "broker/gossip/address.h"
#include "broker/gossip/gossiper.h"
#include "broker/log/log.h"
#include "broker/dispatch/dispatch_run.h"
#include "broker/dispatch/dispatch_uses.h"
#include "broker/meta/meta_run.h"
#include "broker/node.h"
#include "broker/peers/peers.h"
#include "broker/ownership/ownership.h"
#include "broker/remote/remote.h"
#include "broker/transport/tls_context.h"
#include "broker/version.h"
#include "cluster/identity_file.h"

#define BACKLOG    256
#define PORT_TRIES 16u

#define ROOM_FEW 10000u /* fewer connections than that are told, as what it takes in a second */

/* ---- Sockets */

static int bound(const struct listen_url *where, int type)
{
    static const int on = 1;
    const int family = where->address.ss_family;
    const int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    bool ok = family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0;
    if (type == SOCK_STREAM) { /* two of UDP would each get a part */
        ok = ok && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0;
    }
    ok = ok && bind(fd, (const struct sockaddr *)&where->address, where->address_len) == 0 &&
         (type == SOCK_DGRAM || listen(fd, BACKLOG) == 0);
    if (!ok) {
        return descriptor_drop(fd);
    }
    return fd;
}

static void set_port(struct listen_url *where, uint16_t port)
{
    if (where->address.ss_family == AF_INET) {
        ((struct sockaddr_in *)&where->address)->sin_port = htons(port);
    } else {
        ((struct sockaddr_in6 *)&where->address)->sin6_port = htons(port);
    }
}

/* TCP and UDP on one port; of port 0, on any that is free for both. errno says why not. */
static bool bind_both(struct cluster *c, struct listen_url where)
{
    const bool any = where.port == 0;
    for (unsigned i = 0; i < PORT_TRIES; i++) {
        socklen_t len = sizeof where.address;
        c->tcp = bound(&where, SOCK_STREAM);
        if (c->tcp < 0 || getsockname(c->tcp, (struct sockaddr *)&where.address, &len) != 0) {
            return false;
        }
        c->udp = bound(&where, SOCK_DGRAM);
        if (c->udp >= 0) {
            c->family = where.address.ss_family;
            c->listen = address_of(&where.address);
            return true;
        }
        if (!any || errno != EADDRINUSE) {
            return false;
        }
        close(c->tcp);
        c->tcp = -1;
        set_port(&where, 0);
    }
    return false;
}

bool cluster_open(struct cluster *c, const struct config *config)
{
    struct listen_url where;
    *c = (struct cluster){.udp = -1, .tcp = -1, .dir = -1};
    if (config->cluster.listen[0] == '\0') {
        return true;
    }
    const char *const wrong = listen_address_parse(&where, config->cluster.listen);
    assert(wrong == NULL); /* cluster_check() has looked */
    (void)wrong;
    c->is = true;
    if (!bind_both(c, where)) {
        log_event(LOG_ERROR, "cluster_listen_failed", LOG_TEXT("address", config->cluster.listen),
                  LOG_ERRNO("error", errno));
        return false;
    }
    return true;
}

/* ---- Who it is */

static void take_name(struct identity *identity, const char *configured)
{
    char name[NODE_NAME_MAX + 1] = "";
    if (configured[0] != '\0') {
        strncpy(name, configured, NODE_NAME_MAX);
    } else if (gethostname(name, NODE_NAME_MAX) != 0 || name[0] == '\0') {
        strcpy(name, "node");
    }
    identity->name_len = (uint8_t)strnlen(name, NODE_NAME_MAX);
    for (unsigned i = 0; i < identity->name_len; i++) {
        const bool fits = node_name_is_valid(bytes_of(&name[i], 1));
        identity->name[i] = (uint8_t)(fits ? name[i] : '-');
    }
}

static const char *reason_of(enum identity_file_err err)
{
    switch (err) {
    case IDENTITY_FILE_OK:
        return "the file node is another node's than node.id: delete the one that does not belong "
               "here";
    case IDENTITY_FILE_IO:
        return "the file node cannot be read, or not be written";
    case IDENTITY_FILE_DAMAGED:
        return "the file node is damaged: restore it; or delete it and node.id, to start as a new "
               "node";
    case IDENTITY_FILE_EXHAUSTED:
        return "there is no higher generation";
    }
    return "?";
}

/* Later than any that was counted up, and than one by the time of a start before. */
static uint64_t generation_by_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

/* The node that node.id names, with its next generation. Where the file of generations is gone, as
 * in a restored backup, it may have had many: links and interest of others are not to take it for
 * one of those. */
static bool start_identity(struct cluster *c, struct identity *identity, const char *dir,
                           const struct data_dir *data_dir)
{
    uint8_t id[UUID_BYTES];
    int sys_errno = 0;
    enum identity_file_err err = IDENTITY_FILE_IO;
    struct identity kept = *identity;
    const bool read = uuid_parse(id, bytes_text(data_dir->node_id));
    assert(read); /* data_dir_open() has looked */
    (void)read;
    c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir < 0) {
        sys_errno = errno;
    } else {
        err = identity_file_start(c->dir, id, generation_by_time(), &kept, &sys_errno);
    }
    if (err != IDENTITY_FILE_OK || !node_uuid_equal(kept.node, node_uuid_of_random(id))) {
        log_event(LOG_ERROR, "identity_refused", LOG_TEXT("dir", dir),
                  LOG_TEXT("reason", reason_of(err)), LOG_ERRNO("error", sys_errno));
        return false;
    }
    identity->node = kept.node;
    identity->generation = kept.generation;
    if (cluster_uuid_equal(kept.cluster, identity->cluster)) {
        return true;
    }
    err = identity_file_keep(c->dir, identity, &sys_errno);
    if (err != IDENTITY_FILE_OK) {
        log_event(LOG_ERROR, "identity_refused", LOG_TEXT("dir", dir),
                  LOG_TEXT("reason", reason_of(err)), LOG_ERRNO("error", sys_errno));
    }
    return err == IDENTITY_FILE_OK;
}

/* Another node at each start; and if it were not, a later one. */
static bool make_identity(struct identity *identity)
{
    uint8_t random[UUID_BYTES];
    identity->generation = generation_by_time();
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return false;
    }
    identity->node = node_uuid_of_random(random);
    return true;
}

/* ---- The key */

/* false: it is not good; told. */
static bool read_keys(struct key_ring *ring, const char *file, const char *in_force)
{
    char *text = NULL;
    size_t len = 0;
    const int err = file_text_read(file, KEYS_FILE_BYTES_MAX, &text, &len);
    const char *const wrong =
        err != 0 ? "it cannot be read" : keys_parse(ring, bytes_of(text, len));
    if (text != NULL) {
        explicit_bzero(text, len);
        free(text);
    }
    if (wrong != NULL) {
        log_event(LOG_ERROR, "cluster_key_refused", LOG_TEXT("file", file),
                  LOG_TEXT("reason", wrong), LOG_ERRNO("error", err),
                  LOG_TEXT("in_force", in_force));
        return false;
    }
    log_event(LOG_INFO, "cluster_key_read", LOG_TEXT("file", file),
              LOG_NUMBER("keys", ring->count));
    return true;
}

static bool has_key_file(const struct cluster *c)
{
    return watched_file_is_there(&c->key_file);
}

bool cluster_is_needed(const struct cluster *c)
{
    return has_key_file(c) || link_certificates_are_needed(&c->certificates);
}

/* ---- Certificates */

static void note_end(const struct cluster *c, struct node *node)
{
    const int64_t end_s =
        c->certificates.context == NULL ? 0 : tls_context_ends_s(c->certificates.context);
    atomic_store_explicit(&node->cluster_certificate_end_s, end_s, memory_order_relaxed);
}

static void refresh_certificates(struct cluster *c, struct node *node, bool all)
{
    const enum link_certificates_news news =
        link_certificates_refresh(&c->certificates, all, node->clock_ms());
    if (news == LINK_CERTIFICATES_SAME) {
        return;
    }
    gossiper_set_tls(node->gossiper, c->certificates.context);
    if (news == LINK_CERTIFICATES_DISTRUST) {
        peers_trust(node->peers, c->certificates.context);
    }
    note_end(c, node);
}

void cluster_refresh(struct cluster *c, struct node *node, bool all)
{
    struct key_ring ring;
    refresh_certificates(c, node, all);
    if (watched_file_is_due(&c->key_file, all) &&
        read_keys(&ring, c->key_file.name, "what was read before")) {
        gossiper_set_keys(node->gossiper, &ring);
        explicit_bzero(&ring, sizeof ring);
    }
}

/* ---- Start and end */

static bool take_keys(struct cluster *c, struct key_ring *ring, const struct config *config)
{
    if (!watched_file_open(&c->key_file, config->cluster.key_file)) {
        return false;
    }
    return has_key_file(c) ? read_keys(ring, c->key_file.name, "nothing")
                           : keys_of_name(ring, config->cluster.name);
}

static bool take_certificates(struct cluster *c, struct gossiper_conf *conf,
                              const struct config *config)
{
    conf->tls = config->cluster.tls;
    return link_certificates_open(&c->certificates, &config->cluster, conf->clock_ms());
}

static bool fill(struct cluster *c, struct gossiper_conf *conf, const struct config *config,
                 const struct data_dir *data_dir)
{
    struct listen_url advertise;
    const char *const wrong = seeds_parse(&conf->seeds, config->cluster.seeds);
    assert(wrong == NULL); /* cluster_check() has looked */
    (void)wrong;
    if (config->cluster.advertise[0] != '\0' &&
        listen_address_parse(&advertise, config->cluster.advertise) == NULL) {
        conf->advertise = address_of(&advertise.address);
    }
    take_name(&conf->identity, config->node.name);
    return keys_cluster_of(&conf->identity.cluster, config->cluster.name) &&
           take_keys(c, &conf->ring, config) && take_certificates(c, conf, config) &&
           (config->data.dir[0] == '\0'
                ? make_identity(&conf->identity)
                : start_identity(c, &conf->identity, config->data.dir, data_dir));
}

/* What the gossip thread says to the shards, and they to it; no thread waits for the other. */

static void on_tell(void *node, const struct peer_facts *peer)
{
    peers_tell(((const struct node *)node)->peers, peer);
}

static void on_arrived(void *node, unsigned number, unsigned lane, struct peer_wire wire,
                       struct bytes read)
{
    peers_arrived(((const struct node *)node)->peers, number, lane, wire, read);
}

static void on_dialed(void *node, unsigned number, unsigned lane, struct peer_wire wire)
{
    peers_dialed(((const struct node *)node)->peers, number, lane, wire);
}

static void dial(void *node, unsigned number, unsigned lane)
{
    gossiper_dial(((const struct node *)node)->gossiper, number, lane);
}

static uint32_t at_most_u32(int64_t n)
{
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

/* What it takes is bounded by the rate that is set, and by how many more may be there. */
static struct node_load on_load(void *of)
{
    const struct node *const node = of;
    const uint32_t rate = atomic_load_explicit(&node->connections_per_second, memory_order_relaxed);
    const int64_t most =
        (int64_t)atomic_load_explicit(&node->connections_max, memory_order_relaxed);
    const uint32_t room =
        at_most_u32(most - atomic_load_explicit(&node->connections, memory_order_relaxed));
    struct node_load load = {.known = true,
                             .draining = atomic_load(&node->drain) != DRAIN_NONE ||
                                         atomic_load(&node->ending),
                             .admits = rate == 0 ? LOAD_ANY : rate};
    load.clients = at_most_u32(atomic_load_explicit(&node->clients, memory_order_relaxed));
    load.admits = room < ROOM_FEW && room < load.admits ? room : load.admits;
    return load;
}

/* Messages, and what is subscribed to, go to the others from now on. */
static bool join_shards(struct cluster *c, struct node *node, struct gossiper_conf *conf)
{
    static const char version[] = DUNLIN_VERSION;
    const struct peers_conf peers = {
        .node = node,
        .self = conf->identity,
        .build = bytes_of((const uint8_t *)version, sizeof version - 1),
        .events = &remote_events,
        .dial = dial,
        .dial_context = node,
    };
    c->links = (struct gossiper_links){
        .context = node, .tell = on_tell, .arrived = on_arrived, .dialed = on_dialed};
    conf->links = &c->links;
    node->cluster = conf->identity.cluster;
    if (remote_create(node, &conf->identity) && ownership_create(node, &conf->identity) &&
        (node->replicas == 0 ||
         dispatch_run_create(node, &conf->identity, &dispatch_uses_partitions)) &&
        peers_create(&peers) != NULL) {
        return true;
    }
    log_event(LOG_ERROR, "cluster_failed", LOG_TEXT("reason", "there is no memory for it"));
    return false;
}

/* Who is a member of it, and has which sessions; only with cluster.replicas. */
static bool join_members(struct node *node, const struct config *config,
                         const struct identity *self)
{
    struct meta_run_conf conf = meta_run_conf_defaults();
    if (node->replicas == 0) {
        return true;
    }
    conf.self = self;
    conf.zone = bytes_text(config->cluster.zone);
    conf.replicas = config->cluster.replicas;
    conf.initial_size =
        config->cluster.initial_size > 0 ? config->cluster.initial_size : config->cluster.replicas;
    if (getrandom(conf.random, sizeof conf.random, 0) != (ssize_t)sizeof conf.random) {
        log_event(LOG_ERROR, "cluster_failed",
                  LOG_TEXT("reason", "the system has no random bytes"));
        return false;
    }
    return meta_run_create(node, &conf);
}

bool cluster_start(struct cluster *c, struct node *node, const struct config *config,
                   const struct data_dir *data_dir)
{
    if (!c->is) {
        graves_fini(&node->graves); /* they stay on disk */
        return true;
    }
    struct gossiper_conf conf = {.udp = c->udp,
                                 .tcp = c->tcp,
                                 .family = c->family,
                                 .listen = c->listen,
                                 .shards = node->shard_count,
                                 .clock_ms = node->clock_ms,
                                 .joining = &node->joining,
                                 .absent = &node->members_absent,
                                 .load = on_load,
                                 .load_context = node};
    const bool filled = fill(c, &conf, config, data_dir) && join_shards(c, node, &conf) &&
                        join_members(node, config, &conf.identity);
    conf.dir = c->dir;
    if (filled) {
        conf.tls_context = c->certificates.context;
        node->gossiper = gossiper_start(&conf);
        note_end(c, node);
    }
    if (filled && node->gossiper == NULL) {
        log_event(LOG_ERROR, "thread_failed", LOG_TEXT("of", "the cluster"));
    }
    explicit_bzero(&conf, sizeof conf);
    return node->gossiper != NULL;
}

void cluster_leave(struct node *node)
{
    if (node != NULL) {
        gossiper_stop(node->gossiper, atomic_load(&node->leave_for_good));
    }
}

static void close_one(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void cluster_close(struct cluster *c, struct node *node)
{
    if (node != NULL) {
        gossiper_destroy(node->gossiper);
        node->gossiper = NULL;
    }
    if (c->is) {
        close_one(c->udp);
        close_one(c->tcp);
        close_one(c->dir);
        watched_file_close(&c->key_file);
        link_certificates_close(&c->certificates);
        c->is = false;
    }
}
