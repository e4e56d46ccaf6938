/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every key of the configuration, once: the schema, the names in the environment, --set, the dump,
 * the range checks, and the check of docs/dunlin.yaml and docs/configuration.md come from here. The
 * field of the same name in broker/config/config.h is all that a new key needs besides.
 *
 *   GROUP(group) … END(group)      struct config_<group>, member <group> of struct config
 *   KEY(group, name, …)            a value in a group:           group.name
 *   ALONE(name, …)                 a value at the top:           name
 *   LIST(list, type, max) … END_LIST(list, type, max)            a list of mappings
 *   ITEM(list, type, name, …)      a value of each of them:      list.0.name
 *
 * … is: type, default, unit, when a change takes effect, what it is for. Types: UINT(min, max),
 * SIZE(min, max) in bytes, BOOL, TEXT(bytes at most), URL, CHOICE(set of tbl/choice.h). A change is
 * taken over by a reload (LIVE) or only by the next start (AT_START). The first of a list may have
 * NULL for a default: each entry has to say it, and there is none unless somebody makes one.
 * Included with those that are wanted defined; all are undefined afterwards.
 */
#ifndef GROUP
#define GROUP(group)
#define END(group)
#endif
#ifndef KEY
#define KEY(group, name, type, by_default, unit, when, help)
#endif
#ifndef ALONE
#define ALONE(name, type, by_default, unit, when, help)
#endif
#ifndef LIST
#define LIST(list, type, max)
#define END_LIST(list, type, max)
#endif
#ifndef ITEM
#define ITEM(list, type, name, value, by_default, unit, when, help)
#endif

/* clang-format off */
GROUP(node)
KEY(node, name, TEXT(64), "", "", AT_START,
    "What the others of a cluster, logs and the API call this node: letters, digits, '-', '_' and '.'. It may change, and says nothing about "
    "who the node is. Empty: the name of the host, with '-' in the place of anything else.")
KEY(node, shards, UINT(0, 32), "0", "threads", AT_START,
    "Threads that each own connections and sessions. 0: as many as processors are really usable "
    "(affinity and cgroup quota counted).")
END(node)

GROUP(cluster)
KEY(cluster, listen, TEXT(255), "", "", AT_START,
    "HOST:PORT where the other nodes of the cluster reach this one, by UDP and by TCP. HOST is an IPv4 address, [an IPv6 address], localhost, "
    "or * for all IPv4 addresses. Empty: there is no cluster.")
KEY(cluster, advertise, TEXT(255), "", "", AT_START,
    "ADDRESS:PORT that the others are told for it. Empty: cluster.listen; where that is all addresses, the one by which the first seed is reached.")
KEY(cluster, seeds, TEXT(4095), "", "", AT_START,
    "Where nodes of the cluster may be found, separated by commas, 16 at most: HOST:PORT, of which every address is tried that HOST has, or srv:NAME, "
    "the hosts and ports that DNS has as SRV records of NAME. It may name this node, too. They are asked again as long as it runs; what DNS does not "
    "name any more stays a member.")
KEY(cluster, name, TEXT(64), "dunlin", "", AT_START,
    "Which cluster: nodes of another one are not listened to.")
KEY(cluster, key_file, TEXT(4095), "", "", AT_START,
    "File with the key of the cluster: 32 random bytes in base64, as `openssl rand -base64 32` makes them; or two such lines, of which the first is used, and either "
    "is understood (docs/cluster.md, to change it). Read again when it changes, and at a reload. Empty: only where cluster.listen is a loopback address.")
KEY(cluster, rebalance_after_s, UINT(0, 86400), "600", "seconds", LIVE,
    "When no node of the cluster has come or gone for so long, one that has more than 1.15 times the mean of all nodes' clients begins to send away "
    "those above the mean (0x9C), so that a load balancer gives them to others. Only clients whose sessions end with their connections are sent away.")
KEY(cluster, rebalance_clients_per_second, UINT(0, 10000), "50", "clients", LIVE,
    "How many of them in a second, at most. 0: none are sent away.")
KEY(cluster, tls, CHOICE(cluster_tls), "off", "", AT_START,
    "Whether what is sent over the connections between nodes is encrypted: off, offered (where both nodes offer or require it), or required (no node that does not is connected to). "
    "TLS 1.3, and each end shows its certificate. From off to required without a pause: docs/cluster.md.")
