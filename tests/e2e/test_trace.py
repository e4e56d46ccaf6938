# SPDX-License-Identifier: Apache-2.0
"""What clients do, told while it happens (docs/recorder.md, "Trace")."""
import http.client
import json
import os
import signal
import socket
import subprocess
import urllib.parse

from api import LINES, Api, schema_check, DOCUMENT
from ctl import TOOL, Ctl
from harness import Launch, equal, test, wait_until
from raw import PUBLISH, V5, V311, wire
from wire import Will

SECONDS = 39
EXPIRY = {'session_expiry_interval': 1000}
SECRET, PAYLOAD = 's3cret-pAssword', b'p4yload-of-the-application'
EVENT = DOCUMENT['components']['schemas']['TraceEvent']
ABOUT = ('began', 'alive', 'not_kept', 'over')


class Watch:
    """One who watches."""

    def __init__(self, api, key='admin', receive_buffer=None, **query):
        self.api, self.events, self.text = api, [], b''
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(20 * Launch.slow)
        self.sock.connect(('127.0.0.1', api.port))
        self.c = http.client.HTTPConnection('127.0.0.1', api.port)
        self.c.sock = self.sock
        self.c.request('GET', '/api/v1/trace?' + urllib.parse.urlencode(query), headers={'Authorization': f'Bearer {getattr(api.keys, key)}'})
        self.answer = self.c.getresponse()
        equal((self.answer.status, self.answer.headers['Content-Type'], self.answer.headers['Transfer-Encoding']), (200, LINES, 'chunked'))
        equal(self.next()['event'], 'began')

    def next(self):
        line = self.answer.readline()
        self.text += line
        if not line:
            return None
        event = json.loads(line)
        schema_check(EVENT, event)
        self.events.append(event)
        return event

    def until(self, wanted):
        """All about clients, up to the first one that is so."""
        found = []
        while (event := self.next()) is not None:
            if event['event'] not in ABOUT:
                found.append(event)
            if wanted(event):
                return found
        raise AssertionError(f'it ended before: {self.events}')

    def close(self):
        self.c.close()


def is_packet(kind, packet):
    return lambda e: (e['event'], e.get('packet')) == (kind, packet)


def short(event):
    return (event['event'], event.get('packet'))


@test(only='dunlin', each=[('5.0', V5), ('3.1.1', V311)])
def from_its_connect_to_its_end(b, _name, version):
    api = Api(b)
    watch = Watch(api, client_id='watched')
    api.broker.connected('another').publish('w/another', b'', qos=1)
    c = api.broker.connected('watched', version=version, keep_alive=77)
    mine = f'127.0.0.1:{c.sock.getsockname()[1]}'
    c.subscribe('w/#', qos=1)
    c.publish('w/1', PAYLOAD, qos=1)
    c.expect_message('w/1')
    c.ping()
    c.disconnect()
    events = watch.until(lambda e: e['event'] == 'closed')
    equal([short(e) for e in events[:5]], [('received', 'CONNECT'), ('sent', 'CONNACK'), ('connected', None),
                                           ('received', 'SUBSCRIBE'), ('sent', 'SUBACK')])
    equal({(e['client_id'], e['address'], e['listener']) for e in events}, {('watched', mine, 0)})
    by = {short(e): e for e in events}
    first = by['received', 'CONNECT']
    equal((first['keep_alive_s'], first['clean_start'], first['protocol_level']), (77, True, 5 if version == V5 else 4))
    equal((by['sent', 'CONNACK']['reason_code'], by['sent', 'CONNACK']['session_present']), (0, False))
    equal([(f['filter'], f['qos']) for f in by['received', 'SUBSCRIBE']['filters']], [('w/#', 1)])
    equal(by['sent', 'SUBACK']['reason_codes'], [1])
    for kind in 'received', 'sent':
        packet = by[kind, 'PUBLISH']
        equal((packet['topic'], packet['qos'], packet['payload_bytes'], packet['packet_id'] > 0), ('w/1', 1, len(PAYLOAD), True))
        equal((by[kind, 'PUBACK']['packet_id'], 'payload' in packet), (by['sent' if kind == 'received' else 'received', 'PUBLISH']['packet_id'], False))
    equal([short(e) for e in events[-4:]], [('received', 'PINGREQ'), ('sent', 'PINGRESP'), ('received', 'DISCONNECT'), ('closed', None)])
    equal(events[-1]['reason'], 'Success')
    watch.close()


