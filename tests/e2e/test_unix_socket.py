# SPDX-License-Identifier: Apache-2.0
"""A Unix socket: its file, from the start of the broker to its end, and MQTT through it."""
import contextlib
import os
import secrets
import signal
import socket
import stat
import subprocess
import tempfile

from harness import Client, Launch, equal, finish, lines_until, test, wait_until
from raw import V5, V311, Unexpected, Will, publish_many, wire

SECONDS = 6
MIB = 1 << 20
VERSIONS = ('mqttv31', 'mqttv311', 'mqttv5')


def folder(b):
    """Of a test's own, with a short name: a socket's may have 107 bytes."""
    made = contextlib.ExitStack()  # has a close()
    b.open.append(made)
    return made.enter_context(tempfile.TemporaryDirectory(prefix='e2e-unix-'))


def listening(b, path, settings=None, **more):
    """A broker with a socket at that path."""
    return b.another({'limits.packet_bytes_max': 2 * MIB, **(settings or {})},
                     listeners={'unix': {'url': f'unix://{path}', **more}})


def at_socket(b, settings=None, **more):
    return listening(b, os.path.join(folder(b), 'mqtt.sock'), settings, **more)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def is_socket(path):
    return os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)


def refuses_to_start(path):
    """What a broker says that is to listen there; it has to end by itself, and name the place."""
    try:
        done = subprocess.run([Launch.program, '--listen', f'unix://{path}'],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=20 * Launch.slow,
                              check=False)
    except subprocess.TimeoutExpired as e:
        raise Unexpected(f'it runs:\n{e.stdout}') from None
    equal(done.returncode > 0, True, f'{done.returncode}: {done.stdout}')
    equal(path[:30] in done.stdout, True, f'{path} in {done.stdout}')
    return done.stdout


# ---- MQTT through it

@test(each=[(V311,), (V5,)])
def publish_reaches(b, version):
    other = at_socket(b)
    s, p = (other.connected('', version, at='unix') for _ in range(2))
    for qos in 0, 1, 2:
        s.subscribe(f'unix/{qos}', qos=qos)
        p.publish(f'unix/{qos}', b'hello', qos=qos)
        s.expect_message(f'unix/{qos}', b'hello', qos=qos)
    plain = other.connected()
    plain.publish('unix/1', b'from elsewhere', qos=1)
    s.expect_message('unix/1', b'from elsewhere')


@test
def a_mebibyte_and_many_small_ones(b):
    other = at_socket(b)
    s, p = (other.connected(at='unix') for _ in range(2))
    s.subscribe('unix/much', qos=1)
    payload = secrets.token_bytes(MIB)
    p.publish('unix/much', payload, qos=1)
    equal(s.expect_message('unix/much').payload == payload, True, 'the payload')
    payloads = [b'%d' % i for i in range(3000)]
    publish_many(p, 'unix/much', payloads, qos=1, window=20)
    for payload in payloads:
        s.expect_message('unix/much', payload)


@test
def lost_connection_leaves_its_will(b):
    other = at_socket(b)
    s = other.connected()
    s.subscribe('unix/will')
    other.connected(at='unix', will=Will('unix/will', b'gone')).close()
    s.expect_message('unix/will', b'gone')


@test
def protocol_error_ends_it(b):
    other = at_socket(b)
    c = other.connected(at='unix')
    c.send(b'\x00\x00')
    c.expect_disconnect(0x81)
    other.connected(at='unix').ping()


@test(only='dunlin')
def connect_has_its_time(b):
    other = at_socket(b, {'limits.connect_timeout_s': 1})
    other.client(at='unix').expect_end(4 * Launch.slow)


@test(each=[(v,) for v in VERSIONS])
def mosquitto_clients(b, version):
    other = at_socket(b)
    how = ('--unix', other.at['unix'], '-V', version, '-q', '2', '-t', 'unix/mosquitto')
    s = other.run('stdbuf', '-oL', 'mosquitto_sub', '-d', '-F', 'message %p', *how)
    lines_until(s, 'Subscribed (mid')
    finish(other.run('mosquitto_pub', '-m', 'hello', *how))
    equal(lines_until(s, 'message ')[-1], 'message hello')


@test(only='dunlin')
def client_is_told_as_one_of_this_machine(b):
    other = at_socket(b, {'log.level': 'debug'})
    other.connected('unix-peer', at='unix').ping()
    line, = wait_until(lambda: [e for e in other.events('client_connected')
                                if e['client_id'] == 'unix-peer'], what='its line')
    equal('unix' in line['peer'], True, line)


# ---- The file

@test(only='dunlin', each=[('0660', 0o660), ('0600', 0o600), ('0666', 0o666), ('660', 0o660)])
def mode_is_the_configured(b, text, want):
    """Whatever the umask."""
    before = os.umask(0o077)
    try:
        other = at_socket(b, unix_mode=text)
    finally:
        os.umask(before)
    equal(oct(mode(other.at['unix'])), oct(want))
    other.connected(at='unix').ping()


