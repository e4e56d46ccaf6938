/* SPDX-License-Identifier: Apache-2.0 */
/*
 * by_token: what others who judge by tokens share with the method "token".
 *
 * Owner: the shard.
 */
#pragma once

#include <stdbool.h>

#include "broker/auth/gate.h"
#include "broker/auth/token.h"
#include "broker/login/method.h"
#include "proto/bytes.h"
#include "proto/mqtt.h"

struct conn;

/* Are there keys? */
bool login_token_is_in_use(const struct conn *c);

/* Of who sends that CONNECT, or (NULL) is connected. NULL: no memory. */
struct gate_request *login_token_request(const struct conn *c, const struct mqtt_connect *m,
                                         struct bytes token);

/* What the gate has answered, as things are now: its key may have gone meanwhile. The operator is
 * told what is wrong with it. */
enum gate_verdict login_token_verdict(const struct conn *c, const struct gate_request *r);

/* Of one that is right; its rules go over. */
struct login_facts login_token_facts(struct gate_request *r);

/* Tells the operator why. */
void login_token_refused(const struct conn *c, enum token_err err);
