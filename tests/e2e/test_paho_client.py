# SPDX-License-Identifier: Apache-2.0
"""python3-paho-mqtt 1.6, speaking 3.1.1 and 5.0: what its users do."""
import itertools
import queue
import threading

from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from harness import Client, equal, pass_time, test
from pki import pki

V311, V5 = paho.MQTTv311, paho.MQTTv5
BOTH = [(V311,), (V5,)]
SECONDS = 12
TRANSPORTS = ('tls', 'ws', 'wss')


def LISTENERS():
    tls = {'certificate': pki().chain('server'), 'key': pki().key('server')}
    return {'tls': {'url': 'tls://{}', **tls}, 'ws': {'url': 'ws://{}/mqtt'},
            'wss': {'url': 'wss://{}/mqtt', **tls}}


def props(kind, **values):
    p = Properties(kind)
    for name, value in values.items():
        setattr(p, name, value)
    return p


class User:
    """A paho client with its thread, and calls that wait for their answer."""

    def __init__(self, b, version, client_id='', keep=0, will=None, at=None):
        """keep: seconds that the session outlives the connection (3.1.1: for ever, if not 0). at:
        one of TRANSPORTS."""
        self.version, self.messages = version, queue.Queue()
        self._connected, self._subscribed = threading.Event(), threading.Event()
        how = {} if version == V5 else {'clean_session': keep == 0}
        is_websocket = at in ('ws', 'wss')
        self.paho = paho.Client(client_id, protocol=version,
                                transport='websockets' if is_websocket else 'tcp', **how)
        if is_websocket:
            self.paho.ws_set_options('/mqtt')
        if at in ('tls', 'wss'):
            self.paho.tls_set(pki().certificate('root'))
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = lambda *_: self._subscribed.set()
        self.paho.on_message = lambda _client, _user, message: self.messages.put(message)
        if will:
            self.paho.will_set(*will)
        connect = {}
        if version == V5:
            connect = {'clean_start': keep == 0,
                       'properties': props(PacketTypes.CONNECT, SessionExpiryInterval=keep)}
        host, port = ('localhost', b.at[at][1]) if at else b.address
        self.paho.connect(host, port, keepalive=30, **connect)
        b.open.append(self)
        self.paho.loop_start()
        if not self._connected.wait(Client.timeout):
            raise AssertionError('not connected in time')
        equal(int(self.reason if version == V311 else self.reason.value), 0, 'CONNACK')

    def _on_connect(self, _client, _user, flags, reason, *_):
        self.session_present, self.reason = bool(flags['session present']), reason
        self._connected.set()

    def subscribe(self, *arguments, **how):
        self._subscribed.clear()
        self.paho.subscribe(*arguments, **how)
        if not self._subscribed.wait(Client.timeout):
            raise AssertionError('not subscribed in time')

    def publish(self, topic, payload, **how):
        """Returns when the exchange is over."""
        if self.version == V311:
            how.pop('properties', None)
        self.paho.publish(topic, payload, **how).wait_for_publish(Client.timeout)

    def message(self):
        return self.messages.get(timeout=Client.timeout)

    def vanish(self):
        """Closes the socket without DISCONNECT."""
        self.paho.loop_stop()
        self.paho._sock_close()  # there is no public way to be rude

    def close(self):
        self.paho.disconnect()
        self.paho.loop_stop()


@test(each=list(itertools.product((V311, V5), (V311, V5), (0, 1, 2))))
def publish_reaches(b, publisher, subscriber, qos):
    topic = f'paho/{publisher}/{subscriber}/{qos}'
    s = User(b, subscriber)
    s.subscribe(topic, qos)
    User(b, publisher).publish(topic, b'hello', qos=qos)
    m = s.message()
    equal((m.topic, m.payload, m.qos, m.retain), (topic, b'hello', qos, 0))


@test(each=BOTH)
def retained_is_replayed_and_cleared(b, version):
    topic = f'paho/retained/{version}'
    p = User(b, version)
    p.publish(topic, b'kept', qos=1, retain=True)
    s = User(b, version)
    s.subscribe(topic, 1)
    m = s.message()
    equal((m.payload, m.qos, m.retain), (b'kept', 1, 1))

    p.publish(topic, b'', qos=1, retain=True)
    late = User(b, version)
    late.subscribe(topic, 1)
    p.publish(topic, b'live', qos=1)
    m = late.message()
    equal((m.payload, m.retain), (b'live', 0))


@test(each=BOTH)
def vanished_client_leaves_its_will(b, version):
    topic = f'paho/will/{version}'
    s = User(b, version)
    s.subscribe(topic, 1)
    User(b, version, will=(topic, b'gone', 1, False)).vanish()
    m = s.message()
    equal((m.payload, m.qos), (b'gone', 1))


@test(each=BOTH)
def disconnecting_client_leaves_no_will(b, version):
    topic = f'paho/no-will/{version}'
    s = User(b, version)
    s.subscribe(topic, 1)
    User(b, version, will=(topic, b'gone', 1, False)).close()
    p = User(b, version)
    for body in (b'one', b'two'):
        p.publish(topic, body, qos=1)
        equal(s.message().payload, body)