KEY(cluster, tls_certificate, TEXT(4095), "", "", AT_START,
    "With cluster.tls: file with this node's certificate (PEM) and, behind it, those between it and the root. It shows it to nodes that call and to those that it calls: "
    "if it has an extended key usage, that has to have both serverAuth and clientAuth. Read again when it changes, with the three below; connections stay.")
KEY(cluster, tls_key, TEXT(4095), "", "", AT_START,
    "With cluster.tls: file with the private key (PEM) of that certificate.")
KEY(cluster, tls_ca, TEXT(4095), "", "", AT_START,
    "With cluster.tls: file with the certificates (PEM) that other nodes' have to be signed by. When it or cluster.tls_crl has changed, connections to nodes that would not be let in any more are ended.")
KEY(cluster, tls_crl, TEXT(4095), "", "", AT_START,
    "With cluster.tls: file with the revocation lists (PEM) of those who sign nodes' certificates; each of them has to have one. Empty: nothing is looked up.")
KEY(cluster, replicas, UINT(0, 5), "0", "copies", AT_START,
    "How many nodes have a copy of each kept session: 1, 3 or 5, the same on all nodes. 0: a kept session is on one node, and out of reach while that is away. It needs cluster.listen and data.dir, "
    "and data.durability other than memory. What it does, and what it does not do yet: docs/cluster.md.")
KEY(cluster, initial_size, UINT(0, 32), "0", "nodes", AT_START,
    "With cluster.replicas: how many nodes form the cluster at its first start, together; the same on all of them, and more than half of those that there will be then. It is of no meaning later. "
    "0: as many as cluster.replicas.")
KEY(cluster, zone, TEXT(64), "", "", AT_START,
    "With cluster.replicas: what this node fails with, such as the name of its rack or availability zone. Copies of a session are in different zones as far as there are such.")
END(cluster)

GROUP(process)
KEY(process, user, TEXT(255), "", "", AT_START,
    "User that the process becomes when its listeners are bound, if it was started as root: USER or USER:GROUP, each a name or a "
    "number. Files are read as that user, from the start on. Empty: it stays who it is.")
KEY(process, io, CHOICE(io), "auto", "", AT_START,
    "What the shards wait for the kernel with: io_uring; epoll; or auto, which is io_uring, and epoll with a warning where the "
    "kernel or a container's profile refuses that (docs/io.md). With io_uring and refused, the start fails.")
KEY(process, core_dumps, BOOL, "false", "", AT_START,
    "Whether a crash may leave the process's memory in a file, and a debugger of the same user may look into it. There are "
    "passwords, keys and messages in it.")
KEY(process, seccomp, BOOL, "true", "", AT_START,
    "Whether system calls that no broker makes are refused to it by the kernel (docs/hardening.md).")
END(process)

LIST(listeners, struct config_listener, CONFIG_LISTENERS_MAX)
ITEM(listeners, struct config_listener, url, URL, "tcp://127.0.0.1:1883", "", AT_START,
    "Where to listen, and for what: tcp:// (MQTT), tls:// (MQTT in TLS), ws:// and wss:// (MQTT in WebSocket, "
    "the latter in TLS), each with HOST:PORT; or unix:///PATH. HOST is an IPv4 address, [an IPv6 address], "
    "localhost, or * for all IPv4 addresses; PORT 0 is any free port, which the log then tells. ws:// and "
    "wss:// may have a path behind it: requests for another one are refused (404). The default is one entry.")
ITEM(listeners, struct config_listener, unix_mode, TEXT(4), "", "", AT_START,
    "Of a Unix socket: its mode, in octal digits, as in 0660. Empty: what the umask makes of 0777.")
ITEM(listeners, struct config_listener, certificate, TEXT(4095), "", "", AT_START,
    "Of tls:// and wss://: file with the server's certificate and, behind it, those between it and the "
    "root (PEM). Several are separated by commas: a client that names the host it wants (SNI) gets the first "
    "one that is for that name; all others get the first. The files are read again when they change, and at a reload.")
ITEM(listeners, struct config_listener, key, TEXT(4095), "", "", AT_START,
    "Of tls:// and wss://: file with the private key (PEM) of the certificate; several as with those.")
