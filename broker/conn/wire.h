/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: a connection's bytes on their way through its transport, if it has one, and what that means
 * for the connection: handshakes that begin, take their turn, end, or fail.
 *
 * Owner: the shard of the connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;
struct shard;

/* What its listener has between the socket and MQTT is there from now on. false: the connection is
 * not welcome, or there is no memory; one line has been logged. */
bool wire_open(struct conn *c);
void wire_close(struct conn *c); /* everything of it is freed */

/* From the kernel; the connection may be gone afterwards. */
void wire_received(struct conn *c, const uint8_t *data, size_t len);

/* What has ended the stream behind the bytes that were just dealt with, if anything has, now ends
 * the connection. */
void wire_resume(struct conn *c);

/* Has the transport something to send still, so that the connection cannot move? */
bool wire_is_busy(const struct conn *c);

/* Is the connection at a handshake? */
bool wire_is_handshaking(const struct conn *c);

/* The costly handshakes whose turn it is, each turn a few. */
void wire_handshakes(struct shard *s);

/* Where what is to be sent next is, if anything is; false: the stream cannot go on. */
struct outbuf;
bool wire_fill(struct conn *c, const struct outbuf **out);

/* So many bytes of it are sent. */
void wire_sent(struct conn *c, size_t bytes);

/* Says goodbye, unless that is done; true: there is something to be sent now. */
bool wire_goodbye(struct conn *c);
