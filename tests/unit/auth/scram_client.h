/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scram_client: the client's side of SCRAM-SHA-256, by wolfCrypt, for tests: it shares no code with
 * the server's library. What cannot happen aborts.
 */
#pragma once

#include <stddef.h>

#include "proto/bytes.h"

#define SCRAM_CLIENT_TEXT 4096u

struct scram_client {
    char bare[256];
    char final[SCRAM_CLIENT_TEXT];
    char server_final[64]; /* what the server has to say */
};

/* "n,,n=USER,r=NONCE" into text[SCRAM_CLIENT_TEXT]; returns it. */
struct bytes scram_client_first(struct scram_client *c, const char *user, char *text);

/* client-final, for what the server said first. */
struct bytes scram_client_final(struct scram_client *c, const char *password, struct bytes said);
