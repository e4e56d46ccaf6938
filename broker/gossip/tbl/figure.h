/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted of a cluster. Included with FIGURE_GAUGE() and FIGURE_TOTAL() defined, where `f`
 * is a struct gossiper_figures; and REFUSED() of why a message was not opened (cluster/seal.h). */
/* clang-format off */
#ifndef REFUSED
#define REFUSED(reason, name)
#endif
#ifndef FIGURE_GAUGE
#define FIGURE_GAUGE(name, value, what)
#define FIGURE_TOTAL(name, value, what)
#endif
/*           name                    value                           what */
FIGURE_GAUGE(members_alive,          f.alive,                        "nodes of the cluster that live, this one among them; 0 without a cluster")
FIGURE_GAUGE(members_suspect,        f.suspect,                      "nodes of the cluster that have not answered, and may be dead")
FIGURE_GAUGE(members_dead,           f.dead,                         "nodes of the cluster that died within the last day and have not come back")
FIGURE_GAUGE(members_left,           f.left,                         "nodes of the cluster that were ended in order within the last day")
FIGURE_GAUGE(clients,                f.clients,                      "clients of the nodes that live, this one among them, as they have said; some seconds old")
FIGURE_GAUGE(members_draining,       f.draining,                     "nodes of the cluster that send their clients away")
FIGURE_GAUGE(awareness,              f.membership.awareness,         "how badly this node itself seems to do as one who watches others: 0 well, 7 badly")
FIGURE_GAUGE(rumours,                f.membership.rumours,           "news about nodes that are being told to others")
FIGURE_GAUGE(streams,                f.streams,                      "connections by which nodes exchange all that they know")
FIGURE_GAUGE(seeds_failed,           f.seeds_failed,                 "seeds that had no address when they were looked up last")
FIGURE_TOTAL(probes,                 f.membership.probes,            "times that another node was probed")
FIGURE_TOTAL(probes_failed,          f.membership.probes_failed,     "probes that nothing answered")
FIGURE_TOTAL(probes_by_others,       f.membership.probes_by_others,  "probes that were answered by way of another node only")
FIGURE_TOTAL(probes_by_stream,       f.membership.probes_by_stream,  "probes that were answered by TCP only: is UDP let through?")
FIGURE_TOTAL(suspicions,             f.membership.suspicions,        "times that this node suspected another one")
FIGURE_TOTAL(refutations,            f.membership.refutations,       "times that this node was suspected and said that it lives")
FIGURE_TOTAL(deaths,                 f.membership.deaths,            "nodes that this node declared dead")
FIGURE_TOTAL(members_refused,        f.membership.members_refused,   "nodes that were not taken for a member, as there are so many")
FIGURE_TOTAL(stalls,                 f.membership.stalls,            "times that this node stood still for so long that it could not judge others")
FIGURE_TOTAL(conflicts,              f.conflicts,                    "times that another process was found to say that it is this node")
FIGURE_TOTAL(datagrams_received,     f.datagrams_received,           "datagrams that came from anybody")
FIGURE_TOTAL(datagrams_sent,         f.datagrams_sent,               "datagrams sent to other nodes")
FIGURE_TOTAL(datagrams_dropped,      f.datagrams_dropped,            "messages to other nodes that could not be sent")
FIGURE_TOTAL(connections_accepted,   f.streams_accepted,             "TCP connections accepted at cluster.listen")
FIGURE_TOTAL(connections_displaced,  f.streams_displaced,            "of those and of our own, closed because another one wanted the place")
FIGURE_TOTAL(connections_timed_out,  f.streams_timed_out,            "of those and of our own, closed when their time was over")
FIGURE_TOTAL(links_accepted,         f.links_accepted,               "connections for links that another node has made, and that has proved that it is of the cluster")
FIGURE_TOTAL(links_dialed,           f.links_dialed,                 "connections for links that were made to another node, which has proved it likewise")
FIGURE_TOTAL(links_refused,          f.links_refused,                "connections for links that ended before they were one: no proof, or of no node that is known")
FIGURE_TOTAL(links_failed,           f.links_failed,                 "times that another node was called for a link, and that failed")
FIGURE_TOTAL(links_encrypted,        f.links_encrypted,              "of the connections for links that were accepted or made, those that are encrypted")
FIGURE_TOTAL(tls_failed,             f.tls_failed,                   "connections for links whose TLS handshake failed, or that one end wanted encrypted and the other not")
FIGURE_TOTAL(peers_refused,          f.peers_refused,                "times that a node got no links, as there are so many")

REFUSED(MALFORMED,     malformed)
REFUSED(FORGED,        forged)
REFUSED(REPLAYED,      replayed)
REFUSED(EARLIER_START, earlier_start)
REFUSED(TWIN,          twin)
REFUSED(OWN,           own)
/* clang-format on */
#undef REFUSED
#undef FIGURE_GAUGE
#undef FIGURE_TOTAL