@test(each=BOTH)
def share_gives_each_message_to_one_member(b, version):
    topic = f'paho/share/{version}'
    members = [User(b, version) for _ in range(3)]
    got = queue.Queue()
    for i, member in enumerate(members):
        member.paho.on_message = lambda _c, _u, m, i=i: got.put((i, m.payload))
        member.subscribe(f'$share/g/{topic}', 1)
    p = User(b, version)
    bodies = [b'%d' % i for i in range(60)]
    for body in bodies:
        p.publish(topic, body, qos=1)
    all_of_it = [got.get(timeout=Client.timeout) for _ in bodies]
    equal(sorted((body for _, body in all_of_it), key=int), bodies)
    equal({i for i, _ in all_of_it}, {0, 1, 2}, 'members that got some')
    for i in range(3):
        mine = [int(body) for j, body in all_of_it if j == i]
        equal(mine, sorted(mine), 'order for one member')


@test(each=BOTH)
def session_resumes_with_what_was_queued(b, version):
    topic, client_id = f'paho/queued/{version}', f'paho-queued-{version}'
    first = User(b, version, client_id, keep=300)
    equal(first.session_present, False)
    first.subscribe(topic, 2)
    first.close()
    p = User(b, version)
    for i in range(30):
        p.publish(topic, b'%d' % i, qos=i % 3)
    again = User(b, version, client_id, keep=300)
    equal(again.session_present, True)
    # QoS 0 may be left out for one who is away.
    want = [i for i in range(30) if i % 3]
    got = []
    while got[-1:] != want[-1:]:
        m = again.message()
        if m.qos:
            got.append(int(m.payload))
    for qos in (1, 2):
        equal([i for i in got if i % 3 == qos], [i for i in want if i % 3 == qos], f'QoS {qos}')


@test
def properties_pass_unaltered(b):
    s = User(b, V5)
    s.subscribe('paho/props', 1)
    pairs = [('k', '1'), ('a', '2'), ('k', '3'), ('', ''), ('snow', '☃')]
    sent = props(PacketTypes.PUBLISH, UserProperty=pairs, ContentType='text/plain; charset=utf-8',
                 ResponseTopic='paho/answers', CorrelationData=bytes(range(256)),
                 PayloadFormatIndicator=1)
    User(b, V5).publish('paho/props', 'grüße'.encode(), qos=1, properties=sent)
    got = s.message().properties
    equal(got.UserProperty, pairs)
    equal(got.ContentType, 'text/plain; charset=utf-8')
    equal(got.ResponseTopic, 'paho/answers')
    equal(got.CorrelationData, bytes(range(256)))
    equal(got.PayloadFormatIndicator, 1)


@test
def subscription_identifiers(b):
    s = User(b, V5)
    s.subscribe('paho/ids/+', 1, properties=props(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=7))
    s.subscribe('paho/ids/x', 1,
                properties=props(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=268435455))
    User(b, V5).publish('paho/ids/x', b'', qos=1)
    ids = list(s.message().properties.SubscriptionIdentifier)
    if len(ids) == 1:  # or a copy for each subscription (3.3.4)
        ids += s.message().properties.SubscriptionIdentifier
    equal(sorted(ids), [7, 268435455])


@test
def message_expiry_counts_down(b):
    topic = 'paho/expiry'
    keeper = User(b, V5, 'paho-expiry', keep=300)
    keeper.subscribe(topic, 1)
    keeper.close()
    p = User(b, V5)
    p.publish(topic, b'short', qos=1,
              properties=props(PacketTypes.PUBLISH, MessageExpiryInterval=1))
    p.publish(topic, b'long', qos=1,
              properties=props(PacketTypes.PUBLISH, MessageExpiryInterval=100))
    pass_time(2.1)
    m = User(b, V5, 'paho-expiry', keep=300).message()
    equal(m.payload, b'long')
    equal(m.properties.MessageExpiryInterval in (97, 98), True,
          f'98 or 97 s left, {m.properties.MessageExpiryInterval}')


@test
def no_local_and_retain_as_published(b):
    s = User(b, V5)
    s.subscribe('paho/options', options=SubscribeOptions(qos=1, noLocal=True,
                                                         retainAsPublished=True))
    s.publish('paho/options', b'mine', qos=1)
    User(b, V5).publish('paho/options', b'yours', qos=1, retain=True)
    m = s.message()
    equal((m.payload, m.retain), (b'yours', 1))


# ---- By other transports

@test(only='dunlin', each=[(at, version) for at in TRANSPORTS for version in (V311, V5)])
def publish_reaches_by(b, at, version):
    """Small and large, both ways."""
    s, p = (User(b, version, at=at) for _ in range(2))
    for qos in 0, 1, 2:
        topic = f'paho/{at}/{version}/{qos}'
        s.subscribe(topic, qos)
        for payload in b'hello', b'x' * 200000:
            p.publish(topic, payload, qos=qos)
            m = s.message()
            equal((m.topic, m.payload == payload, m.qos), (topic, True, qos))


@test(only='dunlin', each=[(at, version) for at in TRANSPORTS for version in (V311, V5)])
def vanished_client_leaves_its_will_by(b, at, version):
    topic = f'paho/will/{at}/{version}'
    s = User(b, version)
    s.subscribe(topic, 1)
    User(b, version, will=(topic, b'gone', 1), at=at).vanish()
    equal(s.message().payload, b'gone')
