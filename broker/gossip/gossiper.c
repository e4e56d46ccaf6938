/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/gossiper.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/gossip/parts.h"
#include "broker/log/log.h"
#include "broker/transport/tls.h"
#include "broker/transport/tls_context.h"

#define EVENTS_MAX  64
#define ACCEPTS_MAX 16u /* in a turn */

/* Keys of epoll that are no connection's, which are below. */
#define KEY_UDP    UINT64_MAX
#define KEY_ACCEPT (UINT64_MAX - 1)
#define KEY_WAKE   (UINT64_MAX - 2)

static_assert(sizeof GOSSIPER_STREAM_MAGIC == GOSSIPER_MAGIC_BYTES + 1, "four characters");
static_assert(KNOCK_MAGIC_BYTES == GOSSIPER_MAGIC_BYTES, "both are of one length");

/* ---- The thread */

static void wake(struct gossiper *g)
{
    eventfd_write(g->wake, 1);
}

/* What a connection wants that somebody has made. */
static void take_new(struct gossiper *g, struct tcp_conn *c, uint64_t now_ms)
{
    if (c->in_len < GOSSIPER_MAGIC_BYTES) {
        return;
    }
    if (memcmp(c->in, KNOCK_MAGIC, GOSSIPER_MAGIC_BYTES) == 0) {
        calls_knock(g, c, now_ms);
    } else if (memcmp(c->in, GOSSIPER_STREAM_MAGIC, GOSSIPER_MAGIC_BYTES) == 0) {
        tcp_used(c, GOSSIPER_MAGIC_BYTES);
        tcp_become(&g->tcp, c, TCP_STREAM);
        speech_stream(g, c, now_ms);
    } else {
        g->figures.refused[SEAL_MALFORMED]++;
        tcp_close(&g->tcp, c);
    }
}

static void on_tcp(struct gossiper *g, uint64_t key, uint32_t events, uint64_t now_ms)
{
    struct tcp_conn *const c = tcp_of_key(&g->tcp, key);
    if (c != NULL && calls_may_cost(g, c) && g->tls_steps++ >= GOSSIPER_TLS_STEPS) {
        return; /* epoll says it again */
    }
    const enum tcp_news news = c == NULL ? TCP_GONE : tcp_event(&g->tcp, c, events);
    if (news == TCP_NOTHING || news == TCP_GONE) {
        return;
    }
    switch (c->kind) {
    case TCP_NEW:
        take_new(g, c, now_ms);
        break;
    case TCP_STREAM:
        if (news == TCP_CONNECTED) {
            c->end_ms = now_ms + GOSSIPER_IDLE_MS;
        } else {
            speech_stream(g, c, now_ms);
        }
        break;
    case TCP_KNOCK:
    case TCP_GREETING:
    case TCP_DIAL:
        calls_event(g, c, news, now_ms);
        break;
    }
}

static void on_event(struct gossiper *g, const struct epoll_event *event, uint64_t now_ms)
{
    eventfd_t count;
    switch (event->data.u64) {
    case KEY_UDP:
        speech_datagrams(g, now_ms);
        break;
    case KEY_ACCEPT:
        for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
            if (tcp_accept(&g->tcp, g->conf.tcp, now_ms, GOSSIPER_HELLO_MS) == NULL) {
                break;
            }
        }
        break;
    case KEY_WAKE:
        (void)eventfd_read(g->wake, &count);
        break;
    default:
        on_tcp(g, event->data.u64, event->events, now_ms);
        break;
    }
}

static void on_closed(void *context, struct tcp_conn *c)
{
    calls_closed(context, c);
}

/* What the time, and others, have made due. */
static void turn(struct gossiper *g, uint64_t now_ms)
{
    tcp_expire(&g->tcp, now_ms);
    discovery_turn(g, now_ms);
    if (g->membership != NULL) {
        membership_tick(g->membership, now_ms);
        speech_renew(g, now_ms);
        speech_load(g, now_ms);
    }
    calls_told(g, now_ms);
    calls_dial(g, now_ms);
}

static bool is_over(const struct gossiper *g, uint64_t now_ms)
{
    return g->stopping && (g->membership == NULL || membership_leave_is_told(g->membership) ||
                           membership_counters(g->membership).living < 2 || now_ms >= g->end_ms);
}

static int wait_ms(const struct gossiper *g, uint64_t now_ms)
{
    uint64_t due = discovery_due(g);
    const uint64_t tcp_ms = tcp_due(&g->tcp);
    due = tcp_ms < due ? tcp_ms : due;
    due = g->renew_ms < due ? g->renew_ms : due;
    due = g->stopping && g->end_ms < due ? g->end_ms : due;
    if (g->membership != NULL && membership_due(g->membership) < due) {
        due = membership_due(g->membership);
    }
    if (g->membership != NULL && !g->stopping && g->look_ms < due) {
        due = g->look_ms;
    }
    const uint64_t wait = due > now_ms ? due - now_ms : 0;
    return wait > 60000 ? 60000 : (int)wait;
}

