# SPDX-License-Identifier: Apache-2.0
"""What the shards did last (docs/recorder.md), read by tshark."""
import glob
import os
import signal
import subprocess
import tempfile

from api import Api
from harness import Launch, equal, skip, test, wait_until
from pki import pki
from raw import V5, V311, wire
from tls import Tls
from wire import Will

SECONDS = 15
EXPIRY = {'session_expiry_interval': 1000}
SECRET, PAYLOAD = b's3cret-pAssword', b'p4yload-of-the-application'


class Recorded:
    """A broker that records into a folder of its own."""

    def __init__(self, b, **more):
        self.folder = tempfile.mkdtemp(prefix='recorder-', dir=Launch.folder)
        settings = {name.replace('__', '.'): value for name, value in more.items()}
        listeners = settings.pop('listeners', None)
        self.broker = b.another({'recorder.dir': self.folder, **settings}, listeners=listeners)

    def files(self):
        return sorted(glob.glob(f'{self.folder}/recorder-*.pcapng'))

    def written(self, why='asked'):
        """The file that SIGQUIT makes."""
        before = len(self.broker.events('recorder_written'))
        self.broker.signal(signal.SIGQUIT)
        lines = wait_until(lambda: self.broker.events('recorder_written')[before:], timeout=10,
                           what='a line about it')
        equal(lines[0]['why'], why)
        return lines[0]['file']


def rows(file, *fields):
    """What tshark finds, a tuple of those fields for each packet."""
    command = ['tshark', '-n', '-r', file, '-T', 'fields']
    for field in fields:
        command += ['-e', field]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60 * Launch.slow)
    return [tuple(line.split('\t')) for line in said.stdout.splitlines()]


def told(file):
    """What is no packet: the texts."""
    return [text for text, in rows(file, 'frame.comment') if text]


@test(only='dunlin', timeout=90)
def file_opens_in_tshark(b):
    r = Recorded(b)
    c = r.broker.connected('recorded', username='user', password=SECRET.decode())
    mine = str(c.sock.getsockname()[1])
    c.subscribe('re/#', qos=1)
    c.publish('re/corded', PAYLOAD, qos=1)
    c.expect_message('re/corded')
    r.broker.connected('older', version=V311).disconnect()
    file = r.written()
    found = [row for row in rows(file, 'mqtt.msgtype', 'mqtt.topic', 'exported_pdu.src_port',
                                 'exported_pdu.dst_port') if row[0] and mine in row]
    equal([kind for kind, *_ in found[:4]], ['1', '2', '8', '9'])
    equal(sorted(kind for kind, *_ in found[4:8]), ['3', '3', '4', '4'], 'there, back, acknowledged')
    equal({topic for kind, topic, *_ in found if kind == '3'}, {'re/corded'})
    equal({dst if src == mine else src for _, _, src, dst in found}, {str(r.broker.port)})
    equal('older' in {client for client, in rows(file, 'mqtt.clientid')}, True)
    equal(sorted(t for t in told(file) if 'recorded' in t or 'older' in t),
          ['closed: Success client_id=older', 'connected client_id=older', 'connected client_id=recorded'])


@test(only='dunlin', timeout=60)
def no_payload_and_no_password_is_in_it(b):
    r = Recorded(b)
    for version in V311, V5:
        c = r.broker.connected('secretive', version=version, username='user', password=SECRET.decode(),
                               will=Will('gone', PAYLOAD))
        c.publish('t', PAYLOAD, qos=1, **({'props': {'user_property': ('key', SECRET.decode())}} if version == V5 else {}))
        c.disconnect()
    c = r.broker.client(V5)
    c.send(b'\x10\x20' + SECRET * 2 + b'12')  # a CONNECT that is none
    c.expect_end()
    with open(r.written(), 'rb') as f:
        text = f.read()
    equal((SECRET in text, PAYLOAD in text), (False, False))
    equal(b'secretive' in text, True)


@test(only='dunlin', timeout=60)
def what_is_dropped_is_told_with_whose_it_was(b):
    r = Recorded(b, limits__session_queue_messages_max=2, limits__session_queue_full='drop_newest')
    away = r.broker.connected('away', clean_start=False, props=EXPIRY)
    away.subscribe('t/#', qos=1)
    away.disconnect()
    c = r.broker.connected()
    for i in range(4):
        c.publish(f't/{i}', b'x', qos=1)
    c.publish('t/zero', b'x')
    r.broker.wait_counter('drop_qos0_offline', 1)  # which may be another shard's
    equal([t for t in told(r.written()) if t.startswith('drop_')],
          ['drop_queue_full_newest client_id=away topic=t/2', 'drop_queue_full_newest client_id=away topic=t/3',
           'drop_qos0_offline client_id=away topic=t/zero'])