@test(only='dunlin', timeout=60)
def one_that_is_refused_is_told_by_its_name(b):
    users = os.path.join(Launch.folder, f'trace-users-{os.getpid()}')
    with open(users, 'w', encoding='utf-8'):
        pass
    os.chmod(users, 0o600)
    api = Api(b, {'auth.methods': 'password', 'auth.password_file': users})
    watch = Watch(api, client_id='str*')
    c = api.broker.client(V5)
    c.send(wire.connect(V5, 'stranger', username='x', password=SECRET.encode()))
    events = watch.until(lambda e: e['event'] == 'closed')
    equal([short(e) for e in events], [('received', 'CONNECT'), ('sent', 'CONNACK'), ('closed', None)])
    equal(events[1]['reason_code'] in (0x86, 0x87), True, events[1])
    equal(SECRET.encode() in watch.text, False)
    watch.close()


@test(only='dunlin', timeout=60)
def of_an_address(b):
    api = Api(b)
    watch = Watch(api, address='127.0.0.0/30')
    far = api.broker.client(source='127.0.0.9')
    far.connect('far')
    near = api.broker.client(source='127.0.0.2')
    near.connect('near')
    near.ping()
    near.send(b'\xff\xff\xff\xff\xff\xff')
    events = watch.until(lambda e: e['event'] == 'closed')
    equal([short(e) for e in events], [('opened', None), ('received', 'CONNECT'), ('sent', 'CONNACK'), ('connected', None), ('received', 'PINGREQ'),
                                       ('sent', 'PINGRESP'), ('malformed', None), ('sent', 'DISCONNECT'), ('closed', None)])
    equal({e['address'].split(':')[0] for e in events}, {'127.0.0.2'})
    watch.close()


@test(only='dunlin', timeout=60)
def of_a_topic_in_and_out_and_dropped(b):
    api = Api(b)
    away = api.broker.connected('away', clean_start=False, props=EXPIRY)
    away.subscribe('plant/#')
    away.disconnect()
    hears = api.broker.connected('hears')
    hears.subscribe('#', qos=1)
    watch = Watch(api, topic='plant/+/t')
    p = api.broker.connected('tells')
    p.publish('plant/7/x', b'')
    p.publish('plant/7/t', b'123')
    p.publish('plant/7/t', b'', qos=1)
    for _ in range(3):
        hears.recv(PUBLISH)
    events = watch.until(lambda e: short(e) == ('sent', 'PUBLISH') and e['qos'] == 1)
    equal({e['topic'] for e in events}, {'plant/7/t'})
    equal(sorted((e['event'], e['client_id'], e.get('payload_bytes'), e.get('reason')) for e in events),
          sorted([('received', 'tells', 3, None), ('dropped', 'away', None, 'drop_qos0_offline'), ('sent', 'hears', 3, None),
                  ('received', 'tells', 0, None), ('dropped', 'away', None, 'drop_qos0_offline'), ('sent', 'hears', 0, None)]))
    watch.close()


@test(only='dunlin', timeout=60)
def an_alias_is_told_as_the_topic_that_it_stands_for(b):
    api = Api(b)
    hears = api.broker.connected('hears', props={'topic_alias_maximum': 10})
    hears.subscribe('a/long/topic/#')
    watch = Watch(api, topic='a/long/topic/+')
    p = api.broker.connected('tells')
    for topic in ('a/long/topic/name', '', ''):
        p.send(wire.publish(V5, topic, b'x', props={'topic_alias': 3}))
    sent = 0
    while sent < 3:
        sent += sum(short(e) == ('sent', 'PUBLISH') for e in watch.until(is_packet('sent', 'PUBLISH')))
    about = [e for e in watch.events if 'topic' in e]
    equal(({e['topic'] for e in about}, len(about)), ({'a/long/topic/name'}, 6))
    watch.close()


