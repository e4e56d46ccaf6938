/* SPDX-License-Identifier: Apache-2.0 */
/* By the certificate that the client has shown in its TLS handshake, or shown to the load balancer,
 * where its listener says which of the names in it is the user's (user_from). */
#include "broker/config/config.h"
#include "broker/conn/conn.h"
#include "broker/conn/socket.h"
#include "broker/login/method.h"
#include "broker/shard/shard.h"
#include "broker/transport/listener.h"

static enum config_name_from user_from(const struct conn *c)
{
    return c->shard->node->listeners[c->listener].settings.user_from;
}

static bool is_in_use(const struct conn *c)
{
    return user_from(c) != CONFIG_FROM_NONE;
}

/* A certificate without a name that could be used is no reason to refuse: there may be a password.
 */
static enum login_step ask(struct conn *c, const struct mqtt_connect *m)
{
    (void)m;
    const struct bytes name = socket_name(c, user_from(c));
    if (name.len == 0) {
        return LOGIN_NEXT;
    }
    const struct login_facts facts = {
        .name = name, .ends_ms = UINT64_MAX, .method = CONFIG_AUTH_CERTIFICATE};
    return login_yes(c, &facts);
}

/* That certificates are revoked concerns also those who are no users: conn/trust.h. */
const struct login_method login_by_certificate = {.is_in_use = is_in_use, .ask = ask};
