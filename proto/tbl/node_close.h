/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a connection between nodes ends, once. Included with NODE_CLOSE() defined.
 *
 * Numbers are given once and for all: they go over the wire in CLOSE.
 *
 *          name             number  refused: by what the peer says of itself   text
 */
/* clang-format off */
NODE_CLOSE(NONE,             0,  false, "it does not")
NODE_CLOSE(BROKEN,           1,  false, "the connection broke")
NODE_CLOSE(SILENT,           2,  false, "nothing came for too long")
NODE_CLOSE(NO_HELLO,         3,  false, "it did not begin with a HELLO in time")
NODE_CLOSE(MALFORMED,        4,  false, "a frame was malformed")
NODE_CLOSE(TOO_LARGE,        5,  false, "a frame was larger than was agreed")
NODE_CLOSE(UNKNOWN_CRITICAL, 6,  false, "a frame of a later version, that must be understood")
NODE_CLOSE(OUT_OF_ORDER,     7,  false, "a number was left out, or acknowledged before it was sent")
NODE_CLOSE(REPLACED,         8,  false, "a newer connection has taken its place")
NODE_CLOSE(STALLED,          9,  false, "it took nothing for too long")
NODE_CLOSE(NO_MEMORY,        10, false, "out of memory")
NODE_CLOSE(SHUTDOWN,         11, false, "the node ends")
NODE_CLOSE(GIVEN_UP,         12, false, "what it was owed was given up")
NODE_CLOSE(NOT_TRUSTED,      13, false, "its certificate is not trusted any more")
NODE_CLOSE(OTHER_CLUSTER,    16, true,  "it is of another cluster")
NODE_CLOSE(ITSELF,           17, true,  "it is this very node")
NODE_CLOSE(WRONG_NODE,       18, true,  "it is not the node that was called")
NODE_CLOSE(VERSION,          19, true,  "there is no version of the protocol that both speak")
NODE_CLOSE(OLD_GENERATION,   20, true,  "the node has been started again since")
NODE_CLOSE(NOT_THE_DIALER,   21, true,  "the node with the lower UUID is to call the other")
NODE_CLOSE(UNKNOWN_NODE,     22, true,  "it is no member that is known here")
NODE_CLOSE(NOT_ENCRYPTED,    23, true,  "one of the two requires encryption, and the other does not have it")
/* clang-format on */
#undef NODE_CLOSE