@test(only='dunlin', timeout=60)
def payloads_are_for_admins_who_ask(b):
    api = Api(b)
    equal('admin' in api.refused(403, '/trace', key='looker', topic='t', payload='true'), True)
    with_payload, without = Watch(api, topic='t/#', payload='true'), Watch(api, 'looker', topic='t/#')
    hears = api.broker.connected('hears')
    hears.subscribe('t/#')
    c = api.broker.connected('tells', username='user', password=SECRET, will=Will('gone', b'w1ll-payload'))
    sizes = [('t/text', PAYLOAD), ('t/bytes', b'\xff\x00'), ('t/long', b'0123456789' * 200), ('t/huge', b'h' * 20000)]
    for topic, payload in sizes:
        c.publish(topic, payload)
        events = with_payload.until(is_packet('sent', 'PUBLISH'))
        equal([short(e) for e in events], [('received', 'PUBLISH'), ('sent', 'PUBLISH')])
        for e in events:
            equal((e['topic'], e['payload_bytes']), (topic, len(payload)))
            if topic == 't/bytes':
                equal(e['payload_base64'], '/wA=')
            else:
                equal(e['payload'], payload[:1024].decode())
        without.until(is_packet('sent', 'PUBLISH'))
    equal(PAYLOAD in without.text, False)
    for watch in with_payload, without:
        equal((SECRET.encode() in watch.text, b'w1ll' in watch.text), (False, False))
        watch.close()
    lines = api.broker.events('trace_begun')
    equal([(line['key'], line['topic'], line['payload']) for line in lines], [('boss', 't/#', 'yes'), ('looker', 't/#', 'no')])


@test(only='dunlin', timeout=60)
def it_ends_by_time_and_says_so(b):
    api = Api(b)
    watch = Watch(api, client_id='x', seconds=1)
    equal(watch.next()['event'], 'over')
    equal(watch.next(), None)
    wait_until(lambda: api.broker.events('trace_ended'))
    equal([(e['event'], e['events']) for e in api.get('/trace', client_id='x', seconds=1)], [('began', 0), ('over', 0)])


@test(only='dunlin', timeout=60)
def who_is_silent_is_told_that_it_goes_on(b):
    watch = Watch(Api(b), client_id='nobody')
    equal(watch.next()['event'], 'alive')
    watch.close()


def traces(api):
    text = api.raw('GET', '/metrics')[2]
    return int(next(line for line in text.splitlines() if line.startswith('dunlin_traces ')).split()[1])


@test(only='dunlin', timeout=60)
def there_are_four_and_who_goes_makes_room(b):
    api = Api(b)
    all_of_them = [Watch(api, client_id=f'c{i}') for i in range(4)]
    equal('4 traces' in api.refused(503, '/trace', client_id='x'), True)
    equal(api.get('/node')['clients'], 0, 'others ask as before')
    equal(traces(api), 4)
    all_of_them.pop().close()
    wait_until(lambda: traces(api) == 3, what='the broker sees that it has gone')
    again = Watch(api, client_id='late')
    api.broker.connected('late')
    equal(short(again.until(is_packet('received', 'CONNECT'))[0]), ('received', 'CONNECT'))
    for watch in *all_of_them, again:
        watch.close()
    wait_until(lambda: traces(api) == 0)
    api.broker.connected('late').ping()


@test(only='dunlin', timeout=120)
def who_does_not_read_keeps_nobody_waiting(b):
    api = Api(b)
    watch = Watch(api, topic='#', payload='true', receive_buffer=4096)
    p = api.broker.connected('tells')
    for i in range(60):
        for _ in range(200):
            p.send(wire.publish(V5, 'much', b'x' * 1024))
        p.ping()
        if i > 20 and api.broker.counter('trace_events_lost') > 0:
            break
    lost = api.broker.counter('trace_events_lost')
    equal(lost > 0, True)
    watch.until(lambda e: e['event'] == 'not_kept')
    p.disconnect()
    while watch.next()['event'] not in ('alive', 'over'):
        pass
    last = watch.events[-1]
    equal(last['not_kept'] <= lost and last['not_kept'] > 0, True, last)
    watch.close()


@test(only='dunlin', timeout=60)
def it_ends_with_the_broker(b):
    api = Api(b, {'drain.wait_s': 0})
    watch = Watch(api, client_id='x')
    api.broker.signal(signal.SIGTERM)
    while (event := watch.next()) is not None and event['event'] != 'over':
        pass
    equal(api.broker.wait_end(), 0)


