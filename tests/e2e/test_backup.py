# SPDX-License-Identifier: Apache-2.0
"""dunlin backup and dunlin restore: while the broker runs, under load, and whatever goes wrong."""
import os
import shutil
import signal
import socket
import subprocess
import threading

from harness import Launch, equal, needs_root, pass_time, test
from raw import PUBACK, PUBCOMP, PUBREC, PUBREL, V5, Client, Unexpected, publish_many, wire

SET = {'node.shards': 1}
SECONDS = 60
SEGMENT = 1 << 20
ROUNDS = 10


def persistence():
    import test_persistence  # not above: its tests would be this module's, too
    return test_persistence


def lasting(*arguments, **how):
    return persistence().lasting(*arguments, **how)


def offline(*arguments, **how):
    persistence().offline(*arguments, **how)


def dunlin(*arguments):
    from test_process import dunlin as run  # likewise
    return run(*arguments)


def kept(b, **settings):
    """A broker with a directory of its own, and a folder beside it for backups."""
    folder = persistence().Folder(b).path
    keys = {'data.dir': os.path.join(folder, 'data'), 'data.journal_segment_bytes': SEGMENT,
            'node.shards': 2, 'data.checkpoint_interval_s': 1,
            'limits.session_queue_messages_max': 1000000,
            **{key.replace('__', '.'): value for key, value in settings.items()}}
    return b.another(keys), folder


def back_up(broker, to):
    status, said = dunlin('backup', '--data', broker.settings['data.dir'], '--to', to)
    equal(status, 0, said)
    return said


def restored(b, broker, backup, to):
    """A broker on what a backup is restored to."""
    status, said = dunlin('restore', '--from', backup, '--data', to)
    equal(status, 0, said)
    return b.another({**broker.settings, 'data.dir': to})


def node_id(folder):
    with open(os.path.join(folder, 'node.id'), encoding='ascii') as f:
        return f.read()


def names(folder):
    return sorted(os.listdir(folder))


# ---- What is in it

@test(only='dunlin', each=[('live',), ('ended',), ('killed',)])
def a_node_comes_back(b, how):
    n, folder = kept(b)
    offline(n, 'a', 'x/#', qos=2)
    p = n.connected()
    p.publish('x/1', b'one', qos=1)
    p.publish('x/2', b'two', qos=2)
    p.publish('r/1', b'retained', qos=1, retain=True)
    if how == 'ended':
        n.signal(signal.SIGTERM)
        n.close_clients()
        equal(n.wait_end(), 0)
        n.process = None
    elif how == 'killed':
        n.kill()
    said = back_up(n, f'{folder}/backup')
    equal('backed up' in said, True, said)
    equal(names(f'{folder}/backup'), ['checkpoint', 'dunlin.backup', 'journal', 'node.id'])
    equal(names(folder), ['backup', 'data'])
    status, said = dunlin('backup', '--check', f'{folder}/backup')
    equal((status, 'good' in said), (0, True), said)
    if how == 'live':
        p.publish('x/3', b'three', qos=1)  # is not in it
    again = restored(b, n, f'{folder}/backup', f'{folder}/again')
    equal(node_id(f'{folder}/again'), node_id(f'{folder}/data'))
    c = lasting(again, 'a', present=True)
    c.expect_message('x/1', b'one')
    c.expect_message('x/2', b'two', qos=2)
    c.expect_nothing()
    again.connected('reader').subscribe('r/#')
    c.subscribe('r/#', qos=0)
    c.expect_message('r/1', b'retained', qos=0, retain=True)


class Publisher(threading.Thread):
    """Publishes numbers to a topic, up to a thousand a second, until it is stopped; knows which it
    was told are kept."""

    def __init__(self, broker, topic, qos):
        super().__init__()
        self.client = Client(broker.address, V5)
        self.client.connect(f'publisher-{topic}')
        self.topic, self.qos = topic, qos
        self.sent = self.acknowledged = 0
        self.stopping, self.failure = threading.Event(), None

    def run(self):
        try:
            while not self.stopping.is_set():
                bodies = [b'%d' % number for number in range(self.sent, self.sent + 20)]
                self.sent += len(bodies)
                publish_many(self.client, self.topic, bodies, self.qos)
                self.acknowledged = self.sent
                self.stopping.wait(0.02)
        except (Unexpected, OSError) as e:
            self.failure = e

    def close(self):
        self.stopping.set()
        self.join()
        self.client.close()


