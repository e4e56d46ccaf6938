/* SPDX-License-Identifier: Apache-2.0 */
/* What a shard counts for each listener, once. Included with LISTENER_COUNTER() defined. */
/* clang-format off */
/*               name                 what */
LISTENER_COUNTER(connections_accepted, "connections accepted by the listener")
LISTENER_COUNTER(bytes_received,       "bytes received by the listener's connections, TLS and WebSocket included")
LISTENER_COUNTER(bytes_sent,           "bytes handed to the kernel for the listener's connections, likewise")
LISTENER_COUNTER(handshakes_failed,    "PROXY headers, TLS and WebSocket handshakes of the listener that were refused or failed")
#undef LISTENER_COUNTER
/* clang-format on */
