/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access: what a client may publish, subscribe to, and get; by rules of its own (login_user.acl)
 * first, then by those of the ACL file that concern it. Where there are neither, everything.
 *
 *   PUBLISH, a will ──▶ access_may_publish()      SUBSCRIBE ──▶ access_may_subscribe()
 *   each message to a session that does not see all it subscribes to ──▶ access_sees()
 *
 * A connection's *view* is the numbers of the file's rules that concern it, made when they are
 * first needed and again when the file is another one. Whether something of a session's
 * subscriptions may be hidden from it is found out once for each file (access.seen), so that
 * a delivery to who sees everything costs a comparison.
 *
 * Owner: the connection's shard. Memory: 16 bytes and 4 for each rule of a view, counted in
 * shard->acl_bytes; at the bound (memory_share) no view is kept, and the rules are looked up for
 * each question. Without memory for that, nothing is allowed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/conn/conn.h"
#include "broker/message.h"
#include "broker/session/session.h"
#include "broker/shard/shard.h"
#include "proto/bytes.h"
#include "proto/nodiscard.h"

struct acl;

#define ACCESS_FILTER_TEXT 160u /* with the NUL */

/* The client id, where the connection has no session yet; otherwise the session's counts. */
bool access_may_publish(struct conn *c, struct bytes client_id, struct bytes topic, uint8_t qos,
                        bool retain);

/* A plain filter, valid, for the connection's session. A part of what it matches may be hidden
 * nevertheless: messages are judged one by one then. */
bool access_may_subscribe(struct conn *c, struct bytes filter, uint8_t qos);

/* access_sees(), where it takes more than a comparison. */
bool access_judge(struct conn *c, struct bytes topic);

/* May the session's client get it now? A session without a connection is asked when it has one. */
static inline bool access_sees(struct session *session, const struct message *m)
{
    return session->conn == NULL || session->conn->access.seen == session->shard->acl_generation ||
           access_judge(session->conn, message_topic(m));
}

/* ---- the same answers with their reasons, for explain; nothing is counted or told */

enum access_by {
    ACCESS_BY_NOTHING,   /* there are no rules */
    ACCESS_BY_OWN_RULE,  /* `number`, from 1, of the client's own */
    ACCESS_BY_OWN_REST,  /* none of its own is about it, and there is no ACL file */
    ACCESS_BY_FILE_RULE, /* `number`, from 1, of the filters in the ACL file */
    ACCESS_BY_DEFAULT,   /* none is about it: the file's default */
    ACCESS_BY_NO_MEMORY, /* its rules could not be looked up */
};

struct access_reason {
    bool allowed;
    enum access_by by;
    uint32_t number;
    char filter[ACCESS_FILTER_TEXT]; /* the rule's, cut; where there is a number */
};

struct access_reason access_explain_publish(struct conn *c, struct bytes topic, uint8_t qos,
                                            bool retain);
struct access_reason access_explain_receive(struct conn *c, struct bytes topic);

/* Who the client is, or what rules it has of its own, is settled, or another: it is judged anew. */
void access_changed(struct conn *c);

void access_forget(struct conn *c);

/* So many bytes for rules and views; false: that would be over the bound, and nothing is counted.
 */
NODISCARD bool access_hold(struct shard *s, size_t bytes);
void access_let_go(struct shard *s, size_t bytes);