def drain(broker, client_id, topic):
    """What is queued, as numbers."""
    broker.connected().publish(topic, b'the end', qos=2)
    c = broker.client()
    equal(c.connect(client_id, clean_start=False, props={'session_expiry_interval': 300,
                                                          'receive_maximum': 1000}).session_present,
          True, f'session of {client_id}')
    got = []
    while True:
        m = c.recv()
        if m.type == PUBREL:
            c.send(wire.ack(PUBCOMP, m.packet_id))
            continue
        if m.payload == b'the end':
            return got
        got.append(int(m.payload))
        c.send(wire.ack(PUBACK if m.qos == 1 else PUBREC, m.packet_id))


@test(only='dunlin', timeout=300)
def what_was_acknowledged_before_is_in_it(b):
    """Under load, again and again, while checkpoints are made and segments go."""
    n, folder = kept(b)
    topics = ['x/0', 'x/1', 'x/2']
    publishers = [Publisher(n, topic, 1 + i % 2) for i, topic in enumerate(topics)]
    for p in publishers:
        b.open.append(p)
        offline(n, f'session-{p.topic}', p.topic, qos=2)
    for p in publishers:
        p.start()
    for number in range(ROUNDS):
        pass_time(0.15)
        before = {p.topic: p.acknowledged for p in publishers}
        back_up(n, f'{folder}/backup-{number}')
        after = {p.topic: p.sent for p in publishers}
        again = restored(b, n, f'{folder}/backup-{number}', f'{folder}/again')
        for topic in topics:
            got = drain(again, f'session-{topic}', topic)
            equal(len(got) >= before[topic], True,
                  f'{topic}: {len(got)} of {before[topic]} that were acknowledged')
            equal(got, list(range(len(got))), f'{topic}: all, in order, and once')
            equal(len(got) <= after[topic], True, f'{topic}: {len(got)} of {after[topic]}')
        b.open.remove(again)
        again.stop()
        shutil.rmtree(f'{folder}/again')
        shutil.rmtree(f'{folder}/backup-{number}')
    for p in publishers:
        equal(p.failure, None)
    equal(n.events('checkpoint_failed'), [])


# ---- What goes wrong

@test(only='dunlin')
def what_it_is_called_with_is_judged(b):
    n, folder = kept(b)
    data = n.settings['data.dir']
    os.mkdir(f'{folder}/there')
    rows = [
        (2, '--to', ['backup', '--data', data]),
        (2, 'no such flag', ['backup', '--nonsense', 'x']),
        (2, 'value is missing', ['backup', '--data']),
        (2, 'twice', ['backup', '--data', data, '--data', data]),
        (2, '--check alone', ['backup', '--data', data, '--check', data]),
        (2, '--from', ['restore', '--data', data]),
        (0, 'Usage: dunlin backup', ['backup', '--help']),
        (0, 'Usage: dunlin restore', ['restore', '-h']),
        (1, 'it is there already', ['backup', '--data', data, '--to', f'{folder}/there']),
        (1, 'No such file', ['backup', '--data', data, '--to', f'{folder}/none/backup']),
        (1, 'No such file', ['backup', '--data', f'{folder}/none', '--to', f'{folder}/backup']),
        (1, 'no data directory', ['backup', '--data', folder, '--to', f'{folder}/backup']),
        (1, 'it is no backup', ['backup', '--check', folder]),
        (1, 'it is no backup', ['restore', '--from', data, '--data', f'{folder}/again']),
    ]
    for status, text, arguments in rows:
        got, said = dunlin(*arguments)
        equal((got, text in said), (status, True), f'{arguments}: {said}')
    equal(names(folder), ['data', 'there'], 'nothing is left behind')


@test(only='dunlin')
def restoring_needs_an_empty_directory(b):
    n, folder = kept(b)
    back_up(n, f'{folder}/backup')
    os.mkdir(f'{folder}/full')
    with open(f'{folder}/full/file', 'wb'):
        pass
    for data, text in ((f'{folder}/full', 'it is not empty: there is file'),
                       (n.settings['data.dir'], 'it is not empty'),
                       (f'{folder}/none/data', 'No such file')):
        status, said = dunlin('restore', '--from', f'{folder}/backup', '--data', data)
        equal((status, text in said), (1, True), said)
    equal(names(f'{folder}/full'), ['file'])
    os.makedirs(f'{folder}/empty/lost+found')
    restored(b, n, f'{folder}/backup', f'{folder}/empty').connected()
    n.connected().ping()


@test(only='dunlin')
def half_of_a_restore_is_no_directory(b):
    n, folder = kept(b)
    offline(n, 'a', 'x', qos=1)
    back_up(n, f'{folder}/backup')
    shutil.copytree(f'{folder}/backup', f'{folder}/half', ignore=shutil.ignore_patterns('*.mdb'))
    with open(f'{folder}/half/restore.unfinished', 'wb'):
        pass
    status, said = dunlin('--listen', 'tcp://127.0.0.1:0', '--data', f'{folder}/half')
    equal((status, 'run dunlin restore again' in said), (1, True), said)
    status, said = dunlin('backup', '--data', f'{folder}/half', '--to', f'{folder}/other')
    equal((status, 'run dunlin restore again' in said), (1, True), said)
    os.unlink(f'{folder}/half/dunlin.backup')
    again = restored(b, n, f'{folder}/backup', f'{folder}/half')
    lasting(again, 'a', present=True)


