/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every frame that nodes send each other, once. Included with NODE_FRAME() defined.
 *
 * Numbers are given once and for all: a later version adds rows, and never changes or reuses one.
 * A receiver skips a type that it does not know, unless the frame is CRITICAL.
 *
 *          name               number  text
 */
/* clang-format off */
NODE_FRAME(HELLO,             1,     "HELLO")             /* first on each connection, both ways */
NODE_FRAME(CLOSE,             2,     "CLOSE")             /* last, and why */
NODE_FRAME(ACK,               3,     "ACK")               /* its header says all */
NODE_FRAME(PING,              4,     "PING")              /* I am there */
NODE_FRAME(CREDIT,            5,     "CREDIT")            /* so much may be unacknowledged */
NODE_FRAME(GAP,               6,     "GAP")               /* these numbers will not come */
NODE_FRAME(PUBLISH,           16,    "PUBLISH")           /* a message */
NODE_FRAME(RESULT,            17,    "RESULT")            /* what became of messages */
NODE_FRAME(CLOCK,             18,    "CLOCK")             /* what the sender's clock on the wall shows */
NODE_FRAME(INTEREST_DELTA,    32,    "INTEREST_DELTA")    /* the sender's interest has changed */
NODE_FRAME(INTEREST_SNAPSHOT, 33,    "INTEREST_SNAPSHOT") /* a part of all of it */
NODE_FRAME(INTEREST_DIGEST,   34,    "INTEREST_DIGEST")   /* what it should come to */
NODE_FRAME(INTEREST_ACK,      35,    "INTEREST_ACK")      /* how far the receiver's is known */
NODE_FRAME(CLAIM_OWNER,       48,    "CLAIM_OWNER")       /* the client ids that the sender owns */
NODE_FRAME(CLAIM_HOLDS,       49,    "CLAIM_HOLDS")       /* what the sender's clients are, to their owner */
NODE_FRAME(CLAIM_ACK,         50,    "CLAIM_ACK")         /* the owner has taken it */
NODE_FRAME(CLAIM_WORDS,       51,    "CLAIM_WORDS")       /* what the owner says about them */
NODE_FRAME(RETAINED_DIGEST,   52,    "RETAINED_DIGEST")   /* what the sender's retained messages come to */
NODE_FRAME(RETAINED_ASK,      53,    "RETAINED_ASK")      /* for what is in a part of them */
NODE_FRAME(RETAINED_SUMS,     54,    "RETAINED_SUMS")     /* what the parts of a part come to */
NODE_FRAME(RETAINED_ITEMS,    55,    "RETAINED_ITEMS")    /* messages, and what has gone */
NODE_FRAME(RELAY_OPEN,        64,    "RELAY_OPEN")        /* a client's connection, whose socket stays */
NODE_FRAME(RELAY_DATA,        65,    "RELAY_DATA")        /* bytes of it */
NODE_FRAME(RELAY_CREDIT,      66,    "RELAY_CREDIT")      /* as many more may be sent of it */
NODE_FRAME(RELAY_END,         67,    "RELAY_END")         /* the last word of it */
NODE_FRAME(DISPATCH,          80,    "DISPATCH")          /* a message for the leaders of partitions */
NODE_FRAME(DISPATCHED,        81,    "DISPATCHED")        /* what has become of such */
NODE_FRAME(LEASE_ASK,         82,    "LEASE_ASK")         /* may the sender know that there are no subscribers? */
NODE_FRAME(LEASE,             83,    "LEASE")             /* it may, of these partitions, for so long */
NODE_FRAME(LEADS,             84,    "LEADS")             /* the partitions that the sender leads */
NODE_FRAME(CONSENSUS,         96,    "CONSENSUS")         /* between the servers of a Raft group */
NODE_FRAME(META_MEMBER,       97,    "META_MEMBER")       /* of which cluster the sender is, and who in it */
NODE_FRAME(META_STATE,        98,    "META_STATE")        /* what META's log comes to, asked for or told */
NODE_FRAME(META_REPORT,       99,    "META_REPORT")       /* what META's leader has to know of the sender's partitions */
NODE_FRAME(PARTITION_COPY,    100,   "PARTITION_COPY")    /* records of a partition, asked for or told */
NODE_FRAME(META_FORM,         104,   "META_FORM")         /* how a cluster is formed */
/* clang-format on */
#undef NODE_FRAME