ITEM(listeners, struct config_listener, client_certificate, CHOICE(client_certificate), "none", "", AT_START,
    "Of tls:// and wss://: whether clients have to show a certificate: none (they are not asked), optional (a "
    "client may have none; one that is not good is refused), or required. Where they are asked there is no "
    "resumption: each handshake checks the certificate anew.")
ITEM(listeners, struct config_listener, client_ca, TEXT(4095), "", "", AT_START,
    "Of tls:// and wss://: file with the certificates (PEM) that clients' have to be signed by. Read again when it changes: as with crl.")
ITEM(listeners, struct config_listener, crl, TEXT(4095), "", "", AT_START,
    "Of tls:// and wss://: file with the revocation lists (PEM) of those who sign clients' certificates; each of "
    "them has to have one in it. Empty: nothing is revoked. Read again when it changes: who is connected with a "
    "certificate that would not let it in any more is disconnected (0x87).")
ITEM(listeners, struct config_listener, user_from, CHOICE(name_from), "none", "", AT_START,
    "The name in a client's certificate that is its user name: none, common_name, or of the subject alternative name "
    "san_dns, san_uri, or san_email. Needs the method certificate in auth.methods. A name that is not usable (missing, "
    "several of the kind, over 255 bytes, not UTF-8, with control characters, with an asterisk in a common or DNS name) "
    "makes nobody a user. Behind a load balancer, with proxy_protocol: common_name, of a certificate that it found good.")
ITEM(listeners, struct config_listener, client_id_from, CHOICE(name_from), "none", "", AT_START,
    "The same for the client identifier: a CONNECT may leave it out, or has to have that one; with another one, or a "
    "certificate that has no such name, it is refused (0x85, before MQTT 5: 2).")
ITEM(listeners, struct config_listener, tls_min, CHOICE(tls_version), "1.2", "", AT_START,
    "Of tls:// and wss://: the oldest version of TLS that is spoken.")
ITEM(listeners, struct config_listener, ciphers, TEXT(1024), "", "", AT_START,
    "Of tls:// and wss://: cipher suites, best first, separated by colons, in the names of OpenSSL. Empty: those with an "
    "ephemeral key exchange and authenticated encryption (AES-GCM, ChaCha20-Poly1305).")
ITEM(listeners, struct config_listener, proxy_protocol, CHOICE(proxy_protocol), "off", "", AT_START,
    "Whether connections begin with the header of the PROXY protocol (version 1 or 2), in which a load balancer tells who "
    "its client is: off (it is malformed input then) or required.")
ITEM(listeners, struct config_listener, proxy_from, TEXT(1024), "", "", AT_START,
    "With proxy_protocol: the load balancers' addresses or ranges, as in 10.0.0.0/8, separated by commas. Whoever "
    "connects from elsewhere is refused. Required then.")
ITEM(listeners, struct config_listener, origins, TEXT(1024), "", "", AT_START,
    "Of ws:// and wss://: the origins whose pages may connect, as in https://example.org, separated by commas. "
    "Others are refused (403); a client that is no browser names none, and may. Empty: any.")
ITEM(listeners, struct config_listener, connections_max, UINT(0, 10000000), "0", "connections", AT_START,
    "Connections by this listener at a time; who comes above it is refused (0x97), as above limits.connections_max, which "
    "counts those of all listeners. 0: that alone.")
END_LIST(listeners, struct config_listener, CONFIG_LISTENERS_MAX)

ALONE(allow_anonymous, BOOL, "false", "", AT_START,
    "Whether clients may connect of whom nothing is known. Without it, and without auth.password_file, token.keys_file, token.keys_url or http.url, "
    "only these listeners are opened: on loopback addresses, Unix sockets, and those that require client certificates or have "
    "user_from. With one of those: whether clients may connect without a user name; by listeners that require client "
    "certificates, and do not take user names from them, they always may.")

GROUP(auth)
KEY(auth, methods, TEXT(255), "certificate,token,password,http", "", LIVE,
    "The ways to find out who a client is, in the order in which they are asked, separated by commas: certificate "
    "(listeners.*.user_from), token (token.keys_file, token.keys_url), password (auth.password_file), http (http.url). Each says yes, no, or leaves it to "
    "the next; one that is not configured is passed over. A client that gives a user name or password and that none says yes to is refused.")
KEY(auth, password_file, TEXT(4095), "", "", AT_START,
    "File of users and hashes of their passwords, made by dunlin passwd, or Mosquitto's. Clients that give a user name or "
    "password are let in if they are right. Read again when it changes, and at a reload: who is not in it any more, or "
    "with another password, is disconnected (0x87). A file with a mistake leaves the former in force. Empty: nobody is "
    "asked; user names mean nothing.")
