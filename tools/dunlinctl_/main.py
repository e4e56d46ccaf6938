# SPDX-License-Identifier: Apache-2.0
"""The table of all commands, and the way from a command line to a status."""
import os
import signal
import sys

from . import actions, message, pages
from .asking import Broker, Refused, Unreachable
from .shown import safe
from .top import top
from .tracing import trace
from .usage import Argument, Command, Flag, Line, Misuse, at_least_one, count, period, port, seconds

DONE, REFUSED, USAGE, UNREACHABLE = range(4)

COMMON = (
    Flag(('--url',), 'URL', 'of the admin port; otherwise DUNLINCTL_URL, otherwise http://127.0.0.1:9464'),
    Flag(('-h', '--host'), 'HOST', 'instead of --url: its host (127.0.0.1)'),
    Flag(('-p', '--port'), 'PORT', 'instead of --url: its port (9464)', port),
    Flag(('--key-file',), 'FILE', 'that has the key; otherwise DUNLINCTL_KEY_FILE'),
    Flag(('--ca',), 'FILE', 'https, with a certificate of these authorities (PEM); without it those of the system'),
    Flag(('--timeout',), 'SECONDS', 'for a connection, and for each answer (10)', seconds),
    Flag(('--json',), '', 'print JSON'),
    Flag(('--help',), '', 'print what there is, or what the command takes'),
)

LIMIT = Flag(('--limit',), 'N', 'at most so many; otherwise all', at_least_one)
WHICH = (
    Flag(('-i', '--client-id'), 'ID', 'those identifiers; * stands for any characters, ? for one byte'),
    Flag(('--user',), 'NAME', 'connected as that user'),
    Flag(('--address',), 'ADDRESS', 'connected from that address, or range as in 10.0.0.0/8'),
    Flag(('--listener',), 'N', 'connected by the listener of that number', count),
    LIMIT,
)
ID, TOPIC = Argument('ID'), Argument('TOPIC')
WAIT = Flag(('--wait',), '', 'until it is over')
RATE = Flag(('--rate',), 'N', 'clients in a second; otherwise drain.clients_per_second', at_least_one)
BANNED = (Argument('KIND', ('client', 'user', 'address')), Argument('VALUE'))



def completion(_broker, _values):
    sys.stdout.write(pages.completion(COMMANDS, COMMON))


def manual(_broker, _values):
    sys.stdout.write(pages.manual(COMMANDS, COMMON))


