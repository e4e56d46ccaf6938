/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts of every key that is one of a few words. Included with CHOICES(set), CHOICE(text,
 * value) and END_CHOICES(set) defined.
 */
/* clang-format off */
CHOICES(log_level)
CHOICE("error",   LOG_ERROR)
CHOICE("warning", LOG_WARNING)
CHOICE("info",    LOG_INFO)
CHOICE("debug",   LOG_DEBUG)
END_CHOICES(log_level)

CHOICES(log_format)
CHOICE("logfmt", LOG_LOGFMT)
CHOICE("json",   LOG_JSON)
END_CHOICES(log_format)

CHOICES(queue_full)
CHOICE("drop_oldest", CONFIG_DROP_OLDEST)
CHOICE("drop_newest", CONFIG_DROP_NEWEST)
CHOICE("disconnect",  CONFIG_DISCONNECT)
END_CHOICES(queue_full)

CHOICES(strategy)
CHOICE("round_robin", CONFIG_ROUND_ROBIN)
CHOICE("random",      CONFIG_RANDOM)
CHOICE("sticky",      CONFIG_STICKY)
CHOICE("hash_client", CONFIG_HASH_CLIENT)
CHOICE("hash_topic",  CONFIG_HASH_TOPIC)
END_CHOICES(strategy)

CHOICES(durability)
CHOICE("sync",     CONFIG_DURABILITY_SYNC)
CHOICE("interval", CONFIG_DURABILITY_INTERVAL)
CHOICE("memory",   CONFIG_DURABILITY_MEMORY)
END_CHOICES(durability)

CHOICES(topic_durability) /* memory is for a node: its journal has all entries, or none */
CHOICE("sync",     CONFIG_DURABILITY_SYNC)
CHOICE("interval", CONFIG_DURABILITY_INTERVAL)
END_CHOICES(topic_durability)

CHOICES(client_certificate)
CHOICE("none",     CONFIG_CLIENT_NONE)
CHOICE("optional", CONFIG_CLIENT_OPTIONAL)
CHOICE("required", CONFIG_CLIENT_REQUIRED)
END_CHOICES(client_certificate)

CHOICES(name_from)
CHOICE("none",        CONFIG_FROM_NONE)
CHOICE("common_name", CONFIG_FROM_COMMON_NAME)
CHOICE("san_dns",     CONFIG_FROM_SAN_DNS)
CHOICE("san_uri",     CONFIG_FROM_SAN_URI)
CHOICE("san_email",   CONFIG_FROM_SAN_EMAIL)
END_CHOICES(name_from)

CHOICES(cluster_tls)
CHOICE("off",      CONFIG_CLUSTER_TLS_OFF)
CHOICE("offered",  CONFIG_CLUSTER_TLS_OFFERED)
CHOICE("required", CONFIG_CLUSTER_TLS_REQUIRED)
END_CHOICES(cluster_tls)

CHOICES(tls_version)
CHOICE("1.2", CONFIG_TLS_1_2)
CHOICE("1.3", CONFIG_TLS_1_3)
END_CHOICES(tls_version)

CHOICES(when_away)
CHOICE("deny",   CONFIG_AWAY_DENY)
CHOICE("ignore", CONFIG_AWAY_IGNORE)
END_CHOICES(when_away)

CHOICES(io)
CHOICE("auto",     CONFIG_IO_AUTO)
CHOICE("io_uring", CONFIG_IO_URING)
CHOICE("epoll",    CONFIG_IO_EPOLL)
END_CHOICES(io)

CHOICES(proxy_protocol)
CHOICE("off",      CONFIG_PROXY_OFF)
CHOICE("required", CONFIG_PROXY_REQUIRED)
END_CHOICES(proxy_protocol)
/* clang-format on */
#undef CHOICES
#undef CHOICE
#undef END_CHOICES
