/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method: one way to find out who a client is; what the chain (login.c) asks of it, and what it may
 * ask of the chain.
 *
 * A method answers at once, or returns LOGIN_WAIT and sends an inquiry whose answered() calls
 * login_go_on(). All of it on the shard of the connection.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "broker/config/config.h"
#include "broker/auth/gate.h"
#include "broker/login/login.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"
#include "proto/nodiscard.h"

struct conn;
struct inquiry;

enum login_step {
    LOGIN_YES,  /* login_yes() was called */
    LOGIN_NO,   /* login_no() was called; no further method is asked */
    LOGIN_NEXT, /* not for me to say: the user is none of mine, or it is not in use */
    LOGIN_WAIT, /* an inquiry is under way */
};

struct login_method {
    /* Is it in use, as things are configured? Where none is, everybody comes in. */
    bool (*is_in_use)(const struct conn *c);
    enum login_step (*ask)(struct conn *c, const struct mqtt_connect *m);
    /* Would it still say yes to a connected client that it let in? NULL: what it knows does not
     * change. Called when node->users_generation has. */
    bool (*is_still)(const struct conn *c, const struct login_user *user);
    /* The time of a connected client is over: does an inquiry ask whether it may stay, which will
     * call login_renew() or login_end()? NULL, or false: it ends. */
    bool (*ask_again)(struct conn *c);
};

extern const struct login_method login_by_certificate;
extern const struct login_method login_by_http;
extern const struct login_method login_by_password;
extern const struct login_method login_by_token;

struct login_facts {
    struct bytes name;
    uint64_t ends_ms; /* UINT64_MAX: never */
    uint64_t fingerprint;
    struct acl *acl;       /* goes over, whatever the outcome; NULL: none */
    struct groups *groups; /* likewise */
    uint8_t method;        /* enum config_auth_method */
};

/* What goes over goes, where they are not used. */
void login_facts_fini(struct login_facts *facts);

/* The client is that user: LOGIN_YES; or, without memory, LOGIN_NO. Counts. */
enum login_step login_yes(struct conn *c, const struct login_facts *facts);

/* It is refused with that reason: LOGIN_NO. Counts. */
enum login_step login_no(struct conn *c, enum mqtt_reason reason);

/* Fills in whose inquiry it is: before it is handed over. */
void login_inquire(struct conn *c, struct inquiry *q);

/* It has been handed over: CONNECT waits. LOGIN_WAIT. */
enum login_step login_wait(struct conn *c);

/* An inquiry about a connected client has been handed over: nothing waits but the connection's
 * memory. */
void login_wait_connected(struct conn *c);

/* The connected client's own rules and groups are those from now on, which go over, whatever the
 * outcome; NULL: it has none. false: there is no memory for them, and the former stay. */
NODISCARD bool login_set_rules(struct conn *c, struct acl *acl, struct groups *groups);

/* Its time is over: counted, told, and disconnected (0x87). */
void login_end(struct conn *c);

/* Has the gate judge the request, which goes over: `answered` will be called. false: *verdict says
 * why not. Of who is connected already nobody's failures count, so that no stranger at the same
 * address keeps it from staying. */
NODISCARD bool login_hand_over(struct conn *c, struct gate_request *r,
                               void (*answered)(struct inquiry *q), enum gate_verdict *verdict);

/* The same for a method of the chain: LOGIN_WAIT; or LOGIN_NO. */
enum login_step login_ask_gate(struct conn *c, struct gate_request *r,
                               void (*answered)(struct inquiry *q));

/* It has been judged, or will not be, and is not right: LOGIN_NO with the reason. */
enum login_step login_not_right(struct conn *c, enum gate_verdict verdict);

/* Does `auth.methods` name another one that is in use, after the one that is being asked? */
bool login_has_next(const struct conn *c);

/* Does `auth.methods` name it? */
bool login_is_among_methods(const struct conn *c, enum config_auth_method method);

/* The client's address, or zeros: it came by a Unix socket. For whoever counts by it. */
struct in6_addr login_address(const struct conn *c);

/* From answered(): is the client still there? If not, no step is to be taken. */
bool login_is_awaited(const struct conn *c);

/* From answered(): the step that comes of it; on LOGIN_NEXT the next method will be asked. */
void login_go_on(struct conn *c, enum login_step step);