KEY(auth, failures_per_minute, UINT(0, 1000000), "20", "passwords", LIVE,
    "Wrong passwords that an address (of IPv6: 64 bits of it) and a user may each have in a minute; further ones are "
    "refused without being looked at (0x9F, before MQTT 5: 3), and counted. Who was let in before, since the start, still "
    "is. 0: any number.")
KEY(auth, ban_file, TEXT(4095), "", "", AT_START,
    "File of client ids, users and addresses that may not connect, changed by dunlin ban. Read again when it changes, and "
    "at a reload: who is in it then is disconnected (0x98), and refused from then on (0x8A, before MQTT 5: 5). A file with "
    "a mistake leaves the former in force. Empty: nobody is banned.")
KEY(auth, flapping_connects_per_minute, UINT(0, 1000000), "0", "connections", LIVE,
    "Times that a client id may connect from one address (of IPv6: 64 bits of it) in a minute, as many of them at once; "
    "with the next one it is banned for flapping_ban_s (0x8A, before MQTT 5: 5). Those count that would be let in, "
    "however the connections before them ended. 0: any number.")
KEY(auth, flapping_ban_s, UINT(1, 86400), "300", "seconds", LIVE,
    "How long a client id and address are banned that connect more often than flapping_connects_per_minute.")
END(auth)

GROUP(token)
KEY(token, keys_file, TEXT(4095), "", "", AT_START,
    "File with the keys that JSON Web Tokens are signed with: public keys (PEM), or a set of keys (JWKS). Clients that give "
    "such a token as their password are let in if it is good (docs/tokens.md). Read again when it changes, and at a reload: "
    "who came in by a key that is not in it any more is disconnected (0x87). A file with a mistake leaves the former in "
    "force. Empty: tokens mean nothing.")
KEY(token, keys_url, TEXT(2048), "", "", AT_START,
    "Server that has the keys (JWKS), as in https://issuer.example.org/jwks.json, instead of keys_file; with both, the keys of both count. "
    "They are fetched at the start, every keys_refresh_s, when a token names a key that is unknown, and at a reload. Who came in by "
    "a key that is not among them any more is disconnected (0x87). While there is no good answer the former stay in force; while "
    "there were none yet, tokens are refused with 0x88 (before MQTT 5: 3). Empty: none.")
KEY(token, keys_ca_file, TEXT(4095), "", "", AT_START,
    "File with the certificates (PEM) that an https:// server of keys_url has to be signed by. Empty: those that the system trusts.")
KEY(token, keys_timeout_ms, UINT(100, 60000), "5000", "milliseconds", AT_START,
    "Keys that have not come by then are not waited for any longer.")
KEY(token, keys_refresh_s, UINT(1, 86400), "300", "seconds", AT_START,
    "How often keys are fetched from keys_url.")
KEY(token, keys_pause_s, UINT(1, 3600), "10", "seconds", AT_START,
    "Least time between two requests to keys_url, for whatever reason: also how soon it is asked again when it gave no good answer.")
KEY(token, issuer, TEXT(1024), "", "", LIVE,
    "Who has to have issued a token (claim iss). Empty: anybody with one of the keys.")
KEY(token, audience, TEXT(1024), "", "", LIVE,
    "For whom a token has to be (claim aud, which may be a list). Empty: tokens with that claim are for somebody else, and refused.")
KEY(token, leeway_s, UINT(0, 3600), "30", "seconds", LIVE,
    "How far our clock and an issuer's may be apart: so much later a token ends, and so much earlier it is good.")
KEY(token, require_expiry, BOOL, "true", "", LIVE,
    "Whether a token without an end (claim exp) is refused.")
KEY(token, user_claim, TEXT(255), "sub", "", LIVE,
    "The claim that is the user's name, of at most 256 bytes.")
KEY(token, user_name_must_match, BOOL, "true", "", LIVE,
    "Whether the user name of CONNECT, if it has one, has to be the token's. Otherwise it does not count.")
KEY(token, client_id_claim, TEXT(255), "client_id", "", LIVE,
    "The claim that, if it is there, has to be the client identifier. Empty: none.")