@test(only='dunlin', timeout=60)
def it_is_mqtt_behind_tls_too(b):
    r = Recorded(b, listeners={'tls': {'url': 'tls://{}', 'certificate': pki().chain('server'),
                                       'key': pki().key('server')}})
    r.broker.connected('inside', at='tls', wrap=Tls()).ping()
    file = r.written()
    equal([kind for kind, in rows(file, 'mqtt.msgtype') if kind][-4:], ['1', '2', '12', '13'])
    equal('connected client_id=inside' in told(file), True)


@test(only='dunlin', timeout=60)
def second_file_begins_where_the_first_one_ended(b):
    r = Recorded(b)
    c = r.broker.connected()
    c.publish('first', b'', qos=1)
    first = r.written()
    c.publish('second', b'', qos=1)
    second = r.written()
    topics = [[topic for topic, in rows(file, 'mqtt.topic') if topic] for file in (first, second)]
    equal(topics, [['first'], ['second']])


@test(only='dunlin', timeout=60)
def oldest_files_go(b):
    r = Recorded(b)
    for i in range(20):
        with open(f'{r.folder}/recorder-20200101T0000{i:02}Z-asked.pcapng', 'wb'):
            pass
    newest = r.written()
    wait_until(lambda: len(r.files()) == 16, what='16 files')
    equal(r.files()[-1], newest)
    equal(os.path.basename(r.files()[0]), 'recorder-20200101T000005Z-asked.pcapng')
    equal(os.stat(newest).st_mode & 0o777, 0o600)


@test(only='dunlin', timeout=60)
def without_it_nothing_is_written_and_that_is_said(b):
    for settings in {'recorder.bytes_per_shard': 0, 'recorder.dir': Launch.folder}, {'data.dir': ''}:
        other = b.another(settings)
        other.connected().ping()
        other.signal(signal.SIGQUIT)
        wait_until(lambda other=other: other.events('recorder_off'), what='a line about it')
        other.connected().ping()


@test(only='dunlin', timeout=90)
def full_memory_is_an_occasion(b):
    r = Recorded(b, limits__message_memory_max=4 << 20, limits__message_stall_s=1,
                 limits__session_queue_bytes_max=1 << 30, **{'data.dir': ''})
    away = r.broker.connected('away', clean_start=False, props=EXPIRY)
    away.subscribe('t', qos=1)
    away.disconnect()
    c = r.broker.connected()
    for i in range(80):
        c.send(wire.publish(V5, 't', b'x' * 65000, 1, i + 1))
    line, = wait_until(lambda: r.broker.events('recorder_written'), timeout=20, what='a file')
    equal((line['why'], 'memory' in line['file']), ('memory', True))


@test(only='dunlin', timeout=60)
def by_the_api_without_a_directory(b):
    api = Api(b, {'data.dir': ''})
    api.broker.connected('asked-for').ping()
    file = os.path.join(Launch.folder, f'recorder-by-api-{os.getpid()}.pcapng')
    with open(file, 'wb') as f:
        f.write(api.do('POST', '/recorder', want=200))
    equal('connected client_id=asked-for' in told(file), True)
    api.refused(403, '/recorder', 'POST', key='looker')
    off = Api(b, {'recorder.bytes_per_shard': 0})
    equal('bytes_per_shard' in off.refused(409, '/recorder', 'POST'), True)


@test(only='dunlin', timeout=60, each=[('SEGV',), ('ABRT',)])
def crash_leaves_a_file(b, name):
    if b.sanitized():
        skip('a sanitizer wants those signals')
    r = Recorded(b)
    c = r.broker.connected('last')
    c.publish('the/last/topic', b'', qos=1)
    number = getattr(signal, f'SIG{name}')
    r.broker.signal(number)
    pid = r.broker.process.pid
    equal(r.broker.process.wait(20), -number, 'it ends as it would have')
    r.broker.kill()  # it is gone, and is not to be stopped
    file, = r.files()
    equal(file.endswith(f'recorder-crash-{pid}.pcapng'), True, file)
    equal([topic for topic, in rows(file, 'mqtt.topic') if topic], ['the/last/topic'])
    equal('connected client_id=last' in told(file), True)