@test(only='dunlin', each=[(0o022, 0o755), (0o077, 0o700)])
def mode_is_what_the_umask_leaves_otherwise(b, umask, want):
    before = os.umask(umask)
    try:
        other = at_socket(b)
    finally:
        os.umask(before)
    equal(oct(mode(other.at['unix'])), oct(want))


@test(only='dunlin', each=[('0888',), ('rw',), ('-1',), ('7777777',)])
def bad_mode_is_told(_b, text):
    done = subprocess.run([Launch.program, '--check-config', '--listen', 'unix:///tmp/never.sock',
                           '--set', f'listeners.0.unix_mode={text}'], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=20 * Launch.slow, check=False)
    equal(done.returncode > 0 and 'unix_mode' in done.stdout, True, done.stdout)


@test(only='dunlin', each=[('SIGTERM',), ('SIGINT',)])
def file_goes_with_the_broker(b, name):
    other = at_socket(b)
    c = other.connected(at='unix')
    equal(is_socket(other.at['unix']), True)
    other.signal(getattr(signal, name))
    c.expect_disconnect(0x8B)
    equal(other.wait_end(), 0)
    equal(os.path.lexists(other.at['unix']), False, 'the file is there')


@test(each=[(1,), (3,)])
def stale_file_after_a_kill_is_replaced(b, times):
    other = at_socket(b)
    path = other.at['unix']
    for _ in range(times):
        other.connected(at='unix').ping()
        other.kill()
        equal(is_socket(path), True, 'the file stays behind')
        other.start()
    other.connected(at='unix').ping()


@test(only='dunlin')
def file_of_a_living_broker_is_left_alone(b):
    """A second one does not take it away from the first."""
    other = at_socket(b)
    refuses_to_start(other.at['unix'])
    other.connected(at='unix').ping()


@test(only='dunlin')
def file_of_another_living_program_is_left_alone(b):
    path = os.path.join(folder(b), 'other.sock')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        refuses_to_start(path)
        with socket.socket(socket.AF_UNIX) as again:
            again.connect(path)


@test(only='dunlin', each=[('a file',), ('a folder',), ('a link to a file',), ('a fifo',)])
def what_is_no_socket_is_left_alone(b, kind):
    """It may be somebody's: the broker says so, and does not start."""
    at = folder(b)
    path, text = os.path.join(at, 'precious'), 'data'
    if kind == 'a folder':
        os.mkdir(path)
    elif kind == 'a fifo':
        os.mkfifo(path)
    else:
        target = path if kind == 'a file' else os.path.join(at, 'target')
        with open(target, 'w', encoding='utf-8') as f:
            f.write(text)
        if target != path:
            os.symlink(target, path)
    refuses_to_start(path)
    equal(os.path.lexists(path), True, 'it has gone')
    if kind in ('a file', 'a link to a file'):
        with open(path, encoding='utf-8') as f:
            equal(f.read(), text)


@test(only='dunlin')
def file_that_others_put_there_is_not_taken_away(b):
    """Replaced while the broker ran: it is another's now."""
    other = at_socket(b)
    path = other.at['unix']
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        s.listen()
        other.signal(signal.SIGTERM)
        equal(other.wait_end(), 0)
        equal(is_socket(path), True, 'the file')


@test(only='dunlin')
def missing_folder_is_told(b):
    refuses_to_start(os.path.join(folder(b), 'no', 'such', 'mqtt.sock'))


@test(only='dunlin')
def path_too_long_is_told(_b):
    path = '/tmp/' + 'x' * 120
    said = refuses_to_start(path)
    equal('107' in said or 'long' in said, True, said)


@test(only='dunlin')
def it_may_be_the_only_listener(b):
    """And is for loopback: it needs no allow_anonymous."""
    path = os.path.join(folder(b), 'only.sock')
    process = b.run(Launch.program, '--listen', f'unix://{path}')

    def answers():
        if process.poll() is not None:
            raise Unexpected(f'it ended:\n{process.stdout.read()}')
        with contextlib.suppress(OSError), contextlib.closing(Client(path, V311)) as c:
            c.connect('only')
            return True
        return False

    wait_until(answers, 20 * Launch.slow, what='an answer')
    process.send_signal(signal.SIGTERM)
    equal(process.wait(20 * Launch.slow), 0)


@test(only='dunlin')
def clients_by_the_hundred(b):
    other = at_socket(b)
    clients = [other.connected(at='unix') for _ in range(200)]
    clients[0].subscribe('unix/all', qos=1)
    for i, c in enumerate(clients):
        c.send(wire.publish(V5, 'unix/all', b'%d' % i, 1, 1))
    for c in clients:
        c.wait_for(wire.PUBACK)
    got = sorted(int(clients[0].expect_message('unix/all').payload) for _ in clients)
    equal(got, list(range(200)))