static void *run(void *gossiper)
{
    struct gossiper *const g = gossiper;
    struct epoll_event events[EVENTS_MAX];
    int count = 0;
    for (;;) {
        pthread_mutex_lock(&g->lock);
        const uint64_t now_ms = g->conf.clock_ms();
        g->tls_steps = 0;
        for (int i = 0; i < count; i++) {
            on_event(g, &events[i], now_ms);
        }
        turn(g, now_ms);
        const bool over = is_over(g, now_ms);
        const int wait = wait_ms(g, now_ms);
        pthread_mutex_unlock(&g->lock);
        if (over) {
            tls_thread_end();
            return NULL;
        }
        count = epoll_wait(g->epoll, events, EVENTS_MAX, wait);
    }
}

/* ---- Life */

static bool watch(struct gossiper *g, int fd, uint64_t key)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = key};
    return epoll_ctl(g->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool begin(struct gossiper *g)
{
    g->epoll = epoll_create1(EPOLL_CLOEXEC);
    g->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g->tcp.context = g;
    g->tcp.closed = on_closed;
    g->renew_ms = GOSSIPER_NEVER;
    return g->epoll >= 0 && g->wake >= 0 && tcp_init(&g->tcp, g->epoll) &&
           watch(g, g->conf.udp, KEY_UDP) && watch(g, g->conf.tcp, KEY_ACCEPT) &&
           watch(g, g->wake, KEY_WAKE);
}

struct gossiper *gossiper_start(const struct gossiper_conf *conf)
{
    struct gossiper *const g = calloc(1, sizeof *g);
    if (g == NULL) {
        return NULL;
    }
    g->conf = *conf;
    g->living_ms = conf->clock_ms();
    if (g->conf.tls_context != NULL) {
        (void)tls_context_take(g->conf.tls_context);
    }
    g->epoll = g->wake = -1;
    pthread_mutex_init(&g->lock, NULL);
    atomic_store_explicit(conf->joining, true, memory_order_relaxed);
    if (!begin(g) || !discovery_begin(g, conf->clock_ms()) ||
        pthread_create(&g->thread, NULL, run, g) != 0) {
        gossiper_destroy(g);
        return NULL;
    }
    pthread_setname_np(g->thread, "gossip");
    return g;
}

void gossiper_stop(struct gossiper *g, bool for_good)
{
    if (g == NULL) {
        return;
    }
    pthread_mutex_lock(&g->lock);
    const uint64_t now_ms = g->conf.clock_ms();
    g->stopping = true;
    g->end_ms = now_ms + GOSSIPER_LEAVE_MS;
    if (g->membership != NULL) {
        membership_leave(g->membership, now_ms, for_good);
    }
    pthread_mutex_unlock(&g->lock);
    wake(g);
    pthread_join(g->thread, NULL);
}

void gossiper_destroy(struct gossiper *g)
{
    if (g == NULL) {
        return;
    }
    resolver_stop(g->resolver);
    tcp_fini(&g->tcp);
    membership_destroy(g->membership);
    seal_destroy(g->seal);
    tls_context_put(g->conf.tls_context);
    if (g->epoll >= 0) {
        close(g->epoll);
    }
    if (g->wake >= 0) {
        close(g->wake);
    }
    pthread_mutex_destroy(&g->lock);
    explicit_bzero(g, sizeof *g);
    free(g);
}

/* ---- What others ask for */

void gossiper_set_keys(struct gossiper *g, const struct key_ring *ring)
{
    pthread_mutex_lock(&g->lock);
    g->conf.ring = *ring;
    if (g->seal != NULL) {
        seal_set_keys(g->seal, ring->at, ring->count);
    }
    pthread_mutex_unlock(&g->lock);
}

static bool has_seed(const struct seeds *seeds, const struct seed *seed)
{
    for (unsigned i = 0; i < seeds->count; i++) {
        const struct seed *const s = &seeds->at[i];
        if (s->srv == seed->srv && s->port == seed->port && strcmp(s->host, seed->host) == 0) {
            return true;
        }
    }
    return false;
}

/* false: there is no room for all. */
static bool unite(struct seeds *all, const struct seeds *more)
{
    for (unsigned i = 0; i < more->count; i++) {
        if (has_seed(all, &more->at[i])) {
            continue;
        }
        if (all->count == SEEDS_MAX) {
            return false;
        }
        all->at[all->count++] = more->at[i];
    }
    return true;
}

const char *gossiper_join(struct gossiper *g, const struct seeds *more)
{
    const char *wrong = NULL;
    pthread_mutex_lock(&g->lock);
    struct seeds all = g->conf.seeds;
    struct resolver *fresh = NULL;
    if (!unite(&all, more)) {
        wrong = "there would be more than 16 seeds";
    } else if ((fresh = resolver_start(&all, g->wake)) == NULL) {
        wrong = "there is no memory for it";
    } else {
        resolver_stop(g->resolver);
        g->resolver = fresh;
        g->conf.seeds = all;
        g->ask_ms = g->conf.clock_ms();
        g->pause_ms = 0;
    }
    pthread_mutex_unlock(&g->lock);
    wake(g);
    return wrong;
}

/* The member that is meant; *dead: how many of the name have ended and are not gone. */
static const struct member *named_member(const struct gossiper *g, struct bytes named,
                                         unsigned *dead)
{
    uint8_t uuid[UUID_BYTES];
    const struct member *m, *found = NULL;
    *dead = 0;
    if (uuid_parse(uuid, named)) {
        return membership_find(g->membership, node_uuid_of_random(uuid));
    }
    for (size_t i = 0; (m = membership_at(g->membership, i)) != NULL; i++) {
        if (!bytes_equal(bytes_of(m->name, m->name_len), named)) {
            continue;
        }
        const bool ended = !member_state_lives(m->state);
        *dead += ended && !m->gone;
        if (found == NULL || (ended && (!m->gone || member_state_lives(found->state)))) {
            found = m; /* who has ended is meant rather than who lives or is gone */
        }
    }
    return found;
}

enum gossiper_forgotten gossiper_forget(struct gossiper *g, struct bytes named)
{
    static const enum gossiper_forgotten answers[] = {
        [MEMBERSHIP_IS_GONE] = GOSSIPER_IS_GONE,
        [MEMBERSHIP_UNKNOWN] = GOSSIPER_UNKNOWN,
        [MEMBERSHIP_LIVES] = GOSSIPER_LIVES,
    };
    enum gossiper_forgotten answer = GOSSIPER_UNKNOWN;
    unsigned dead = 0;
    pthread_mutex_lock(&g->lock);
    const struct member *const m = g->membership == NULL ? NULL : named_member(g, named, &dead);
    if (dead > 1) {
        answer = GOSSIPER_AMBIGUOUS;
    } else if (m != NULL) {
        answer = answers[membership_forget(g->membership, g->conf.clock_ms(), m->node)];
    }
    pthread_mutex_unlock(&g->lock);
    wake(g);
    return answer;
}

void gossiper_set_tls(struct gossiper *g, struct tls_context *context)
{
    pthread_mutex_lock(&g->lock);
    struct tls_context *const former = g->conf.tls_context;
    g->conf.tls_context = tls_context_take(context);
    pthread_mutex_unlock(&g->lock);
    tls_context_put(former);
}

void gossiper_dial(struct gossiper *g, unsigned number, unsigned lane)
{
    assert(number < PEERS_MAX && lane < 64);
    atomic_fetch_or_explicit(&g->dials_wanted[number], (uint64_t)1 << lane, memory_order_release);
    wake(g);
}

/* ---- For those who look */

static void count_members(const struct gossiper *g, struct gossiper_figures *out)
{
    const struct member *m;
    for (size_t i = 0; (m = membership_at(g->membership, i)) != NULL; i++) {
        out->alive += m->state == MEMBER_ALIVE;
        out->suspect += m->state == MEMBER_SUSPECT;
        out->dead += m->state == MEMBER_DEAD;
        out->left += m->state == MEMBER_LEFT;
        if (member_state_lives(m->state)) {
            const struct node_load load = load_decode(bytes_of(m->data, m->data_len));
            out->clients += load.clients;
            out->draining += load.draining;
        }
    }
}

void gossiper_figures(struct gossiper *g, struct gossiper_figures *out)
{
    *out = (struct gossiper_figures){.alive = 0};
    if (g == NULL) {
        return;
    }
    pthread_mutex_lock(&g->lock);
    *out = g->figures;
    if (g->membership != NULL) {
        out->membership = membership_counters(g->membership);
        count_members(g, out);
    }
    out->streams = tcp_count(&g->tcp, TCP_STREAM);
    out->streams_accepted = g->tcp.accepted;
    out->streams_displaced = g->tcp.displaced;
    out->streams_timed_out = g->tcp.timed_out;
    pthread_mutex_unlock(&g->lock);
}

static void add_other(struct gossiper_others *out, const struct member *m)
{
    const struct node_load load = load_decode(bytes_of(m->data, m->data_len));
    if (!member_state_lives(m->state) || load.draining) {
        return;
    }
    out->nodes++;
    out->silent += !load.known;
    out->clients += load.clients;
    if (load.admits == LOAD_ANY || !load.known) {
        out->admits = UINT64_MAX;
    } else if (out->admits != UINT64_MAX) {
        out->admits += load.admits;
    }
}

void gossiper_others(struct gossiper *g, struct gossiper_others *out)
{
    const struct member *m;
    *out = (struct gossiper_others){.nodes = 0};
    if (g == NULL) {
        return;
    }
    pthread_mutex_lock(&g->lock);
    out->changed_ms = g->living_ms;
    for (size_t i = 1; g->membership != NULL && (m = membership_at(g->membership, i)) != NULL;
         i++) {
        add_other(out, m);
    }
    pthread_mutex_unlock(&g->lock);
}

size_t gossiper_members(struct gossiper *g, struct member *out, size_t max)
{
    const struct member *m;
    size_t count = 0;
    pthread_mutex_lock(&g->lock);
    while (g->membership != NULL && count < max &&
           (m = membership_at(g->membership, count)) != NULL) {
        out[count++] = *m;
    }
    pthread_mutex_unlock(&g->lock);
    return count;
}