KEY(token, groups_claim, TEXT(255), "groups", "", LIVE,
    "The claim that names the groups that its bearer is in, for rules of acl.file with group=: an array of at most 256 strings of 1 to "
    "255 bytes, or one string of names with blanks or commas between them. With anything else the token is refused. Empty: none.")
KEY(token, acl_claim, TEXT(255), "acl", "", LIVE,
    "The claim in which a token may bring rules of its own (docs/authorization.md), which are asked before those of acl.file. Empty: none.")
END(token)

GROUP(acl)
KEY(acl, file, TEXT(4095), "", "", AT_START,
    "File of rules: who may publish, and subscribe to what (docs/authorization.md). What no rule is about is denied, unless "
    "the file says otherwise. Read again when it changes, and at a reload; the rules are in force at once, also for clients "
    "that are connected, and for messages that wait for them. A file with a mistake leaves the former in force. Empty: "
    "clients may subscribe to everything, and publish everything but $SYS/…, unless they have rules of their own.")
END(acl)
GROUP(http)
KEY(http, url, TEXT(2048), "", "", AT_START,
    "Server that is asked whether a client may come in, as in https://auth.example.org/mqtt (docs/http-callback.md). With it "
    "all listeners are opened. Empty: none.")
KEY(http, authorization_file, TEXT(4095), "", "", AT_START,
    "File whose first line is the value of the Authorization header, as in Bearer 3f7a. Empty: none is sent.")
KEY(http, ca_file, TEXT(4095), "", "", AT_START,
    "File with the certificates (PEM) that an https:// server has to be signed by. Empty: those that the system trusts.")
KEY(http, timeout_ms, UINT(100, 60000), "2000", "milliseconds", AT_START,
    "An answer that has not come by then is none.")
KEY(http, in_flight_max, UINT(1, 1000), "32", "requests", AT_START,
    "Requests to the server at a time, each by a connection of its own that is kept; further ones wait.")
KEY(http, waiting_max, UINT(0, 1000000), "1000", "requests", AT_START,
    "Requests that wait at most; clients above that are refused (0x89, before MQTT 5: 3), and come again.")
KEY(http, remember_s, UINT(0, 86400), "60", "seconds", LIVE,
    "How long an answer is remembered, for the same client with the same password from the same address; a refusal for 5 "
    "seconds at most. 0: not at all.")
KEY(http, when_away, CHOICE(when_away), "deny", "", LIVE,
    "What comes of a client while the server does not answer, or not as it should: deny (0x88, before MQTT 5: 3) or ignore (the next of "
    "auth.methods is asked).")
END(http)

GROUP(tls)
KEY(tls, ticket_keys, TEXT(4095), "", "", AT_START,
    "File with 1 to 4 keys, one a line, each 64 hexadecimal digits or more, that the tickets of TLS resumption are sealed "
    "with: by the first; tickets of the others are still taken. With the same file all nodes take each other's tickets. "
    "Read again when it changes. Empty: a random key, until the process ends.")
END(tls)

GROUP(admin)
KEY(admin, listen, TEXT(255), "", "", AT_START,
    "HOST:PORT for HTTP requests of the operator and the operator's machines: /metrics (Prometheus), /livez, /readyz, which tell figures "
    "only and ask nobody for a key; and /api/v1, which does (docs/api.md). HOST as in a listener's URL; one that is no loopback "
    "address needs keys_file. Empty: nowhere.")
KEY(admin, certificate, TEXT(4095), "", "", AT_START,
    "File with the certificate (PEM), and behind it those between it and the root, for HTTPS. Empty: HTTP, by which keys are sent readably. "
    "The files are read again when they change, for who connects afterwards.")
KEY(admin, key, TEXT(4095), "", "", AT_START,
    "File with the private key (PEM) of that certificate.")
KEY(admin, keys_file, TEXT(4095), "", "", AT_START,
    "File of who may use /api/v1, and with which role, made by dunlin admin-key. Read again when it changes, and at a reload. A file with a "
    "mistake leaves the former in force. Empty: nobody may, not even from a loopback address.")
KEY(admin, backup_dir, TEXT(3072), "", "", AT_START,
    "Directory into which backups of data.dir go that are asked for by /api/v1/backup, each into one of its own. Empty: none are taken that "
    "way; dunlin backup needs no setting.")
END(admin)

