/* SPDX-License-Identifier: Apache-2.0 */
/*
 * visit: mail for a shard that sleeps. Waking its thread costs as much as several deliveries, so
 * whoever brings a few delivers them itself: it lays claim to the sleeping shard (shard/claim.h),
 * passes on what lies in its mailboxes, and writes to the clients' sockets directly, as the ring is
 * its owner's alone. Its thread sleeps on.
 *
 * What is more than a little, or anything but a delivery, or does not fit into a socket, is the
 * owner's, who is woken then; and so is all mail while clients have sent something that the owner
 * has yet to hear, as it would be out of turn. So at low rates threads do not wake each other, and
 * where there is much to do all of them work.
 *
 * Owner: the visiting thread, for as long as it has the claim: VISIT_DELIVERIES at most, about.
 */
#pragma once

struct shard;

/* Shard `s` has shown mail to shard `to`: delivers it if that pays, or wakes `to`; nothing if `to`
 * is awake, or has a visitor, who looks for more before it leaves. */
void visit_or_wake(struct shard *s, struct shard *to);