@test(only='dunlin')
def damage_is_found(b):
    n, folder = kept(b)
    offline(n, 'a', 'x', qos=1)
    publish_many(n.connected(), 'x', [b'%d' % i * 100 for i in range(300)], 1)
    back_up(n, f'{folder}/backup')
    files = [os.path.join(at, name) for at, _, found in os.walk(f'{folder}/backup')
             for name in found]
    equal(len(files) >= 4, True, str(files))
    for path in files:
        with open(path, 'r+b') as f:
            data = f.read()
            for at in (0, len(data) // 2, len(data) - 1):
                f.seek(at)
                f.write(bytes([data[at] ^ 1]))
                f.flush()
                status, said = dunlin('backup', '--check', f'{folder}/backup')
                equal(status, 1, f'{path}, {at}: {said}')
                f.seek(at)
                f.write(data[at:at + 1])
                f.flush()
            f.truncate(len(data) - 1)
            status, said = dunlin('restore', '--from', f'{folder}/backup', '--data',
                                  f'{folder}/again')
            equal(status, 1, f'{path} is shorter: {said}')
            equal(os.path.exists(f'{folder}/again'), False)
            f.seek(0)
            f.write(data)
        os.rename(path, path + '.away')
        equal(dunlin('backup', '--check', f'{folder}/backup')[0], 1, f'without {path}')
        os.rename(path + '.away', path)
    equal(dunlin('backup', '--check', f'{folder}/backup')[0], 0)


@test(only='dunlin')
def a_damaged_node_gives_no_backup(b):
    n, folder = kept(b, node__shards=1)
    offline(n, 'a', 'x', qos=1)
    p = n.connected()
    for number in range(3):
        p.publish('x', b'message-%d' % number, qos=1)
    n.kill()
    for name in names(f'{folder}/data/journal'):
        path = f'{folder}/data/journal/{name}'
        with open(path, 'r+b') as f:
            data = f.read()
            if b'message-1' in data:
                f.seek(data.index(b'message-1'))
                f.write(b'M')
    status, said = dunlin('backup', '--data', f'{folder}/data', '--to', f'{folder}/backup')
    equal((status, 'journal is damaged' in said), (1, True), said)
    equal(names(folder), ['data'])


@test(only='dunlin')
def a_full_target_is_told(b):
    disk = persistence().SmallDisk(b, '1m')
    n, _ = kept(b)
    offline(n, 'a', 'x', qos=1)
    p = n.connected()
    publish_many(p, 'x', [os.urandom(50000) for _ in range(40)], 1)
    status, said = dunlin('backup', '--data', n.settings['data.dir'], '--to', f'{disk.path}/backup')
    equal((status, 'No space left' in said), (1, True), said)
    equal(names(disk.path), [], 'what is left there')
    p.publish('x', b'goes on', qos=1)
    status, said = dunlin('restore', '--from', back_up_beside(n), '--data', f'{disk.path}/data')
    equal((status, 'No space left' in said), (1, True), said)
    status, said = dunlin('--listen', 'tcp://127.0.0.1:0', '--data', f'{disk.path}/data')
    equal((status, 'run dunlin restore again' in said), (1, True), said)


def back_up_beside(broker):
    to = os.path.join(os.path.dirname(broker.settings['data.dir']), 'beside')
    back_up(broker, to)
    return to


@test(only='dunlin')
def a_backup_that_was_killed_leaves_nothing_that_looks_like_one(b):
    n, folder = kept(b)
    offline(n, 'a', 'x', qos=1)
    publish_many(n.connected(), 'x', [os.urandom(50000) for _ in range(40)], 1)
    for delay in (0, 0.01, 0.02, 0.05, 0.1):
        process = subprocess.Popen([Launch.program, 'backup', '--data', n.settings['data.dir'],
                                    '--to', f'{folder}/backup'], stdout=subprocess.DEVNULL)
        pass_time(delay)
        process.kill()
        process.wait()
        if os.path.exists(f'{folder}/backup'):  # it was quicker
            equal(dunlin('backup', '--check', f'{folder}/backup')[0], 0)
            shutil.rmtree(f'{folder}/backup')
    back_up(n, f'{folder}/backup')
    equal(names(folder), ['backup', 'data'])
    n.connected().ping()


# ---- The broker's part

class Asking:
    """What a backup is for the broker."""

    def __init__(self, b, broker):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.settimeout(20 * Launch.slow)
        self.s.connect(os.path.join(broker.settings['data.dir'], 'backup.sock'))
        b.open.append(self)
        self.expect(b'ready')

    def expect(self, text):
        equal(self.s.recv(256), text)

    def ask(self):
        """For the checkpoint; where it comes from."""
        ours, theirs = socket.socketpair()
        socket.send_fds(self.s, [b'copy'], [theirs.fileno()])
        theirs.close()
        return ours

    def close(self):
        self.s.close()


@test(only='dunlin', timeout=90)
def a_backup_gives_way_to_what_is_written(b):
    """Nobody is refused anything since somebody backs up, and does not come to an end."""
    disk = persistence().SmallDisk(b, '160m')
    n, _ = kept(b, node__shards=1, data__dir=f'{disk.path}/data', limits__packet_bytes_max=1 << 18)
    c = lasting(n, 'drain')
    c.subscribe('y', qos=1)
    asking = Asking(b, n)
    with asking.ask() as stream:
        while stream.recv(65536):
            pass
    asking.expect(b'copied')
    p = n.connected()
    body = os.urandom(200000)
    for _ in range(1000):
        p.publish('y', body, qos=1)
        c.expect_message('y', body)
    asking.s.send(b'end')
    asking.expect(b'lost')
    equal('needed the room' in n.one_event('backup_failed')['reason'], True)
    equal(n.events('disk_refuses'), [])


@test(only='dunlin', each=[('connected',), ('copying',), ('copied',)])
def a_broker_ends_while_it_is_backed_up(b, when):
    n, _ = kept(b)
    publish_many(n.connected(), 'r', [os.urandom(1000000) for _ in range(3)], 1)
    p = n.connected()
    for number in range(5):
        p.publish(f'r/{number}', os.urandom(1000000), qos=1, retain=True)
    pass_time(1.5)  # a checkpoint has them
    asking = Asking(b, n)
    if when != 'connected':
        stream = asking.ask()
        equal(len(stream.recv(1000)), 1000)
        if when == 'copied':
            while stream.recv(1 << 20):
                pass
            asking.expect(b'copied')
    n.close_clients()
    n.signal(signal.SIGTERM)
    equal(n.wait_end(10 * Launch.slow), 0)
    equal('backup.sock' in names(n.settings['data.dir']), False)


@test(only='dunlin')
def who_goes_away_holds_nothing(b):
    n, folder = kept(b)
    p = n.connected()
    for number in range(5):
        p.publish(f'r/{number}', os.urandom(1000000), qos=1, retain=True)
    pass_time(1.5)
    Asking(b, n).close()
    asking = Asking(b, n)
    stream = asking.ask()
    equal(len(stream.recv(1000)), 1000)
    stream.close()
    asking.close()
    asking = Asking(b, n)
    asking.s.send(b'nonsense')
    asking.close()
    back_up(n, f'{folder}/backup')


@test(only='dunlin')
def the_socket_is_its_owners_alone(b):
    n, folder = kept(b)
    path = os.path.join(n.settings['data.dir'], 'backup.sock')
    equal(os.stat(path).st_mode & 0o777, 0o600)
    n.kill()
    n.start()
    back_up(n, f'{folder}/backup')


@test(only='dunlin')
def a_long_path_is_no_obstacle(b):
    folder = os.path.join(persistence().Folder(b).path, 'long' * 30)
    os.mkdir(folder)
    n = b.another({'data.dir': f'{folder}/data', 'node.shards': 1})
    n.connected().publish('r', b'x', qos=1, retain=True)
    back_up(n, f'{folder}/backup')
    equal(n.events('backup_socket_failed'), [])


@test(only='dunlin')
def another_users_broker_is_backed_up_by_root(b):
    """process.user: the files are its own, and a restore as root gives them to it."""
    needs_root()
    disk = persistence().SmallDisk(b, '64m')
    os.chmod(disk.path, 0o755)
    os.mkdir(f'{disk.path}/data')
    os.chown(f'{disk.path}/data', 65534, 65534)
    n = b.another({'data.dir': f'{disk.path}/data', 'process.user': '65534', 'node.shards': 1,
                   'data.journal_segment_bytes': SEGMENT})
    offline(n, 'a', 'x', qos=1)
    back_up(n, f'{disk.path}/backup')
    os.mkdir(f'{disk.path}/again')
    os.chown(f'{disk.path}/again', 65534, 65534)
    again = restored(b, n, f'{disk.path}/backup', f'{disk.path}/again')
    lasting(again, 'a', present=True)
    for at, dirs, found in os.walk(f'{disk.path}/again'):
        for name in dirs + found:
            equal(os.lstat(os.path.join(at, name)).st_uid, 65534, name)