GROUP(drain)
KEY(drain, wait_s, UINT(0, 3600), "0", "seconds", LIVE,
    "At SIGTERM: how long clients still come in, while /readyz says no, so that a load balancer sees it before anybody is refused. As long as it needs "
    "for that: its interval times the failures that it waits for. 0: without a load balancer.")
KEY(drain, clients_per_second, UINT(1, 1000000), "1000", "clients", LIVE,
    "Then nobody comes in any more, and as many clients are disconnected in a second (0x8B), so that they do not all come back at once, here or elsewhere. "
    "More in a second where there are more than that makes in longest_s.")
KEY(drain, longest_s, UINT(1, 3600), "20", "seconds", LIVE,
    "How long that may take at most. Whoever ends the process (TimeoutStopSec of systemd, terminationGracePeriodSeconds of Kubernetes) has to leave "
    "wait_s, this, and some seconds for the disk.")
END(drain)

GROUP(data)
KEY(data, dir, TEXT(4095), "", "", AT_START,
    "Directory of this node, used by one process at a time: its lock, its identity (node.id), and what has to outlive the "
    "process: sessions whose expiry interval is above 0, with what is queued for them, and retained messages. "
    "Empty: nothing is written to disk.")
KEY(data, durability, CHOICE(durability), "sync", "", AT_START,
    "When a message is acknowledged that is kept. sync: when it is on disk. interval: at once; the disk is synced every "
    "sync_interval_ms, and a crash of the machine or the process loses what came since. memory: at once; nothing is written but "
    "checkpoints, and a crash loses what came since the last one.")
KEY(data, sync_interval_ms, UINT(10, 60000), "1000", "milliseconds", AT_START,
    "Time between two syncs with durability interval. For durability interval of topics, 50 ms if this is more.")
KEY(data, checkpoint_interval_s, UINT(1, 86400), "60", "seconds", AT_START,
    "Time between two checkpoints, which tell the next start where the journal's part begins. A checkpoint is also made whenever "
    "the journal has grown by a segment.")
KEY(data, journal_segment_bytes, SIZE(1048576, 4294967296), "33554432", "bytes", AT_START,
    "Size of the files of the journal; each shard has two, and more while a checkpoint is being made. At least four times as "
    "large as the largest packet: a smaller value is taken for that.")
KEY(data, checkpoint_bytes_max, SIZE(1073741824, 17592186044416), "1099511627776", "bytes", AT_START,
    "Size that the checkpoint's file may have. It grows as needed; where it may grow no further, what has to be kept is refused.")
END(data)

LIST(topics, struct config_topic, CONFIG_TOPICS_MAX)
ITEM(topics, struct config_topic, filter, TEXT(1024), NULL, "", LIVE,
    "Topic filter, as in sensors/#, of messages that are acknowledged otherwise than data.durability says, which is sync then. Of several "
    "entries, 16 at most, the first that matches counts; where none does, sync.")
ITEM(topics, struct config_topic, durability, CHOICE(topic_durability), "interval", "", LIVE,
    "When a message of these topics is acknowledged. sync: when it is on disk, as without the entry, for what a later one is not to take in. "
    "interval: at QoS 1 at once; it is on disk 50 ms later, or data.sync_interval_ms if that is less, and a crash of the machine or the "
    "process loses what came since. So is a retained message. QoS 2 and everything else waits for the disk. There is no memory: such "
    "messages are in the journal with all others, and would be written as often.")
END_LIST(topics, struct config_topic, CONFIG_TOPICS_MAX)

GROUP(recorder)
KEY(recorder, bytes_per_shard, UINT(0, 1073741824), "4194304", "bytes", AT_START,
    "What each shard remembers of the packets that came and went last, and of what was dropped or refused and why: heads only, no payload and no "
    "password. 65536 at least. 0: nothing.")
KEY(recorder, dir, TEXT(4095), "", "", AT_START,
    "Directory that it is written to: at SIGQUIT, when a shard stands still, memory is full or the disk fails, and when the process crashes. Empty: "
    "data.dir, if there is one.")
END(recorder)

GROUP(log)
KEY(log, level, CHOICE(log_level), "info", "", LIVE,
    "The least important lines that are still written: error, warning, info, or debug.")
KEY(log, format, CHOICE(log_format), "logfmt", "", LIVE,
    "logfmt (key=value) or json (one object a line), to stderr.")
END(log)

