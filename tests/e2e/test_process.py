# SPDX-License-Identifier: Apache-2.0
"""The process: its signals, its configuration, its log. All of it is ours alone."""
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import PORTS, Broker, Launch, equal, test, wait_until
from raw import V311, V5, Client, Unexpected, Will, wire

EXPIRY = {'session_expiry_interval': 300}
SECONDS = 8


def dunlin(*arguments, environment=None):
    """Runs it to its end: (exit status, what it said)."""
    done = subprocess.run([Launch.program, *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=20 * Launch.slow, env={**os.environ, **(environment or {})},
                          check=False)
    return done.returncode, done.stdout


class Conf:
    """A configuration file."""

    def __init__(self, text):
        self.path = tempfile.mkstemp(suffix='.yaml', dir=Launch.folder)[1]
        self.write(text)

    def write(self, text):
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(text)


def answers(address):
    try:
        with Client(address, V311) as c:
            c.connect('answers')
        return True
    except (ConnectionError, Unexpected):
        return False


# ---- SIGTERM

@test(only='dunlin', each=[('SIGTERM',), ('SIGINT',)])
def it_ends_gracefully(b, name):
    other = b.another()
    clients = [other.connected() for _ in range(20)]
    old = other.connected('old', V311)
    half = other.client()
    half.send(wire.connect(V5, 'half')[:5])
    other.signal(getattr(signal, name))
    for c in clients:
        c.expect_disconnect(0x8B)
    old.expect_end()
    half.expect_end()
    equal(other.wait_end(), 0)
    other.check_log()


@test(only='dunlin')
def it_ends_with_work_in_flight(b):
    """Messages in every state, clients who do not read, wills: it ends all the same, with 0."""
    other = b.another()
    deaf = other.client(receive_buffer=4096)
    deaf.connect('deaf', will=Will('w', b'gone', props={'will_delay_interval': 5}), props=EXPIRY)
    deaf.subscribe('#', qos=2)
    p = other.connected(will=Will('w', b'gone'))
    for i in range(3000):
        p.send(wire.publish(V5, 't', b'x' * 1000, qos=0))
    for i in range(100):
        p.publish('t', b'x', qos=1)
        p.send(wire.publish(V5, 't', b'x', 2, 1000 + i))
    other.signal(signal.SIGTERM)
    equal(other.wait_end(), 0)
    other.check_log()


@test(only='dunlin')
def an_idle_broker_ends_at_once(b):
    other = b.another()
    other.signal(signal.SIGTERM)
    equal(other.wait_end(5 * Launch.slow), 0)


# ---- SIGHUP

@test(only='dunlin')
def reload_changes_the_log_level(b):
    conf = Conf('log:\n  level: info\n')
    other = b.another(arguments=['--config', conf.path])
    other.connected('before').disconnect()
    equal('level=debug' in other.log(), False, 'debug lines at info')
    conf.write('log:\n  level: debug\n')
    other.signal(signal.SIGHUP)

    def talks():
        other.connected('after').disconnect()
        return 'level=debug' in other.log()

    wait_until(talks)


@test(only='dunlin')
def reload_changes_a_limit(b):
    conf = Conf('limits:\n  subscriptions_per_session_max: 2\n')
    other = b.another(arguments=['--config', conf.path])
    c = other.connected()
    c.subscribe('a', 'b', 'c', expect=(0, 0, 0x97))
    conf.write('limits:\n  subscriptions_per_session_max: 3\n')
    other.signal(signal.SIGHUP)

    def granted():
        c.send(wire.subscribe(V5, 9, [('c', 0)]))
        return c.wait_for(wire.SUBACK, 9).reasons == (0,)

    wait_until(granted)


@test(only='dunlin')
def reload_says_what_it_cannot_change(b):
    conf = Conf('node:\n  shards: 1\n')
    other = b.another(arguments=['--config', conf.path])
    conf.write('node:\n  shards: 2\n')
    other.signal(signal.SIGHUP)
    wait_until(lambda: 'node.shards' in other.log(), what='a line about node.shards')
    other.connected().ping()


@test(only='dunlin')
def reload_of_a_bad_file_changes_nothing(b):
    conf = Conf('limits:\n  subscriptions_per_session_max: 2\n')
    other = b.another(arguments=['--config', conf.path])
    c = other.connected()
    conf.write('limits:\n  subscriptions_per_session_max: 3\n  nonsense: 1\n')
    other.signal(signal.SIGHUP)
    wait_until(lambda: 'nonsense' in other.log(), what='a line about the bad key')
    c.subscribe('a', 'b', 'c', expect=(0, 0, 0x97))
    other.connected().ping()


# ---- The configuration: what is refused, and where from values come

BAD = [  # name, file, line of the mistake, what must be said
    ('unknown key', 'limits:\n  connections_maximum: 5\n', 2, 'connections_max'),
    ('unknown group', 'allow_anonymous: false\nlimit:\n  connections_max: 5\n', 2, 'limits'),
    ('not a number', 'limits:\n\n  connections_max: many\n', 3, 'connections_max'),
    ('a number below its range', 'limits:\n  connections_max: 0\n', 2, '1'),
    ('a number above its range', 'limits:\n  topic_alias_maximum: 70000\n', 2, '65535'),
    ('a negative number', 'limits:\n  connections_max: -1\n', 2, 'connections_max'),
    ('not a truth', 'allow_anonymous: maybe\n', 1, 'true'),
    ('not a choice', 'log:\n  level: loud\n', 2, 'debug'),
    ('not a URL', 'listeners:\n  - url: here\n', 2, 'tcp://'),
    ('an unknown scheme', 'listeners:\n  - url: quic://127.0.0.1:1883\n', 2, 'tcp://'),
    ('a port too large', 'listeners:\n  - url: tcp://127.0.0.1:70000\n', 2, '65535'),
    ('a list where a group belongs', 'limits:\n  - 5\n', 2, 'limits'),
    ('a key twice', 'limits:\n  connections_max: 5\n  connections_max: 6\n', 3,
     'connections_max'),
    ('not YAML', 'limits: [\nnode: }\n', 2, ''),
]


@test(only='dunlin', each=[(name,) for name, *_ in BAD])
def bad_file_is_refused_with_its_line(_b, name):
    text, line, hint = next(rest for n, *rest in BAD if n == name)
    conf = Conf(text)
    for how in ('--check-config',), ():
        status, said = dunlin('--config', conf.path, *how)
        equal(status not in (0, None) and status > 0, True, f'{status}: {said}')
        equal(f'{conf.path}:{line}' in said, True, f'{conf.path}:{line} in {said}')
        equal(hint in said, True, f'{hint!r} in {said}')


@test(only='dunlin')
def all_mistakes_are_told_at_once(_b):
    conf = Conf('limits:\n  connections_max: many\n  inflight_max: 0\nlog:\n  level: loud\n')
    _, said = dunlin('--config', conf.path, '--check-config')
    for line in (2, 3, 5):
        equal(f'{conf.path}:{line}' in said, True, f'line {line} in {said}')


@test(only='dunlin')
def missing_file_is_refused(_b):
    status, said = dunlin('--config', '/nowhere/dunlin.yaml')
    equal(status > 0 and '/nowhere/dunlin.yaml' in said, True, said)


@test(only='dunlin', each=[
    ('--set limits.connections_max=none', 'limits.connections_max'),
    ('--set limits.connection_max=5', 'limits.connection_max'),
    ('--set nonsense', '--set'),
    ('--log-level loud', 'debug'),
    ('--listen here', 'tcp://'),
    ('--nonsense', '--nonsense'),
    ('--config', '--config'),
])
def bad_flag_is_refused(_b, flags, hint):
    status, said = dunlin('--check-config', *flags.split())
    equal(status > 0, True, f'{status}: {said}')
    equal(hint in said, True, f'{hint!r} in {said}')


@test(only='dunlin', each=[('DUNLIN_LIMITS__CONNECTIONS_MAX', 'many'),
                           ('DUNLIN_LIMITS__CONECTIONS_MAX', '5'), ('DUNLIN_LOG__LEVEL', 'loud')])
def bad_variable_is_refused(_b, name, value):
    status, said = dunlin('--check-config', environment={name: value})
    equal(status > 0, True, f'{status}: {said}')
    equal(name in said, True, said)


@test(only='dunlin')
def good_configuration_is_checked_and_not_run(_b):
    conf = Conf('log: {level: debug}\nlimits:\n  output_bytes_max: 2 MiB\n')
    status, said = dunlin('--config', conf.path, '--check-config')
    equal(status, 0, said)


@test(only='dunlin')
def values_come_from_the_nearest_source(_b):
    """file < environment < flags, and the dump says which."""
    conf = Conf('limits:\n  connections_max: 11\n  inflight_max: 12\n  receive_maximum: 13\n')
    status, dump = dunlin('--config', conf.path, '--set', 'limits.inflight_max=22',
                          '--log-level', 'error', '--dump-config',
                          environment={'DUNLIN_LIMITS__INFLIGHT_MAX': '32',
                                       'DUNLIN_LIMITS__RECEIVE_MAXIMUM': '33'})
    equal(status, 0, dump)
    for key, value, origin in (('connections_max', '11', conf.path), ('inflight_max', '22', '--set'),
                               ('receive_maximum', '33', 'DUNLIN_LIMITS__RECEIVE_MAXIMUM'),
                               ('level', 'error', '--log-level'),
                               ('topic_alias_maximum', '10', 'default')):
        found = re.search(rf'^  {key}:\s*(\S+)(.*)$', dump, re.MULTILINE)
        equal(found is not None and found[1] == value and origin in found[2], True,
              f'{key}: {value} from {origin} in\n{dump}')


@test(only='dunlin')
def dump_loads_to_the_same(_b):
    conf = Conf('limits:\n  connections_max: 11\nlisteners:\n  - url: tcp://127.0.0.1:2883\n'
                '  - url: "tcp://[::1]:2883"\nshared_subscriptions: {strategy: sticky}\n')
    values = []
    for _ in range(2):
        status, dump = dunlin('--config', conf.path, '--dump-config')
        equal(status, 0, dump)
        values.append([line.split('#')[0].rstrip() for line in dump.splitlines()
                       if line.split('#')[0].strip()])
        conf = Conf(dump)
    equal(values[0], values[1])


@test(only='dunlin')
def value_from_a_file_named_in_the_environment(_b):
    secret = Conf('secret/prefix\n')
    status, dump = dunlin('--dump-config',
                          environment={'DUNLIN_MQTT__RESPONSE_INFORMATION_FILE': secret.path})
    equal(status, 0, dump)
    equal('secret/prefix' in dump, True, dump)


@test(only='dunlin', each=[('--help',), ('--version',)])
def help_and_version(_b, flag):
    status, said = dunlin(flag)
    equal(status, 0, said)
    equal('dunlin' in said.lower(), True, said)


# ---- Listeners

@test(only='dunlin')
def two_listeners(b):
    port = PORTS.take()
    other = b.another(arguments=['--listen', f'tcp://127.0.0.1:{port}'])
    s = other.connected()
    s.subscribe('t', qos=1)
    with Client(('127.0.0.1', port)) as c:
        c.connect('')
        c.publish('t', b'x', qos=1)
    s.expect_message('t', b'x')


@test(only='dunlin')
def ipv6(b):
    port = PORTS.take()
    b.another(arguments=['--listen', f'tcp://[::1]:{port}'])
    with socket.create_connection(('::1', port)) as s:
        s.settimeout(Client.timeout)
        s.sendall(wire.connect(V311, 'six'))
        equal(s.recv(4), b'\x20\x02\x00\x00')


@test(only='dunlin')
def others_than_loopback_need_allow_anonymous(b):
    """Without an authenticator it is not opened, and the log says why."""
    port = PORTS.take()
    listen = ['--listen', f'tcp://0.0.0.0:{port}']
    try:
        closed = Broker(f'{b.name}-closed', arguments=listen)
        b.open.append(closed)
        said = wait_until(lambda: 'allow_anonymous' in closed.log() and closed.log())
    except Unexpected as e:  # or it does not even start
        said = str(e)
    equal('allow_anonymous' in said, True, said)
    equal(answers(('127.0.0.1', port)), False, 'the other address answers')

    b.another({'allow_anonymous': 'true'}, arguments=listen)
    equal(answers(('127.0.0.1', port)), True, 'it answers once allowed')


@test(only='dunlin')
def port_in_use_is_told(b):
    """Also when it is another broker that has it: connections must not go to both."""
    other = b.another()
    status, said = dunlin('--listen', f'tcp://127.0.0.1:{other.port}')
    equal(status > 0, True, f'{status}: {said}')
    equal(str(other.port) in said, True, said)
    other.connected().ping()


@test(only='dunlin', each=[('listener',), ('unix',), ('admin',)])
def an_address_that_becomes_free_is_taken(b, what):
    """The kernel frees those of a process that was killed a little after its end."""
    path = os.path.join(os.path.abspath(Launch.folder), f'freed-{os.getpid()}.sock')
    held = socket.socket(socket.AF_UNIX if what == 'unix' else socket.AF_INET)
    held.bind(path if what == 'unix' else ('127.0.0.1', 0))
    held.listen()
    address = held.getsockname()
    arguments = {'listener': ['--listen', f'tcp://127.0.0.1:{address[1]}'],
                 'unix': ['--listen', f'unix://{path}'],
                 'admin': ['--admin', f'127.0.0.1:{address[1]}']}[what]
    freed = threading.Timer(0.3, held.close)
    freed.start()
    try:
        begun = time.monotonic()
        other = b.another(arguments=arguments)
        equal(time.monotonic() - begun > 0.29, True, 'it waited')
        equal(other.events('listen_failed') + other.events('admin_listen_failed'), [])
        if what != 'admin':
            equal(answers(address), True)
    finally:
        freed.join()


# ---- The log

@test(only='dunlin')
def json_lines_are_json(b):
    other = b.another({'log.format': 'json', 'log.level': 'debug'})
    other.connected('snow ☃ "quoted" \\ and \x01').disconnect()
    c = other.connected()
    c.send(b'\xC1\x00')
    c.expect_disconnect(0x81)
    other.signal(signal.SIGUSR1)
    wait_until(lambda: 'publish_received' in other.log())
    lines = [line for line in other.log().splitlines() if not line.startswith('---')]
    lines = [json.loads(line) for line in lines[:-1]]
    equal(len(lines) > 3, True)
    for line in lines:
        equal({'ts', 'level', 'msg'} <= set(line), True, line)


@test(only='dunlin')
def logfmt_lines_are_logfmt(b):
    other = b.another({'log.level': 'debug'})
    other.connected('snow ☃ "quoted" = \n and \x01').disconnect()
    other.counters('publish_received')
    pair = r'[a-z0-9_]+=(?:"(?:[^"\\]|\\.)*"|[^\s"=]*)'
    for line in other.log().splitlines()[:-1]:
        if not line.startswith('---'):
            equal(bool(re.fullmatch(rf'ts=\S+ level=\w+ msg=\S+(?: {pair})*', line)), True, line)


@test(only='dunlin')
def protocol_error_is_one_line_for_the_operator(b):
    other = b.another()
    c = other.connected('culprit')
    c.send(b'\xC1\x00')
    c.expect_disconnect(0x81)
    wait_until(lambda: 'culprit' in other.log(), what='a line that names the client')


# ---- Shards

@test(only='dunlin', each=[(1,), (2,), (5,)])
def any_number_of_shards(b, shards):
    """Each client id has its shard; who is where does not show."""
    other = b.another({'node.shards': shards})
    clients = [other.connected(f'client-{i}') for i in range(24)]
    for i, c in enumerate(clients):
        c.subscribe(f'to/{i}', 'to/all', qos=2)
        c.publish('retained', b'%d' % i, qos=1, retain=True)
    for i, c in enumerate(clients):
        c.publish(f'to/{(i * 7 + 3) % 24}', b'%d' % i, qos=2)
        clients[(i * 7 + 3) % 24].expect_message(payload=b'%d' % i, qos=2)
    clients[5].publish('to/all', b'all', qos=1)
    for c in clients:
        c.expect_message('to/all', b'all')
        c.subscribe('retained')
        c.expect_message('retained', b'23', retain=True)


@test(only='dunlin')
def default_number_of_shards_is_told(b):
    """As many as processors that may be used: here, one."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:1])
    try:
        other = b.another()
    finally:
        os.sched_setaffinity(0, allowed)
    wait_until(lambda: re.search(r'shards=1\b', other.log()), what='a line with shards=1')