COMMANDS = (
    Command(('node',), actions.node, 'what the node is, how much it has, and its listeners'),
    Command(('cluster', 'status'), actions.cluster_status, 'the nodes of the cluster, as this one sees them', default=True),
    Command(('cluster', 'drain'), actions.cluster_drain, 'send the clients of this node to others, and end the process, as SIGTERM does', flags=(
        RATE, WAIT, Flag(('--stop',), '', 'stop it: clients are let in again'))),
    Command(('cluster', 'join'), actions.cluster_join, 'look for other nodes there, too, until the process ends', (Argument('SEEDS'),)),
    Command(('cluster', 'leave'), actions.cluster_leave, 'as drain, and the other nodes forget this one', flags=(RATE, WAIT)),
    Command(('cluster', 'forget'), actions.cluster_forget, 'a dead node that will not come back: its UUID, or its name', (Argument('NODE'),)),
    Command(('partitions',), actions.partitions, 'the partitions of kept sessions, with cluster.replicas, as this node has them'),
    Command(('clients', 'list'), actions.clients_list, 'who is connected', flags=WHICH, default=True),
    Command(('clients', 'show'), actions.clients_show, 'one who is connected', (ID,)),
    Command(('clients', 'kick'), actions.clients_kick, 'end its connection; its session stays, and it may come back', (ID,),
            (Flag(('--reason',), 'TEXT', 'that an MQTT 5 client is told'),)),
    Command(('sessions', 'list'), actions.sessions_list, 'sessions, those of clients that are away among them', flags=(
        *WHICH, Flag(('--connected',), '', 'of those who are connected'), Flag(('--away',), '', 'of those who are not')), default=True),
    Command(('sessions', 'show'), actions.sessions_show, 'one session: what is queued, when it ends', (ID,)),
    Command(('sessions', 'delete'), actions.sessions_delete, 'end it, with all that is queued', (ID,)),
    Command(('subscriptions', 'list'), actions.subscriptions_list, 'who subscribes to what: by one of the three', flags=(
        Flag(('-i', '--client-id'), 'ID', 'those of that client'),
        Flag(('--filter',), 'FILTER', 'those to that very filter, with $share/NAME/ if it is shared'),
        Flag(('-t', '--topic'), 'TOPIC', 'those that match it'), LIMIT), default=True),
    Command(('explain',), actions.explain, 'why a client gets a message of a topic, or does not; the status is 1 if not', flags=(
        Flag(('-i', '--client-id'), 'ID', 'who is to get it'), Flag(('-t', '--topic'), 'TOPIC', 'its topic'),
        Flag(('--publisher',), 'ID', 'whose message it is; without -i: would it be taken?'),
        Flag(('-q', '--qos'), 'QOS', 'it is published at; 1 unless it is said', choices=('0', '1', '2')),
        Flag(('-r', '--retain'), '', 'it is published with RETAIN'),
        Flag(('--size',), 'BYTES', 'of its payload', count),
        Flag(('--address',), 'ADDRESS', 'where a client that is away would come from'))),
    Command(('retained', 'list'), actions.retained_list, 'retained messages, without their payloads', flags=(
        Flag(('--filter',), 'FILTER', 'whose topics it matches; otherwise #'), LIMIT), default=True),
    Command(('retained', 'get'), actions.retained_get, 'one of them', (TOPIC,), (
        Flag(('--payload',), '', 'its payload and nothing else, byte by byte'),)),
    Command(('retained', 'delete'), actions.retained_delete, 'delete it; subscribers are told nothing', (TOPIC,)),
    Command(('bans', 'list'), actions.bans_list, 'who may not connect', flags=(LIMIT,), default=True),
    Command(('bans', 'add'), actions.bans_add, 'ban, or ban anew; who is connected is disconnected', BANNED, (
        Flag(('--for',), 'TIME', 'as in 90s, 15m, 12h, 7d; otherwise for good', period),
        Flag(('--until',), 'TIME', 'as in 2030-01-31T12:00:00Z'), Flag(('--because',), 'TEXT', 'for whoever reads the list'))),
    Command(('bans', 'remove'), actions.bans_remove, 'ban no more', BANNED),
    Command(('config',), actions.config, 'settings in force, and where each value came from',
            (Argument('PATTERN', optional=True),), (Flag(('--changed',), '', 'without those that nobody has set'),)),
    Command(('log-level', 'get'), actions.level_get, 'the least important lines that are written', default=True),
    Command(('log-level', 'set'), actions.level_set, 'another level, until the next reload',
            (Argument('LEVEL', ('error', 'warning', 'info', 'debug')),)),
    Command(('publish',), actions.publish, 'publish a message; no rules are asked', flags=(
        Flag(('-t', '--topic'), 'TOPIC', 'its topic'), Flag(('-m', '--message'), 'TEXT', 'its payload'),
        Flag(('-f', '--file'), 'FILE', 'that has the payload'), Flag(('-s', '--stdin-file'), '', 'the payload is the standard input'),
        Flag(('-l', '--stdin-line'), '', 'each line of the standard input is a message'),
        Flag(('-n', '--null-message'), '', 'an empty payload; with -r it deletes what is retained'),
        Flag(('-q', '--qos'), 'QOS', '0 unless it is said', choices=('0', '1', '2')), Flag(('-r', '--retain'), '', 'retain it'),
        Flag(('-D', '--property'), 'publish NAME VALUE', 'a property: content-type, correlation-data, message-expiry-interval, '
             'payload-format-indicator, response-topic, or user-property with two values', message.property_of, many=True,
             size=message.words_of_property))),
    Command(('backup', 'status'), actions.backup_status, 'the backup that is being taken, or was last', default=True),
    Command(('backup', 'start'), actions.backup_start, 'take one, into admin.backup_dir', (Argument('NAME'),), (WAIT,)),
    Command(('drain', 'status'), actions.drain_status, 'how far a drain has come', default=True),
    Command(('drain', 'start'), actions.drain_start, 'send the clients away, and end the process, as SIGTERM does', flags=(RATE, WAIT)),
    Command(('drain', 'stop'), actions.drain_stop, 'stop it: clients are let in again'),
    Command(('recorder',), actions.recorder, 'what the shards did last, as a file for Wireshark; - is the standard output', (Argument('FILE'),)),
    Command(('trace',), trace, 'what clients do, as it happens: a line for each packet, beginning, end and drop that is all of what is asked for', flags=(
        Flag(('--client', '-i', '--client-id'), 'ID', 'of those identifiers; * stands for any characters, ? for one byte'),
        Flag(('--address',), 'ADDRESS', 'from that address, or range as in 10.0.0.0/8'),
        Flag(('-t', '--topic'), 'FILTER', 'messages, and drops, of topics that it matches'),
        Flag(('--payload',), '', 'with the first 1,024 bytes of payloads; wants an admin key'),
        Flag(('--seconds',), 'N', 'how long; 60 unless it is said', at_least_one),
        Flag(('--write',), 'FILE', 'a capture for Wireshark instead; - is the standard output'))),
    Command(('ready',), actions.ready, 'may clients be sent there? The status is 1 if not'),
    Command(('live',), actions.live, 'does every shard turn? The status is 1 if not'),
    Command(('top',), top, 'figures and rates, busiest clients and topics, slowest subscribers, on the whole terminal; q ends it', flags=(
        Flag(('--once',), '', 'print them once, over one interval'),
        Flag(('--interval',), 'SECONDS', '1 unless it is said', seconds))),
    Command(('completion',), completion, 'print what completes commands in a shell', (Argument('SHELL', ('bash',)),)),
    Command(('man',), manual, 'print the manual page, for man -l'),
)
WITHOUT_BROKER = ('completion', 'man')


def say(text):
    print(f'dunlinctl: {safe(str(text))}', file=sys.stderr)


def main(words):
    sys.stdout.reconfigure(errors='backslashreplace')
    sys.stderr.reconfigure(errors='backslashreplace')
    try:
        command, values = Line(COMMANDS, COMMON, words).read()
        if values.help:
            sys.stdout.write(pages.help_of(command, COMMON) if command else pages.overview(COMMANDS, COMMON))
            return DONE
        if command is None:
            raise Misuse('a command is missing')
        broker = None if command.words[0] in WITHOUT_BROKER else Broker(values)
        status = command.run(broker, values) or DONE
        sys.stdout.flush()
        return status
    except Misuse as e:
        say(f'{e}; see dunlinctl --help')
        return USAGE
    except Refused as e:
        say(e)
        return REFUSED
    except Unreachable as e:
        say(e)
        return UNREACHABLE
    except BrokenPipeError:  # who reads what is printed has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