GROUP(limits)
KEY(limits, connections_max, UINT(1, 10000000), "100000", "connections", LIVE,
    "Clients at a time. At the limit a CONNECT is refused (0x97, before MQTT 5: 3); connections "
    "that are more than 100 above it are closed at once. Both are counted.")
KEY(limits, connect_timeout_s, UINT(1, 3600), "10", "seconds", LIVE,
    "Time from the connection's opening, or the end of its handshake, to a whole CONNECT, and to the end of an exchange of AUTH "
    "that it begins. After it the connection is closed. A client that authenticates again has as long (0x87).")
KEY(limits, handshake_timeout_s, UINT(1, 3600), "10", "seconds", LIVE,
    "Time from the connection's opening to the end of what comes before MQTT: the PROXY header, and the handshakes "
    "of TLS and WebSocket. After it the connection is closed.")
KEY(limits, handshakes_max, UINT(1, 1000000), "2000", "connections", LIVE,
    "Connections that may be at their PROXY header, TLS, or WebSocket handshake at a time; one of TLS may take "
    "some 60 KiB. For a further one that goes which has kept us waiting for longest; while all wait for us, the "
    "further one. Both are counted.")
KEY(limits, connections_per_second, UINT(0, 1000000), "0", "connections", LIVE,
    "Connections that the node accepts in a second, as many of them at once. Further ones are not refused: they wait in "
    "the kernel's backlog. Both whoever comes and whoever comes back counts. 0: any number.")
KEY(limits, connections_per_second_per_address, UINT(0, 1000000), "1000", "connections", LIVE,
    "Connections that one address (of IPv6: 64 bits of it) may open in a second, as many of them at once; with a PROXY "
    "header that address counts which it tells. Further ones are closed at once, before TLS, and counted. Unix sockets "
    "have no address. Set it to 0, or higher, where many clients share an address: behind a load balancer "
    "without the PROXY protocol. 0: any number.")
KEY(limits, publish_messages_per_second, UINT(0, 10000000), "0", "messages", LIVE,
    "PUBLISH packets that one client may send in a second, as many of them at once. Above it nothing is read from that "
    "client until it is within it again: nothing is lost, and it is not disconnected. 0: any number.")
KEY(limits, publish_bytes_per_second, SIZE(0, 1ull << 40), "0", "bytes", LIVE,
    "Bytes of topics, properties and payloads that one client may publish in a second, as many of them at once; a larger "
    "message is taken, and waited for afterwards. Above it the same happens as for messages. 0: any number.")
KEY(limits, packet_bytes_max, UINT(128, 268435460), "1048576", "bytes", LIVE,
    "Largest MQTT packet, its header included. A larger one ends the connection (0x95); MQTT 5 "
    "clients are told the limit in CONNACK.")
KEY(limits, receive_maximum, UINT(1, 65535), "1024", "messages", LIVE,
    "QoS 1 and 2 PUBLISH packets that a client may have unacknowledged. More than that ends an "
    "MQTT 5 connection (0x93), which is told the limit in CONNACK.")
KEY(limits, inflight_max, UINT(1, 65535), "1024", "messages", LIVE,
    "QoS 1 and 2 messages that may be unacknowledged towards a client; its own Receive Maximum "
    "counts where it is lower. Further messages wait in the session's queue.")
KEY(limits, session_queue_messages_max, UINT(1, 4294967295), "10000", "messages", LIVE,
    "Messages that may wait for one client, connected or not. At the limit: session_queue_full.")
KEY(limits, session_queue_bytes_max, SIZE(1024, UINT64_MAX), "64 MiB", "bytes", LIVE,
    "Bytes of the messages that may wait for one client. At the limit: session_queue_full.")
KEY(limits, session_queue_full, CHOICE(queue_full), "drop_oldest", "", LIVE,
    "What happens to a message for a full queue: drop_oldest makes room, drop_newest drops the "
    "message, disconnect also ends the client's connection (0x97). What is dropped is counted.")
KEY(limits, subscriptions_per_session_max, UINT(1, 4294967295), "10000", "subscriptions", LIVE,
    "Subscriptions that one session may hold. A SUBSCRIBE for more is answered with 0x97.")
KEY(limits, subscription_bytes_per_session_max, SIZE(4096, UINT64_MAX), "32 MiB", "bytes", LIVE,
    "Memory that the subscriptions of one session may take, about: 160 bytes each, the filter, 80 for each "
    "level if it has wildcards, and 480 more for a shared one. A SUBSCRIBE for more is answered with 0x97.")
