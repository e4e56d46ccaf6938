/* SPDX-License-Identifier: Apache-2.0 */
/* What the API can be asked, each method of each path once. {} is one part of a path, however it is
 * encoded. `query`: the parameters that there may be. Included with ROUTE() defined. */
/* clang-format off */
/*    method  path                role       handler        query */
ROUTE(GET,    "/openapi.yaml",    READ_ONLY, openapi_get,   "")
ROUTE(GET,    "/node",            READ_ONLY, node_get,      "")
ROUTE(GET,    "/cluster",         READ_ONLY, cluster_get,   "")
ROUTE(GET,    "/clients",         READ_ONLY, clients_list,  "limit cursor client_id user address listener")
ROUTE(GET,    "/clients/{}",      READ_ONLY, client_get,    "")
ROUTE(DELETE, "/clients/{}",      ADMIN,     client_kick,   "reason")
ROUTE(GET,    "/sessions",        READ_ONLY, sessions_list, "limit cursor client_id user address listener connected")
ROUTE(GET,    "/sessions/{}",     READ_ONLY, session_get,   "")
ROUTE(DELETE, "/sessions/{}",     ADMIN,     session_delete, "")
ROUTE(GET,    "/drain",           READ_ONLY, drain_get,     "")
ROUTE(POST,   "/drain",           ADMIN,     drain_post,    "")
ROUTE(GET,    "/log/level",       READ_ONLY, log_level_get, "")
ROUTE(PUT,    "/log/level",       ADMIN,     log_level_put, "")
ROUTE(GET,    "/subscriptions",   READ_ONLY, subscriptions_list, "limit cursor client_id filter topic")
ROUTE(GET,    "/explain",         READ_ONLY, explain_get,   "client_id publisher topic qos retain size address")
ROUTE(GET,    "/retained",        READ_ONLY, retained_list, "limit cursor filter")
ROUTE(GET,    "/retained/{}",     READ_ONLY, retained_get_one, "")
ROUTE(DELETE, "/retained/{}",     ADMIN,     retained_delete_one, "")
ROUTE(POST,   "/publish",         ADMIN,     publish_post,  "")
ROUTE(GET,    "/bans",            READ_ONLY, bans_list,     "limit cursor")
ROUTE(PUT,    "/bans/{}/{}",      ADMIN,     ban_put,       "")
ROUTE(DELETE, "/bans/{}/{}",      ADMIN,     ban_delete,    "")
ROUTE(POST,   "/recorder",        ADMIN,     recorder_post, "")
ROUTE(GET,    "/trace",           READ_ONLY, trace_get,     "client_id address topic payload seconds format")
ROUTE(GET,    "/top/clients",     READ_ONLY, top_clients,   "by limit")
ROUTE(GET,    "/top/subscribers", READ_ONLY, top_subscribers, "by limit")
ROUTE(GET,    "/top/topics",      READ_ONLY, top_topics,    "by limit")
ROUTE(GET,    "/config",          READ_ONLY, config_get,    "")
ROUTE(GET,    "/backup",          READ_ONLY, backup_get,    "")
ROUTE(POST,   "/backup",          ADMIN,     backup_post,   "")
/* clang-format on */
#undef ROUTE
