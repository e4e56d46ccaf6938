/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/gossip/resolver.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "broker/gossip/address.h"

#define ANSWER_BYTES 8192

struct resolver {
    struct seeds seeds; /* does not change */

    pthread_mutex_t lock; /* of the rest; not held while DNS is asked */
    pthread_cond_t asked_for;
    bool asked, answered, stopped;
    unsigned users; /* the thread, and the owner */
    int wake_fd;    /* not to be used once it is stopped */
    struct resolved answer;
};

/* ---- Asking; on the thread */

static void add(struct resolved *out, const struct node_address *address)
{
    for (unsigned i = 0; i < out->count; i++) {
        if (node_address_equal(&out->at[i], address)) {
            return;
        }
    }
    if (out->count < RESOLVER_ADDRESSES_MAX) {
        out->at[out->count++] = *address;
    }
}

/* NULL, or why there is none. */
static const char *ask_host(struct resolved *out, const char *host, uint16_t port)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    const int err = getaddrinfo(host, service, &hints, &found);
    if (err != 0) {
        return gai_strerror(err);
    }
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        struct sockaddr_storage storage = {.ss_family = AF_UNSPEC};
        memcpy(&storage, at->ai_addr, at->ai_addrlen);
        const struct node_address address = address_of(&storage);
        if (address.port != 0) {
            add(out, &address);
        }
    }
    freeaddrinfo(found);
    return NULL;
}

/* One record of an answer (RFC 2782): priority, weight, port, target. The first two are for who
 * wants one of many; here all are tried. */
static const char *take_record(struct resolved *out, ns_msg *message, const ns_rr *record)
{
    char target[NS_MAXDNAME];
    if (ns_rr_type(*record) != ns_t_srv) {
        return NULL;
    }
    if (ns_rr_rdlen(*record) < 7 ||
        dn_expand(ns_msg_base(*message), ns_msg_end(*message), ns_rr_rdata(*record) + 6, target,
                  sizeof target) < 0) {
        return "DNS has answered with a record that is none";
    }
    const uint16_t port = (uint16_t)ns_get16(ns_rr_rdata(*record) + 4);
    return port == 0 ? "its SRV record has no port" : ask_host(out, target, port);
}

static const char *ask_srv(struct resolved *out, const char *name)
{
    struct __res_state state;
    uint8_t answer[ANSWER_BYTES];
    ns_msg message;
    ns_rr record;
    const char *wrong = NULL;
    memset(&state, 0, sizeof state);
    if (res_ninit(&state) != 0) {
        return "the system's resolver could not be set up";
    }
    const int len = res_nsearch(&state, name, ns_c_in, ns_t_srv, answer, sizeof answer);
    res_nclose(&state);
    if (len < 0) {
        return "DNS has no SRV record of that name, or does not answer";
    }
    if (ns_initparse(answer, len < ANSWER_BYTES ? len : ANSWER_BYTES, &message) != 0) {
        return "DNS has answered with something that is no answer";
    }
    for (int i = 0; i < ns_msg_count(message, ns_s_an); i++) {
        const char *const bad = ns_parserr(&message, ns_s_an, i, &record) != 0
                                    ? "DNS has answered with a record that is none"
                                    : take_record(out, &message, &record);
        wrong = bad != NULL ? bad : wrong;
    }
    return wrong;
}

static void ask_all(const struct seeds *seeds, struct resolved *out)
{
    for (unsigned i = 0; i < seeds->count; i++) {
        const struct seed *const seed = &seeds->at[i];
        const char *const wrong =
            seed->srv ? ask_srv(out, seed->host) : ask_host(out, seed->host, seed->port);
        if (wrong != NULL && out->failed++ == 0) {
            out->failed_at = i;
            out->error = wrong;
        }
    }
}

/* ---- Life */

/* With the lock, which is gone afterwards. */
static void leave(struct resolver *r)
{
    const bool last = --r->users == 0;
    pthread_mutex_unlock(&r->lock);
    if (last) {
        pthread_cond_destroy(&r->asked_for);
        pthread_mutex_destroy(&r->lock);
        free(r);
    }
}

static void *run(void *resolver)
{
    struct resolver *const r = resolver;
    pthread_mutex_lock(&r->lock);
    while (!r->stopped) {
        if (!r->asked) {
            pthread_cond_wait(&r->asked_for, &r->lock);
            continue;
        }
        r->asked = false;
        pthread_mutex_unlock(&r->lock);
        struct resolved answer = {.count = 0};
        ask_all(&r->seeds, &answer);
        pthread_mutex_lock(&r->lock);
        if (!r->stopped) {
            r->answer = answer;
            r->answered = true;
            eventfd_write(r->wake_fd, 1);
        }
    }
    leave(r);
    return NULL;
}

struct resolver *resolver_start(const struct seeds *seeds, int wake_fd)
{
    pthread_t thread;
    struct resolver *const r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->seeds = *seeds;
    r->wake_fd = wake_fd;
    r->users = 2;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->asked_for, NULL);
    if (pthread_create(&thread, NULL, run, r) != 0) {
        r->users = 1;
        resolver_stop(r);
        return NULL;
    }
    pthread_setname_np(thread, "seeds");
    pthread_detach(thread);
    return r;
}

void resolver_stop(struct resolver *r)
{
    if (r != NULL) {
        pthread_mutex_lock(&r->lock);
        r->stopped = true;
        pthread_cond_signal(&r->asked_for);
        leave(r);
    }
}

void resolver_ask(struct resolver *r)
{
    pthread_mutex_lock(&r->lock);
    r->asked = true;
    pthread_cond_signal(&r->asked_for);
    pthread_mutex_unlock(&r->lock);
}

bool resolver_take(struct resolver *r, struct resolved *out)
{
    pthread_mutex_lock(&r->lock);
    const bool answered = r->answered;
    r->answered = false;
    if (answered) {
        *out = r->answer;
    }
    pthread_mutex_unlock(&r->lock);
    return answered;
}