KEY(limits, topic_levels_max, UINT(1, 65535), "128", "levels", LIVE,
    "Levels (parts between slashes) of a topic name or filter. A deeper topic name is refused "
    "with 0x90, a deeper filter with 0x8F.")
KEY(limits, sessions_max, UINT(1, 100000000), "1000000", "sessions", LIVE,
    "Sessions, those without a connection included. At the limit a CONNECT that needs a new one "
    "is refused (0x97).")
KEY(limits, retained_messages_max, UINT(0, 100000000), "1000000", "messages", LIVE,
    "Retained messages. At the limit a message for a new topic is refused (0x97); where the client "
    "cannot be told (QoS 0, before MQTT 5) it is delivered, but not retained. Both are counted. "
    "Known topics are still replaced. 0: none are retained.")
KEY(limits, output_bytes_max, SIZE(1024, 1ull << 32), "1 MiB", "bytes", LIVE,
    "Bytes that one connection may have unsent. Above it QoS 0 messages for that client are "
    "dropped and counted; QoS 1 and 2 wait in the session's queue.")
KEY(limits, message_memory_max, SIZE(0, UINT64_MAX), "0", "bytes", LIVE,
    "Memory of all messages together. At the limit QoS 0 is dropped and counted, and publishers of "
    "QoS 1 and 2 are not read from, up to message_stall_s. 0: a quarter of the usable memory (the lower of the machine's and the "
    "cgroup's limit). Otherwise at least packet_bytes_max. Beside it, a quarter of as much each may be "
    "taken by subscriptions (then a SUBSCRIBE is answered with 0x97), by packets that are not whole "
    "yet (then the connection that has been longest about one is closed, 0x97), and by what clients "
    "do not read (then each may have 8 KiB instead of output_bytes_max).")
KEY(limits, message_stall_s, UINT(0, 3600), "5", "seconds", LIVE,
    "How long a publisher whose QoS 1 or 2 message finds no memory is not read from before the "
    "message is refused (0x97; before MQTT 5 by closing the connection) and counted.")
KEY(limits, keep_alive_max_s, UINT(0, 65535), "0", "seconds", LIVE,
    "Longest Keep Alive. MQTT 5 clients that ask for more, or for none, are told this one (Server "
    "Keep Alive); to older ones it is applied all the same. 0: no maximum.")
KEY(limits, session_expiry_max_s, UINT(0, 4294967295), "604800", "seconds", LIVE,
    "Longest time that a session is kept without a connection; 7 days. MQTT 5 clients that ask for "
    "more are told this one; it is the expiry of older clients' sessions without clean session. "
    "4294967295: no maximum.")
KEY(limits, topic_alias_maximum, UINT(0, 65535), "10", "aliases", LIVE,
    "Topic aliases per connection, in each direction: what clients may use, and what the broker "
    "uses where the client allows it. 0: none. A client that uses a higher one is disconnected "
    "(0x94).")
END(limits)

GROUP(shared_subscriptions)
KEY(shared_subscriptions, strategy, CHOICE(strategy), "round_robin", "", LIVE,
    "Who of a shared subscription's members gets a message: round_robin, random, sticky (the same "
    "one while it is connected), hash_client (by the publisher's client id), or hash_topic.")
KEY(shared_subscriptions, prefer_local, BOOL, "false", "", LIVE,
    "In a cluster: whether a member on the publisher's node gets the message as long as one is connected there, whatever members "
    "there are on others.")
END(shared_subscriptions)

GROUP(mqtt)
KEY(mqtt, response_information, TEXT(1024), "", "", LIVE,
    "Prefix for response topics, given to MQTT 5 clients that ask for it (Request Response "
    "Information). Empty: none is given.")
KEY(mqtt, sys_interval_s, UINT(0, 86400), "10", "seconds", LIVE,
    "How often figures of the broker are published below $SYS/broker/, those that have changed (docs/sys-topics.md). 0: there are none.")
END(mqtt)
/* clang-format on */

#undef GROUP
#undef END
#undef KEY
#undef ALONE
#undef LIST
#undef END_LIST
#undef ITEM
#undef UINT
#undef SIZE
#undef BOOL
#undef TEXT
#undef URL
#undef CHOICE
#undef AT_START
#undef LIVE