@test(only='dunlin', each=[
    ('nothing', {}, 'has to be given'), ('a shared filter', {'topic': '$share/g/a'}, 'topic'), ('no filter', {'topic': 'a#'}, 'topic'),
    ('no address', {'address': '10.0.0'}, 'address'), ('two addresses', {'address': '10.0.0.1,10.0.0.2'}, 'address'),
    ('a long pattern', {'client_id': 'x' * 129}, '128'), ('no time', {'client_id': 'x', 'seconds': 0}, 'seconds'),
    ('too long', {'client_id': 'x', 'seconds': 3601}, '3600'), ('a format', {'client_id': 'x', 'format': 'xml'}, 'pcapng'),
    ('neither', {'client_id': 'x', 'payload': 'yes'}, 'true or false'),
    ('a capture of payloads', {'client_id': 'x', 'payload': 'true', 'format': 'pcapng'}, 'payload')])
def what_means_nothing(b, _name, query, says):
    equal(says in Api(b).refused(400, '/trace', **query), True)


# ---- dunlinctl

class Tool:
    def __init__(self, ctl, *words):
        # Who starts the tests in the background of a shell hands down that SIGINT is ignored.
        self.process = subprocess.Popen([TOOL, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ctl.env,
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def line(self):
        return self.process.stdout.readline().decode().rstrip('\n')

    def end(self, status):
        equal(self.process.wait(20 * Launch.slow), status, self.process.stderr.read())
        self.process.stdout.close()
        self.process.stderr.close()


def watched(ctl):
    """The tool watches from then on."""
    wait_until(lambda: ctl.broker.events('trace_begun'), what='it watches')


@test(only='dunlin', timeout=60)
def dunlinctl_shows_it(b):
    ctl = Ctl(b)
    tool = Tool(ctl, 'trace', '--client', 'shown', '--seconds', '30', '--payload')
    watched(ctl)
    c = ctl.broker.connected('shown')
    c.publish('a\x1bb', b'text', qos=1)
    seen = []
    while not seen or 'PUBACK' not in seen[-1]:
        seen.append(tool.line())
    equal([line[17:] for line in seen if 'connected' not in line],
          ['shown -> CONNECT keep_alive_s 60 clean_start', 'shown <- CONNACK: Success',
           'shown -> PUBLISH packet_id 1 qos 1 a\\x1bb (4 bytes) = text', 'shown <- PUBACK packet_id 1: No matching subscribers'])
    tool.process.send_signal(signal.SIGINT)
    tool.end(130)
    wait_until(lambda: traces(ctl.api) == 0)
    said = ctl('trace --client nobody --seconds 1').split('  ')
    equal(said[1], 'over: 0 events, 0 not kept\n')
    equal([json.loads(line)['event'] for line in ctl('--json trace --client nobody --seconds 1').splitlines()], ['began', 'over'])
    ctl('trace', 2)
    ctl('trace --client x --payload --write f', 2)


@test(only='dunlin', timeout=60)
def dunlinctl_writes_it_for_wireshark(b):
    ctl = Ctl(b)
    file = os.path.join(Launch.folder, f'trace-{os.getpid()}.pcapng')
    tool = Tool(ctl, 'trace', '--client', 'captured', '--seconds', '5', '--write', file)
    watched(ctl)
    c = ctl.broker.connected('captured', version=V311, username='user', password=SECRET)
    c.publish('the/topic', PAYLOAD, qos=1)
    c.disconnect()
    tool.end(0)
    said = subprocess.run(['tshark', '-n', '-r', file, '-T', 'fields', '-e', 'mqtt.msgtype', '-e', 'mqtt.topic', '-e', 'frame.comment'],
                          capture_output=True, text=True, check=True, timeout=60 * Launch.slow)
    rows = [tuple(line.split('\t')) for line in said.stdout.splitlines()]
    equal([row[0] or row[2] for row in rows], ['1', '2', 'connected client_id=captured', '3', '4', '14', 'closed: Success client_id=captured'])
    equal(rows[3][1], 'the/topic')
    with open(file, 'rb') as f:
        data = f.read()
    equal((PAYLOAD in data, SECRET.encode() in data, b'captured' in data), (False, False, True))
