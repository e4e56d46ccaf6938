/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator is told: each message whole, with its place. */
#include "broker/config/config.h"

#include <sys/stat.h>

#include "broker/config/auth_methods.h"
#include "tests/unit/config/sources.h"

TestSuite(config_mistakes, .init = sources_enter, .fini = sources_leave);

static void expect(const char *yaml, const char *const *environment, const char *const *flags,
                   const char *text)
{
    struct config *c = NULL;
    struct config_error error = {0};
    cr_expect_eq(sources_load(&c, yaml, environment, flags, &error), CONFIG_INVALID, "%s", text);
    cr_expect_null(c);
    cr_expect_str_eq(error.text, text);
}

#define NO_KEY "there is no such key; "
#define LISTED "docs/configuration.md lists all\n"

Test(config_mistakes, in_the_file)
{
    static const struct {
        const char *yaml;
        const char *text;
    } rows[] = {
        /* keys */
        {"limits:\n  conections_max: 3\n",
         "dunlin.yaml:2: limits.conections_max: " NO_KEY "did you mean limits.connections_max?\n"},
        {"\n\nlimits:\n  max_connections: 3\n",
         "dunlin.yaml:4: limits.max_connections: " NO_KEY "did you mean limits.connections_max?\n"},
        {"connections_max: 3\n",
         "dunlin.yaml:1: connections_max: " NO_KEY "did you mean limits.connections_max?\n"},
        {"limit: {connections_max: [3, {a: b}]}\n",
         "dunlin.yaml:1: limit: " NO_KEY "did you mean limits?\n"},
        {"persistence: true\n", "dunlin.yaml:1: persistence: " NO_KEY LISTED},
        {"listeners:\n- url: tcp://*:1\n- uri: tcp://*:2\n",
         "dunlin.yaml:3: listeners.1.uri: " NO_KEY "did you mean listeners.1.url?\n"},
        {"limits.connections_max: 3\n",
         "dunlin.yaml:1: 'limits.connections_max': there is no such key; in a file each part of a "
         "path has a line of its own\n"},
        {"'': 3\n", "dunlin.yaml:1: '': there is no such key\n"},
        {"? [a, b]\n: 3\n", "dunlin.yaml:1: the document: a key has to be a plain name\n"},
        {"log:\n  {a: b}: 3\n", "dunlin.yaml:2: log: a key has to be a plain name\n"},
        /* twice */
        {"log: {level: info}\nnode: {shards: 1}\nlog: {format: json}\n",
         "dunlin.yaml:3: log: given twice, first on line 1; remove one\n"},
        {"log:\n  level: info\n  format: json\n  level: debug\n",
         "dunlin.yaml:4: log.level: given twice, first on line 2; remove one\n"},
        {"listeners:\n- url: tcp://*:1\n  url: tcp://*:2\n",
         "dunlin.yaml:3: listeners.0.url: given twice, first on line 2; remove one\n"},
        /* shapes */
        {"- a\n", "dunlin.yaml:1: the document: a mapping belongs here: lines of 'key: value'\n"},
        {"limits: 5\n", "dunlin.yaml:1: limits: a mapping belongs here: lines of 'key: value'\n"},
        {"limits: [1]\n", "dunlin.yaml:1: limits: a mapping belongs here: lines of 'key: value'\n"},
        {"log:\n  level: [info]\n",
         "dunlin.yaml:2: log.level: one value belongs here, not a list or a mapping\n"},
        {"log:\n  level: {a: b}\n",
         "dunlin.yaml:2: log.level: one value belongs here, not a list or a mapping\n"},
        {"listeners: tcp://*:1\n",
         "dunlin.yaml:1: listeners: a list belongs here: lines that begin with '- '\n"},
        {"listeners:\n  url: tcp://*:1\n",
         "dunlin.yaml:2: listeners: a list belongs here: lines that begin with '- '\n"},
        {"listeners:\n- tcp://*:1\n",
         "dunlin.yaml:2: listeners.0: a mapping belongs here: lines of 'key: value'\n"},
        {"listeners: []\n", "listeners: the list is empty; give at least one, as in --listen "
                            "tcp://127.0.0.1:1883\n"},
        {"data:\n  dir:\n",
         "dunlin.yaml:2: data.dir: the value is missing; remove the key for its default\n"},
        {"data: {dir: \"a\\0b\"}\n", "dunlin.yaml:1: data.dir: the value has a NUL in it\n"},
        {"node: &n {shards: 1}\nlog: *n\n",
         "dunlin.yaml:2: log: aliases are not supported; a mapping belongs here: lines of 'key: "
         "value'\n"},
        {"a: 1\n---\nb: 2\n", "dunlin.yaml:1: a: " NO_KEY LISTED
                              "dunlin.yaml:2: a second document begins here; there can be only "
                              "one\n"},
        /* values */
        {"limits:\n  connections_max: many\n",
         "dunlin.yaml:2: limits.connections_max: 'many' is not a whole number from 1 to 10000000 "
         "(connections)\n"},
        {"limits:\n  connections_max: 0\n",
         "dunlin.yaml:2: limits.connections_max: '0' is not a whole number from 1 to 10000000 "
         "(connections)\n"},
        {"limits:\n  connections_max: -1\n",
         "dunlin.yaml:2: limits.connections_max: '-1' is not a whole number from 1 to 10000000 "
         "(connections)\n"},
        {"limits:\n  output_bytes_max: 1 MB\n",
         "dunlin.yaml:2: limits.output_bytes_max: '1 MB' is not a size from 1 KiB to 4 GiB (bytes, "
         "or with KiB, MiB, GiB)\n"},
        {"allow_anonymous: yes\n", "dunlin.yaml:1: allow_anonymous: 'yes' is not true or false\n"},
        {"limits: {session_queue_full: drop_old}\n",
         "dunlin.yaml:1: limits.session_queue_full: 'drop_old' is not one of drop_oldest, "
         "drop_newest, disconnect; did you mean drop_oldest?\n"},
        {"log: {level: loud}\n",
         "dunlin.yaml:1: log.level: 'loud' is not one of error, warning, info, debug\n"},
        {"listeners:\n- url: mqtts://x:1\n",
         "dunlin.yaml:2: listeners.0.url: 'mqtts://x:1': its scheme is not tcp, tls, ws, "
         "wss, or unix; write it as tcp://HOST:PORT, for example tcp://127.0.0.1:1883\n"},
        /* YAML */
        {"limits:\n\tconnections_max: 3\n", "dunlin.yaml:2: this is not YAML: found character that "
                                            "cannot start any token (indent with "
                                            "spaces, not with tabs)\n"},
        {"limits:\n  a: b: c\n",
         "dunlin.yaml:2: limits.a: " NO_KEY LISTED
         "dunlin.yaml:2: this is not YAML: mapping values are not allowed in this context\n"},
        {"log: {}\ndata: {dir: \xff}\n",
         "dunlin.yaml:2: this is not YAML: invalid leading UTF-8 octet\n"},
        {"log: [\n", "dunlin.yaml:1: log: a mapping belongs here: lines of 'key: value'\n"
                     "dunlin.yaml:2: this is not YAML: did not find expected node content\n"},
        /* together */
        {"limits:\n  message_memory_max: 1000\n",
         "dunlin.yaml:2: limits.message_memory_max: 1000 is less than limits.packet_bytes_max "
         "(1048576, default); give at least that, or 0\n"},
        {"mqtt: {response_information: a/+}\n", "dunlin.yaml:1: mqtt.response_information: 'a/+' "
                                                "has a wildcard; topics that are published "
                                                "to have none\n"},
        {"admin: {listen: '127.0.0.1'}\n", "dunlin.yaml:1: admin.listen: '127.0.0.1' is not "
                                           "HOST:PORT, where HOST is an IPv4 address, "
                                           "[an IPv6 address], localhost, or *\n"},
        {"cluster: {listen: '127.0.0.1'}\n", "dunlin.yaml:1: cluster.listen: '127.0.0.1' is not "
                                             "HOST:PORT, where HOST is an IPv4 address, "
                                             "[an IPv6 address], localhost, or *\n"},
        {"cluster: {listen: '10.0.0.1:4000'}\n",
         "dunlin.yaml:1: cluster.listen: '10.0.0.1:4000' can be reached from other machines; set "
         "cluster.key_file (openssl rand -base64 32 makes one), or take a loopback address\n"},
        {"cluster: {listen: '*:4000', key_file: k}\n",
         "dunlin.yaml:1: cluster.listen: '*:4000' is no address that others could be told; set "
         "cluster.advertise, or cluster.seeds\n"},
        {"cluster: {listen: '*:4000', key_file: k, advertise: '*:4000'}\n",
         "dunlin.yaml:1: cluster.advertise: '*:4000' is no address that others could be told\n"},
        {"cluster: {listen: 'localhost:4000', seeds: 'a'}\n",
         "dunlin.yaml:1: cluster.seeds: 'a' is no list of seeds, as in 10.0.0.7:4000,"
         "dunlin.example.org:4000,srv:_dunlin._tcp.example.org\n"},
        {"cluster: {tls: required, tls_key: k, tls_ca: c}\n",
         "dunlin.yaml:1: cluster.tls is set, and cluster.tls_certificate is not\n"},
        {"cluster: {tls_crl: l}\n",
         "dunlin.yaml:1: cluster.tls_crl: 'l' is for nothing: cluster.tls is off\n"},
        {"cluster: {replicas: 2}\n",
         "dunlin.yaml:1: cluster.replicas: 2 is none of 0, 1, 3, 5\n"
         "dunlin.yaml:1: cluster.replicas is set, and cluster.listen is not\n"},
        {"cluster: {replicas: 3, listen: 'localhost:4000'}\n",
         "dunlin.yaml:1: cluster.replicas is set, and data.dir is not\n"},
        {"cluster: {replicas: 3, listen: 'localhost:4000'}\ndata: {dir: d, durability: memory}\n",
         "dunlin.yaml:1: cluster.replicas is set, and data.durability is memory: what nodes "
         "promise each other has to be on disk\n"},
        {"cluster: {initial_size: 3}\n",
         "dunlin.yaml:1: cluster.initial_size is for nothing: cluster.replicas is 0\n"},
        {"cluster: {zone: a}\n",
         "dunlin.yaml:1: cluster.zone: 'a' is for nothing: cluster.replicas is 0\n"},
        {"cluster: {seeds: 'a:1'}\n",
         "dunlin.yaml:1: cluster.seeds is set, but cluster.listen is not: say where the others "
         "reach this node\n"},
        {"cluster: {name: ''}\nnode: {name: 'a b'}\n",
         "dunlin.yaml:2: node.name: 'a b' is no name: it has letters, digits, '-', '_' and '.' "
         "only\ndunlin.yaml:1: cluster.name: '' is no name\n"},
        {"auth: {methods: ''}\n",
         "dunlin.yaml:1: auth.methods: '' names no method; there are: " AUTH_METHODS_ALL "\n"},
        {"auth: {methods: 'password, pasword'}\n",
         "dunlin.yaml:1: auth.methods: 'password, pasword' has a word that is no method; there "
         "are: " AUTH_METHODS_ALL "\n"},
        {"auth: {methods: password}\ntoken: {keys_file: k}\n",
         "dunlin.yaml:2: token.keys_file is set, but auth.methods does not name token\n"},
        {"auth: {methods: token, password_file: p}\n",
         "dunlin.yaml:1: auth.password_file is set, but auth.methods does not name password\n"},
        {"token: {user_claim: ''}\n",
         "dunlin.yaml:1: token.user_claim: '' is no claim; a user needs a name\n"},
        {"auth: {methods: 'password,password'}\n",
         "dunlin.yaml:1: auth.methods: 'password,password' names a method twice; there "
         "are: " AUTH_METHODS_ALL "\n"},
        {"listeners:\n- url: tcp://*:1\n- url: tcp://0.0.0.0:1\n- url: tcp://*:0\n- url: "
         "tcp://*:0\n",
         "dunlin.yaml:3: listeners.1.url: listeners.0 (dunlin.yaml:2) has the same address; remove "
         "one\n"},
        {"listeners: [{url: 'unix:///a'}, {url: 'unix:///a'}]\n",
         "dunlin.yaml:1: listeners.1.url: listeners.0 (dunlin.yaml:1) has the same address; remove "
         "one\n"},
        {"topics: [{durability: sync}]\n",
         "dunlin.yaml:1: topics.0.durability: there is no topics.0.filter beside it\n"},
        {"topics: [{filter: ''}, {filter: 'a#'}, {filter: $share/g/a}]\n",
         "dunlin.yaml:1: topics.0.filter: '' is not a topic filter as in sensors/#\n"
         "dunlin.yaml:1: topics.1.filter: 'a#' is not a topic filter as in sensors/#\n"
         "dunlin.yaml:1: topics.2.filter: '$share/g/a' is not a topic filter as in sensors/#\n"},
        {"topics: [{filter: a, durability: memory}]\n",
         "dunlin.yaml:1: topics.0.durability: 'memory' is not one of sync, interval\n"},
        {"data: {durability: memory}\ntopics: [{filter: a}]\n",
         "dunlin.yaml:2: topics.0.filter: data.durability (dunlin.yaml:1) is not sync, so that "
         "nothing waits for the disk anyway, and no topic can; remove the list, or set "
         "data.durability to sync\n"},
        {"listeners: [{unix_mode: '1'}]\n",
         "dunlin.yaml:1: listeners.0.unix_mode: there is no listeners.0.url beside it\n"},
        /* what a listener needs */
        {"listeners: [{url: 'tls://*:1'}]\n",
         "default: listeners.0.certificate: TLS needs one: the name of a PEM file\n"},
        {"listeners: [{url: 'wss://*:1', certificate: 'a,b', key: c}]\n",
         "dunlin.yaml:1: listeners.0.key: there have to be as many keys as certificates, in the "
         "same "
         "order\n"},
        {"listeners: [{url: 'tls://*:1', certificate: a, key: b, client_certificate: required}]\n",
         "default: listeners.0.client_ca: client_certificate needs one: the name of a PEM file\n"},
        {"listeners: [{url: 'tls://*:1', certificate: a, key: b, client_ca: c}]\n",
         "dunlin.yaml:1: listeners.0.client_ca: clients are not asked; set client_certificate to "
         "optional or required, or remove it\n"},
        {"listeners: [{url: 'tls://*:1', certificate: a, key: b, crl: c}]\n",
         "dunlin.yaml:1: listeners.0.crl: it revokes clients' certificates, which are not asked "
         "for; "
         "set client_ca, or remove it\n"},
        {"listeners: [{url: 'tls://*:1', certificate: a, key: b, user_from: common_name}]\n",
         "dunlin.yaml:1: listeners.0.user_from: clients are not asked for certificates; set "
         "client_certificate to optional or required, or remove it\n"},
        {"listeners: [{url: 'tcp://*:1', client_id_from: san_uri}]\n",
         "dunlin.yaml:1: listeners.0.client_id_from: clients are not asked for certificates; set "
         "client_certificate to optional or required, or remove it\n"},
        {"listeners: [{url: 'tcp://*:1', proxy_protocol: required, proxy_from: 10.0.0.1, "
         "client_id_from: san_uri}]\n",
         "dunlin.yaml:1: listeners.0.client_id_from: load balancers tell the common name only; set "
         "it to common_name\n"},
        {"listeners: [{url: 'tcp://*:1', proxy_protocol: required, proxy_from: 10.0.0.1, "
         "user_from: common_name}]\nauth: {methods: password}\n",
         "dunlin.yaml:1: listeners.0.user_from: auth.methods has to name certificate for it\n"},
        {"listeners: [{url: 'tcp://*:1', proxy_protocol: required}]\n",
         "default: listeners.0.proxy_from: without it nobody may send the PROXY header; give the "
         "load "
         "balancers' addresses, as in 10.0.0.0/8\n"},
        {"listeners: [{url: 'tcp://*:1', proxy_from: 10.0.0.1}]\n",
         "dunlin.yaml:1: listeners.0.proxy_from: no PROXY header is taken; set proxy_protocol to "
         "required, or remove it\n"},
        {"listeners: [{url: 'tcp://*:1', proxy_protocol: required, proxy_from: 10.0.0.1/8}]\n",
         "dunlin.yaml:1: listeners.0.proxy_from: an address in it has bits set behind those that "
         "count, as in 10.0.0.1/8; write 10.0.0.0/8, or 10.0.0.1 for that one alone\n"},
        {"listeners: [{url: 'unix:///a', unix_mode: '0668'}]\n",
         "dunlin.yaml:1: listeners.0.unix_mode: it is not octal digits, as in 0660\n"},
        /* and what it has no use for */
        {"listeners: [{url: 'tcp://*:1', certificate: a, key: b, origins: c, unix_mode: '0600'}]\n",
         "dunlin.yaml:1: listeners.0.certificate: only tls:// and wss:// have it; remove it, or "
         "change the url\n"
         "dunlin.yaml:1: listeners.0.key: only tls:// and wss:// have it; remove it, or change the "
         "url\n"
         "dunlin.yaml:1: listeners.0.origins: only ws:// and wss:// have it; remove it, or change "
         "the "
         "url\n"
         "dunlin.yaml:1: listeners.0.unix_mode: only unix:// has it; remove it, or change the "
         "url\n"},
        /* all at once */
        {"node: {shards: 65}\nlog: {level: x}\n",
         "dunlin.yaml:1: node.shards: '65' is not a whole number from 0 to 32 (threads)\n"
         "dunlin.yaml:2: log.level: 'x' is not one of error, warning, info, debug\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(rows[i].yaml, NULL, NULL, rows[i].text);
    }
}

Test(config_mistakes, in_the_environment)
{
    static const struct {
        const char *variable;
        const char *text;
    } rows[] = {
        {"DUNLIN_LIMITS__MAX_CONNECTIONS=1",
         "env DUNLIN_LIMITS__MAX_CONNECTIONS: " NO_KEY "did you mean "
         "DUNLIN_LIMITS__CONNECTIONS_MAX?\n"},
        {"DUNLIN_limits__connections_max=1",
         "env DUNLIN_limits__connections_max: " NO_KEY "did you mean "
         "DUNLIN_LIMITS__CONNECTIONS_MAX?\n"},
        {"DUNLIN_LIMITS_CONNECTIONS_MAX=1",
         "env DUNLIN_LIMITS_CONNECTIONS_MAX: " NO_KEY "did you mean "
         "DUNLIN_LIMITS__CONNECTIONS_MAX?\n"},
        {"DUNLIN_LIMITS=1", "env DUNLIN_LIMITS: " NO_KEY "did you mean "
                            "DUNLIN_LIMITS__CONNECTIONS_MAX?\n"},
        {"DUNLIN_LIMITZ=1", "env DUNLIN_LIMITZ: " NO_KEY "did you mean DUNLIN_LIMITS__…?\n"},
        {"DUNLIN_XYZ=1", "env DUNLIN_XYZ: " NO_KEY LISTED},
        {"DUNLIN_=1", "env DUNLIN_: " NO_KEY LISTED},
        {"DUNLIN_LISTENERS__2__URL=tcp://*:1",
         "env DUNLIN_LISTENERS__2__URL: listeners.2.url: there is no listeners.1.url before it; a "
         "list has no gaps\n"},
        {"DUNLIN_LISTENERS__64__URL=tcp://*:1",
         "env DUNLIN_LISTENERS__64__URL: listeners.64.url: the list can have at most 64 entries, 0 "
         "to 63\n"},
        {"DUNLIN_TOPICS__16__FILTER=a", "env DUNLIN_TOPICS__16__FILTER: topics.16.filter: the "
                                        "list can have at most 16 entries, 0 to 15\n"},
        {"DUNLIN_LOG__LEVEL=", "env DUNLIN_LOG__LEVEL: log.level: '' is not one of error, warning, "
                               "info, debug\n"},
        {"DUNLIN_DATA__DIR=a\x1b[2J", "env DUNLIN_DATA__DIR: data.dir: has a control character at "
                                      "byte 2; only text that can be seen is possible\n"},
        {"DUNLIN_DATA__DIR=\xff",
         "env DUNLIN_DATA__DIR: data.dir: has what is not UTF-8 at byte 1; "
         "only text that can be seen is possible\n"},
        {"DUNLIN_DATA__DIR_FILE=nowhere",
         "env DUNLIN_DATA__DIR_FILE: cannot read nowhere: No such file or directory\n"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(NULL, LIST(rows[i].variable), NULL, rows[i].text);
    }
    expect(NULL, LIST("DUNLIN_DATA__DIR=a", "DUNLIN_DATA__DIR_FILE=/dev/null"), NULL,
           "env DUNLIN_DATA__DIR_FILE: the same key is set by env DUNLIN_DATA__DIR too; remove "
           "one\n");
    sources_write("secret", "a\0b", 3);
    expect(NULL, LIST("DUNLIN_DATA__DIR_FILE=secret"), NULL,
           "env DUNLIN_DATA__DIR_FILE: secret has a NUL in it, and is no text\n");
    char *const long_name = calloc(1, 600);
    memset(long_name, 'A', 599);
    memcpy(long_name, "DUNLIN_", 7);
    long_name[590] = '=';
    struct config *c;
    struct config_error error = {0};
    cr_expect_eq(sources_load(&c, NULL, LIST(long_name), NULL, &error), CONFIG_INVALID);
    free(long_name);
}

Test(config_mistakes, on_the_command_line)
{
    expect(NULL, NULL, LIST("--set", "limits.conections_max=1"),
           "--set limits.conections_max: " NO_KEY "did you mean limits.connections_max?\n");
    expect(NULL, NULL, LIST("--set", "limits=1"),
           "--set limits: " NO_KEY "did you mean limits.connections_max?\n");
    expect(NULL, NULL, LIST("--set", "listeners.*.url=tcp://*:1"),
           "--set listeners.*.url: " NO_KEY "did you mean listeners.0.url?\n");
    expect(NULL, NULL, LIST("--set", "xyz=1"), "--set xyz: " NO_KEY LISTED);
    expect(NULL, NULL, LIST("--set", "node.shards=x"),
           "--set: node.shards: 'x' is not a whole number from 0 to 32 (threads)\n");
    expect(NULL, NULL, LIST("--listen", "127.0.0.1:1883"),
           "--listen: listeners.0.url: '127.0.0.1:1883': it has no scheme; write it as "
           "tcp://HOST:PORT, for example tcp://127.0.0.1:1883\n");
    expect(NULL, NULL, LIST("--log-level", "warn"),
           "--log-level: log.level: 'warn' is not one of error, warning, info, debug\n");
}

Test(config_mistakes, of_the_file_itself)
{
    struct config *c = NULL;
    struct config_error error = {0};
    struct config_sources sources = {.file = "dunlin.yaml"};
    cr_expect_eq(config_load(&c, &sources, &error), CONFIG_INVALID);
    cr_expect_str_eq(error.text,
                     "dunlin.yaml: cannot read the configuration: No such file or directory\n");
    sources.file = "/";
    cr_expect_eq(config_load(&c, &sources, &error), CONFIG_INVALID);
    cr_expect_str_eq(error.text, "/: cannot read the configuration: Is a directory\n");

    char *const large = malloc(CONFIG_FILE_BYTES_MAX + 1);
    memset(large, '#', CONFIG_FILE_BYTES_MAX + 1);
    sources.file = "dunlin.yaml";
    sources_write(sources.file, large, CONFIG_FILE_BYTES_MAX);
    cr_assert_eq(config_load(&c, &sources, &error), CONFIG_OK);
    config_destroy(c);
    sources_write(sources.file, large, CONFIG_FILE_BYTES_MAX + 1);
    cr_expect_eq(config_load(&c, &sources, &error), CONFIG_INVALID);
    cr_expect_str_eq(error.text, "dunlin.yaml: cannot read the configuration: File too large\n");
    free(large);
}

/* A mistake costs neither the other mistakes nor the time: a file of nothing else is read through.
 */
Test(config_mistakes, very_many)
{
    char *yaml = NULL;
    size_t len;
    FILE *const f = open_memstream(&yaml, &len);
    fputs("limits:\n", f);
    for (unsigned i = 0; i < 20000; i++) {
        fprintf(f, "  no_such_key_%u: 1\n", i);
    }
    for (unsigned i = 0; i < 200; i++) {
        fputs("listeners: [[[[{a: [b, {c: d}]}]]]]\n", f);
    }
    fclose(f);
    struct config *c = NULL;
    struct config_error error = {0};
    cr_expect_eq(sources_load(&c, yaml, NULL, NULL, &error), CONFIG_INVALID);
    cr_expect_geq(error.count, 20200);
    const char *const end = strstr(error.text, "\nand ");
    cr_assert_not_null(end);
    cr_expect_not_null(strstr(end, " more\n"));
    cr_expect_lt(strlen(error.text), CONFIG_ERROR_BYTES);
    free(yaml);
}
