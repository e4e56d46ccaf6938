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

from asked import Asked
from harness import Client, Launch, equal, finish, lines_until, needs_root, test, wait_until
from raw import V5, V311, Unexpected, Will, publish_many, wire

SECONDS = 18
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
    equal(line['peer'], f'unix:uid={os.geteuid()},pid={os.getpid()}')


# ---- Who is at the other end

NOBODY, NOT_ALLOWED = 65534, 0x87


@contextlib.contextmanager
def another_user(uid, gid):
    """It is by these that the kernel knows who connects meanwhile."""
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def ruled(b, rules, settings=None):
    """A broker with those rules, whose socket is for everybody; and their file's name."""
    at = folder(b)
    os.chmod(at, 0o755)
    path = os.path.join(at, 'acl')
    write(path, rules)
    return listening(b, os.path.join(at, 's'), {'acl.file': path, **(settings or {})},
                     unix_mode='0666'), path


def write(path, text):
    with open(f'{path}.new', 'w', encoding='utf-8') as f:
        f.write(text)
    os.replace(f'{path}.new', path)


def change(other, path, text, event='reloaded'):
    since = other.log_size()
    write(path, text)
    other.signal(signal.SIGHUP)
    return wait_until(lambda: other.events(event, since), what=event)


def may(c, topic, yes):
    c.publish(topic, b'x', qos=1, expect=(0, 0x10) if yes else (NOT_ALLOWED,))


@test(only='dunlin')
def rules_are_about_who_is_there(b):
    me, group = os.geteuid(), os.getegid()
    other, path = ruled(b, f'allow uid={me} publish uid\nallow gid={group} publish gid\n'
                           f'allow unix publish unix\ndeny uid={me} publish all\n'
                           f'allow uid={me + 1} publish other\nallow publish all\n')
    plain = other.connected()
    for i in range(4):  # on each of the shards
        c = other.connected(f'unix-who-{i}', at='unix')
        for topic, yes in ('uid', True), ('gid', True), ('unix', True), ('all', False), ('other', False):
            may(c, topic, yes)
    for topic, yes in ('uid', False), ('gid', False), ('unix', False), ('all', True):
        may(plain, topic, yes)
    change(other, path, f'allow uid={me} publish other\n')
    may(c, 'other', True)
    may(c, 'uid', False)
    may(plain, 'other', False)


@test(only='dunlin')
def another_user_of_the_machine(b):
    needs_root()
    other, path = ruled(b, 'allow uid=root publish root\nallow uid=nobody publish nobody\n'
                           'allow gid=4711 publish group\n')
    root = other.connected('unix-root', at='unix')
    clients = []
    with another_user(NOBODY, 4711):
        for i in range(4):
            clients.append(other.connected(f'unix-nobody-{i}', at='unix'))
    for c in clients:  # whoever the process is by now
        for topic, yes in ('root', False), ('nobody', True), ('group', True):
            may(c, topic, yes)
    for topic, yes in ('root', True), ('nobody', False), ('group', False):
        may(root, topic, yes)
    change(other, path, 'deny uid=nobody gid=4711 publish nobody\nallow publish nobody\n')
    may(clients[0], 'nobody', False)
    may(root, 'nobody', True)


@test(only='dunlin')
def user_that_is_not_there_is_a_mistake(b):
    other, path = ruled(b, f'allow uid={os.geteuid()} publish a\n')
    line, = change(other, path, 'allow uid=n0b0dy-here publish b\n', 'acl_file_refused')
    equal('n0b0dy-here' in line['error'], True, line)
    c = other.connected(at='unix')
    may(c, 'a', True)
    may(c, 'b', False)


@test(only='dunlin')
def server_is_told_who_is_there(b):
    asked = Asked({'result': 'allow'})
    b.open.append(asked)
    other = at_socket(b, {'http.url': asked.url(), 'http.timeout_ms': 20000})
    other.connected('unix-told', at='unix')
    question = asked.questions[-1]
    equal((question['client_id'], question['address'], question['uid']),
          ('unix-told', 'unix', os.geteuid()))
    other.connected('tcp-told')
    equal('uid' in asked.questions[-1], False)


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
