/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address: a node's address as the system has it, and the other way. Pure.
 */
#pragma once

#include <sys/socket.h>

#include "proto/node_id.h"

/* Of AF_INET and AF_INET6; of others: none, with port 0. */
struct node_address address_of(const struct sockaddr_storage *from);

/* For a socket of that family; 0: it has no way to that address. */
socklen_t address_to(struct sockaddr_storage *out, int family, const struct node_address *address);
