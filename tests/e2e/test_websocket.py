# SPDX-License-Identifier: Apache-2.0
"""WebSocket: the upgrade, MQTT in frames however they fall, and how it ends."""
import base64
import contextlib
import secrets
import signal
import socket
import time

from harness import Launch, equal, test
from pki import pki
from raw import V5, V311, Will, publish_many, until_end, wire
from siege import Crowd, Siege
from tls import Tls
from websocket import (BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Ws, check_upgrade,
                       close_payload, frame, receive_answer, request)

SET = {'limits.packet_bytes_max': 2 << 20, 'limits.connections_max': 20000}
SECONDS = 12
ORIGINS = 'https://a.example, https://b.example:8443'
MIB = 1 << 20


def LISTENERS():
    tls = {'certificate': pki().chain('server'), 'key': pki().key('server')}
    return {'ws': {'url': 'ws://{}/mqtt'}, 'any': {'url': 'ws://{}'},
            'wss': {'url': 'wss://{}/mqtt', **tls},
            'origins': {'url': 'ws://{}/mqtt', 'origins': ORIGINS}}


def way(kind):
    """(listener, wrap)"""
    if kind == 'ws':
        return 'ws', Ws()
    return 'wss', Ws(over=Tls(version=kind.split()[1]))


WAYS = ('ws', 'wss 1.2', 'wss 1.3')
EACH_WAY = [(kind,) for kind in WAYS]


def opened(b, version=V5, kind='ws', **how):
    at, wrap = way(kind)
    return b.client(version, at=at, wrap=wrap, **how)


def connected(b, client_id='', version=V5, kind='ws', **connect):
    c = opened(b, version, kind)
    c.connect(client_id, **connect)
    return c


def ask(b, data, at='ws'):
    """The answer to that request."""
    s = b.dial(at)
    s.sendall(data)
    return receive_answer(s)


# ---- The upgrade

@test(only='dunlin', each=[(v, kind) for v in (V311, V5) for kind in WAYS])
def publish_reaches(b, version, kind):
    s, p = connected(b, '', version, kind), connected(b, '', version, kind)
    for qos in 0, 1, 2:
        s.subscribe(f'ws/reach/{version}/{kind}/{qos}', qos=qos)
        p.publish(f'ws/reach/{version}/{kind}/{qos}', b'hello', qos=qos)
        s.expect_message(f'ws/reach/{version}/{kind}/{qos}', b'hello', qos=qos)


@test(only='dunlin', each=[('mqtt', 'mqtt'), ('mqttv3.1', 'mqttv3.1'), ('mqtt, mqttv3.1', 'mqtt'),
                           ('chat, mqtt', 'mqtt'), ('chat,mqttv3.1 , superchat', 'mqttv3.1')])
def subprotocol_is_selected(b, offered, selected):
    answer = ask(b, request(protocols=offered))
    equal((answer.status, answer.fields.get('sec-websocket-protocol')), (101, selected))


@test(only='dunlin')
def subprotocols_in_several_fields(b):
    """Which is the same as one with commas (RFC 6455, 11.3.4)."""
    data = request(protocols='chat').replace(
        b'Upgrade: websocket', b'Sec-WebSocket-Protocol: mqtt\r\nUpgrade: websocket')
    equal(ask(b, data).fields.get('sec-websocket-protocol'), 'mqtt')


def selects_mqtt(b, version):
    c = opened(b, version)
    equal(c.sock.answer.fields.get('sec-websocket-protocol'), 'mqtt')
    c.connect()
    c.ping()


@test(only='dunlin')
def v5_mqtt_6_0_0_4(b):
    selects_mqtt(b, V5)


@test(only='dunlin')
def v311_mqtt_6_0_0_4(b):
    selects_mqtt(b, V311)


def refuses_without_mqtt(b, protocols):
    """A client that does not offer it cannot speak it; the answer must not select another."""
    since = b.log_size()
    answer = ask(b, request(protocols=protocols))
    equal(answer.status, 400, answer)
    equal('sec-websocket-protocol' in answer.fields, False, answer)
    b.one_event('websocket_refused', since)


WITHOUT_MQTT = [(None,), ('chat',), ('MQTT',), ('mqttv5',), ('mqtt2, xmqtt',)]


@test(only='dunlin', each=WITHOUT_MQTT)
def v5_mqtt_6_0_0_3(b, protocols):
    refuses_without_mqtt(b, protocols)


@test(only='dunlin', each=WITHOUT_MQTT)
def v311_mqtt_6_0_0_3(b, protocols):
    refuses_without_mqtt(b, protocols)


@test(only='dunlin', each=[('/',), ('/mqt',), ('/mqtt/',), ('/mqttx',), ('/MQTT',), ('/mqtt/x',)])
def other_path_is_not_found(b, path):
    since = b.log_size()
    equal(ask(b, request(path)).status, 404)
    line = b.one_event('websocket_refused', since)
    equal(line['peer'].startswith('127.0.0.1:'), True, line)


@test(only='dunlin', each=[('/mqtt?token=x',), ('/mqtt?',)])
def query_is_not_part_of_the_path(b, path):
    equal(ask(b, request(path)).status, 101)


@test(only='dunlin', each=[('/',), ('/mqtt',), ('/a/b?c',)])
def v5_u5_6_0_0_a(b, path):
    """The path means nothing in MQTT; without one in the configuration any will do."""
    c = b.client(at='any', wrap=Ws(path))
    c.connect()
    c.ping()


@test(only='dunlin', each=[('https://a.example', 101), ('https://b.example:8443', 101), (None, 101),
                           ('https://evil.example', 403), ('http://a.example', 403),
                           ('https://a.example:8443', 403), ('https://b.example', 403),
                           ('https://a.example.evil.example', 403), ('https://xa.example', 403),
                           ('null', 403), ('', 403)])
def origin_is_one_of_the_list(b, origin, status):
    """Pages of others may not use a browser to come in; who is no browser names no origin."""
    since = b.log_size()
    fields = {} if origin is None else {'Origin': origin}
    equal(ask(b, request(**fields), 'origins').status, status)
    if status == 403:
        b.one_event('websocket_refused', since)


@test(only='dunlin')
def origin_does_not_matter_without_a_list(b):
    equal(ask(b, request(Origin='https://anywhere.example')).status, 101)


FIREFOX = {'User_Agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
           'Accept': '*/*', 'Accept_Language': 'en-US,en;q=0.5',
           'Accept_Encoding': 'gzip, deflate, br, zstd', 'Connection': 'keep-alive, Upgrade',
           'Sec_WebSocket_Extensions': 'permessage-deflate', 'Sec_Fetch_Dest': 'empty',
           'Sec_Fetch_Mode': 'websocket', 'Sec_Fetch_Site': 'cross-site', 'Pragma': 'no-cache',
           'Cache_Control': 'no-cache', 'Cookie': 'a=b; c="d"'}


@test(only='dunlin')
def browsers_request(b):
    """With more than one token of Connection, and an extension, which is not accepted."""
    c = b.client(at='ws', wrap=Ws(**FIREFOX))
    c.connect()
    c.ping()


@test(only='dunlin')
def names_of_fields_in_any_case(b):
    key = base64.b64encode(secrets.token_bytes(16))
    data = request(key=key.decode(), Upgrade='WebSocket', Connection='UPGRADE')
    for name in b'Host', b'Upgrade', b'Connection', b'Sec-WebSocket-Version':
        data = data.replace(name + b':', name.upper() + b':')
    data = data.replace(b'Sec-WebSocket-Key', b'sec-websocket-KEY').replace(
        b'Sec-WebSocket-Protocol: ', b'SEC-WEBSOCKET-PROTOCOL:')
    check_upgrade(ask(b, data), key, 'mqtt')


@test(only='dunlin')
def accept_is_that_of_the_standard(b):
    """The example of RFC 6455, 1.3."""
    equal(ask(b, request(key='dGhlIHNhbXBsZSBub25jZQ==')).fields['sec-websocket-accept'],
          's3pPLMBiTxaQ9kYGzzhZRbK+xOo=')


BAD_REQUESTS = {
    'plain GET': (request(leave_out=('Upgrade', 'Connection', 'Sec_WebSocket_Key',
                                     'Sec_WebSocket_Version', 'Sec_WebSocket_Protocol')),
                  (400, 426)),
    'no upgrade': (request(leave_out=('Upgrade',)), (400, 426)),
    'upgrade to something else': (request(Upgrade='h2c'), (400, 426)),
    'no connection': (request(leave_out=('Connection',)), (400, 426)),
    'no key': (request(leave_out=('Sec_WebSocket_Key',)), (400,)),
    'a short key': (request(key='c2hvcnQ='), (400,)),
    'a key that is not base64': (request(key='!!!!!!!!!!!!!!!!!!!!!!=='), (400,)),
    'no version': (request(leave_out=('Sec_WebSocket_Version',)), (400, 426)),
    'an old version': (request(Sec_WebSocket_Version='8'), (426,)),
    'no host': (request(leave_out=('Host',)), (400,)),
    'POST': (request(method='POST', Content_Length='0'), (400, 405)),
    'a body': (request(Content_Length='5') + b'hello', (400,)),
    'HTTP 1.0': (request(version='HTTP/1.0'), (400, 426, 505)),
    'a field without colon': (request().replace(b'Host: broker', b'Host broker'), (400,)),
    'a space before the colon': (request().replace(b'Host:', b'Host :'), (400,)),
    'a folded field': (request(X='a\r\n b'), (400,)),
    'no HTTP': (b'\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n', (400,)),
    'a head without end': (b'GET /mqtt HTTP/1.1\r\nHost: x\r\nX: ' + b'x' * 70000, (400, 431)),
    'fields without end': (b'GET /mqtt HTTP/1.1\r\nHost: x\r\n' + b'X: y\r\n' * 12000, (400, 431)),
    'a path without end': (b'GET /' + b'x' * 70000 + b' HTTP/1.1\r\n\r\n', (400, 414, 431)),
}


@test(only='dunlin', each=[(name,) for name in BAD_REQUESTS])
def bad_request_is_refused(b, name):
    """With a status that says why, then the connection ends, and one line is in the log."""
    data, statuses = BAD_REQUESTS[name]
    since = b.log_size()
    s = b.dial('ws')
    with contextlib.suppress(ConnectionError):  # it may be refused before it is whole
        s.sendall(data)
    try:
        answer = receive_answer(s)
    except ConnectionResetError:  # what was still to be read takes the answer away with it
        equal(len(data) > 8192, True, 'it was reset')
    else:
        equal(answer.status in statuses, True, answer)
        if name == 'an old version':
            equal(answer.fields.get('sec-websocket-version'), '13')  # 4.4
        until_end(s)
    b.one_event('websocket_refused', since)


@test(only='dunlin')
def request_a_byte_at_a_time(b):
    key = base64.b64encode(secrets.token_bytes(16))
    s = b.dial('ws')
    for byte in request(key=key.decode()):
        s.sendall(bytes([byte]))
    check_upgrade(receive_answer(s), key, 'mqtt')


@test(only='dunlin')
def mqtt_at_a_websocket_port(b):
    s = b.dial('ws')
    s.sendall(wire.connect(V311, 'plain'))
    s.shutdown(socket.SHUT_WR)
    until_end(s)


@test(only='dunlin', each=[('nothing', b''), ('half a request', request()[:60])])
def upgrade_has_its_time(b, _sent, data):
    other = b.another({'limits.handshake_timeout_s': 1}, listeners={'ws': {'url': 'ws://{}'}})
    begin, s = time.monotonic(), other.dial('ws')
    s.sendall(data)
    until_end(s)
    took = time.monotonic() - begin
    equal(0.8 <= took < 4 * Launch.slow, True, f'{took:.2f} s until it was closed')


@test(only='dunlin')
def after_the_upgrade_it_is_connects_time(b):
    other = b.another({'limits.handshake_timeout_s': 30, 'limits.connect_timeout_s': 1},
                      listeners={'ws': {'url': 'ws://{}'}})
    begin = time.monotonic()
    other.client(at='ws', wrap=Ws()).expect_end()
    took = time.monotonic() - begin
    equal(0.8 <= took < 4 * Launch.slow, True, f'{took:.2f} s until it was closed')


# ---- Packets and frames

def pieces(data, sizes):
    at = 0
    for size in sizes:
        yield data[at:at + size]
        at += size
    yield data[at:]


def conversation(version, topic):
    """CONNECT, SUBSCRIBE, 3 PUBLISHes and PINGREQ in one run of bytes."""
    return b''.join([wire.connect(version, topic.replace('/', '-')),
                     wire.subscribe(version, 1, [(topic, 0)]),
                     *(wire.publish(version, topic, b'%d' % i * 50, 1, i + 2) for i in range(3)),
                     wire.pingreq()])


def expect_conversation(c, topic):
    c.expect(wire.CONNACK, reason=0)
    c.expect(wire.SUBACK)
    got = [c.recv() for _ in range(6)]
    equal([p.payload for p in got if p.type == wire.PUBLISH], [b'%d' % i * 50 for i in range(3)])
    equal([p.packet_id for p in got if p.type == wire.PUBACK], [2, 3, 4])
    c.expect(wire.PINGRESP)


def frames_do_not_matter(b, version, how, kind='ws'):
    topic = f'ws/frames/{version}/{how}/{kind}'
    c = opened(b, version, kind)
    data = conversation(version, topic)
    if how == 'one frame':
        c.sock.send_frame(BINARY, data)
    elif how == 'a byte a frame':
        c.sock.send_raw(b''.join(frame(BINARY, data[i:i + 1]) for i in range(len(data))))
    elif how == 'across frames':
        for piece in pieces(data, (1, 5, 11, 2, 40, 7, 60)):
            c.sock.send_frame(BINARY, piece)
    elif how == 'fragments':
        parts = list(pieces(data, (3, 9, 30, 1, 50)))
        for i, part in enumerate(parts):
            c.sock.send_frame(BINARY if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1)
    elif how == 'fragments and pings':
        parts = list(pieces(data, (3, 9, 30, 1, 50)))
        for i, part in enumerate(parts):
            c.sock.send_frame(BINARY if i == 0 else CONTINUATION, part, fin=i == len(parts) - 1)
            c.sock.send_frame(PING, b'%d' % i)
    elif how == 'empty ones between':
        for piece in pieces(data, (1, 5, 30, 40)):
            c.sock.send_raw(frame(BINARY) + frame(BINARY, piece, fin=False) +
                            frame(CONTINUATION, fin=False) + frame(CONTINUATION))
    elif how == 'a byte at a time':
        for byte in frame(BINARY, data):
            c.sock.send_raw(bytes([byte]))
    elif how == 'frames a byte at a time':
        stream = b''.join(frame(BINARY, piece) for piece in pieces(data, (1, 5, 11, 40)))
        for byte in stream:
            c.sock.send_raw(bytes([byte]))
    elif how == 'masks of zeros':
        c.sock.send_frame(BINARY, data, mask=bytes(4))
    expect_conversation(c, topic)
    c.ping()
    if how == 'fragments and pings':
        equal(c.sock.controls, [(PONG, b'%d' % i) for i in range(6)])


FRAMES = ('one frame', 'a byte a frame', 'across frames', 'fragments', 'fragments and pings',
          'empty ones between', 'a byte at a time', 'frames a byte at a time', 'masks of zeros')


@test(only='dunlin', each=[(how,) for how in FRAMES])
def v5_mqtt_6_0_0_2(b, how):
    frames_do_not_matter(b, V5, how)


@test(only='dunlin', each=[(how,) for how in FRAMES])
def v311_mqtt_6_0_0_2(b, how):
    frames_do_not_matter(b, V311, how)


@test(only='dunlin', each=[(how,) for how in FRAMES])
def frames_through_tls(b, how):
    frames_do_not_matter(b, V5, how, 'wss 1.3')


@test(only='dunlin')
def stream_cut_at_each_byte(b):
    """Two segments, the first of every length."""
    stream = frame(BINARY, wire.connect(V311, 'cut'), mask=b'abcd') + \
        frame(PING, b'p', mask=b'efgh') + frame(BINARY, wire.pingreq(), mask=b'ijkl')
    for cut in range(1, len(stream)):
        c = opened(b, V311)
        c.sock.send_raw(stream[:cut])
        c.sock.send_raw(stream[cut:])
        c.expect(wire.CONNACK)
        c.expect(wire.PINGRESP)
        equal(c.sock.controls, [(PONG, b'p')])
        c.close()


@test(only='dunlin', each=[(kind, size) for kind in WAYS
                           for size in (90, 125, 126, 127, 65500, 65535, 65536, MIB)])
def payload_of_any_size(b, kind, size):
    """The three forms of a length, both ways."""
    topic, payload = f'ws/size/{kind}/{size}', secrets.token_bytes(size)
    c = connected(b, '', V5, kind)
    c.subscribe(topic, qos=1)
    c.publish(topic, payload, qos=1)
    equal(c.expect_message(topic).payload == payload, True, 'the payload')


@test(only='dunlin', each=EACH_WAY)
def many_small_messages_go_through_in_order(b, kind):
    topic = f'ws/small/{kind}'
    payloads = [b'%d' % i for i in range(2000)]
    s, p = connected(b, '', V5, kind), connected(b, '', V5, kind)
    s.subscribe(topic, qos=1)
    publish_many(p, topic, payloads, qos=1, window=20)
    for payload in payloads:
        s.expect_message(topic, payload)


@test(only='dunlin', each=EACH_WAY)
def who_reads_late_gets_all_of_it(b, kind):
    s = opened(b, V5, kind, receive_buffer=4096)
    s.connect('', props={'receive_maximum': 60000})
    s.subscribe(f'ws/late/{kind}', qos=1)
    payloads = [secrets.token_bytes(20000) for _ in range(60)]
    publish_many(b.connected(), f'ws/late/{kind}', payloads, qos=1, window=20)
    for payload in payloads:
        equal(s.expect_message(f'ws/late/{kind}').payload == payload, True, 'the payload')


# ---- Control frames

@test(only='dunlin', each=[(b'',), (b'x',), (b'p' * 125,)])
def ping_is_answered_with_its_payload(b, payload):
    c = connected(b)
    c.sock.send_frame(PING, payload)
    c.ping()
    equal(c.sock.controls, [(PONG, payload)])


@test(only='dunlin')
def pong_nobody_asked_for_is_fine(b):
    c = connected(b)
    c.sock.send_frame(PONG, b'here I am')
    c.ping()
    equal(c.sock.controls, [])


@test(only='dunlin')
def ping_before_connect(b):
    c = opened(b)
    c.sock.send_frame(PING, b'early')
    equal(c.sock.recv_frame(), (PONG, b'early'))
    c.connect()


@test(only='dunlin')
def pings_without_reading_the_answers(b):
    """As many as it likes: they are bounded, like all that is unsent."""
    with Siege(b, 'ws_pings', memory_kib=20000):
        c = connected(b)
        c.sock.settimeout(1)
        pings = frame(PING, b'x' * 125, mask=bytes(4)) * 1000
        with contextlib.suppress(socket.timeout, ConnectionError):
            for _ in range(200):
                c.sock.send_raw(pings)
        c.close()


# ---- What is not allowed

VIOLATIONS = {  # frames, and the code of CLOSE
    'text': (frame(TEXT, b'hello'), 1003),
    'text in a fragment': (frame(TEXT, b'hel', fin=False), 1003),
    'empty text': (frame(TEXT), 1003),
    'unmasked': (frame(BINARY, wire.pingreq(), mask=b''), 1002),
    'unmasked ping': (frame(PING, mask=b''), 1002),
    'rsv1': (frame(BINARY, wire.pingreq(), rsv=4), 1002),
    'rsv2': (frame(BINARY, wire.pingreq(), rsv=2), 1002),
    'rsv3': (frame(PING, rsv=1), 1002),
    **{f'opcode {n}': (frame(n, b'x'), 1002) for n in (3, 7, 11, 15)},
    'continuation of nothing': (frame(CONTINUATION, b'x'), 1002),
    'a message within another': (frame(BINARY, b'\xc0', fin=False) + frame(BINARY, b'\x00'), 1002),
    'ping in fragments': (frame(PING, b'x', fin=False), 1002),
    'ping of 126 bytes': (frame(PING, b'x' * 126), 1002),
    'close of 126 bytes': (frame(CLOSE, close_payload(1000, b'x' * 124)), 1002),
    'close of 1 byte': (frame(CLOSE, b'\x03'), 1002),
    'close with 999': (frame(CLOSE, close_payload(999)), 1002),
    'close with 1005': (frame(CLOSE, close_payload(1005)), 1002),
    'close with 1006': (frame(CLOSE, close_payload(1006)), 1002),
    'close with 5000': (frame(CLOSE, close_payload(5000)), 1002),
    'close whose reason is not UTF-8': (frame(CLOSE, close_payload(1000, b'\xff\xfe')), 1007),
    'length not in its shortest form, 2': (frame(BINARY, wire.pingreq(), length_bytes=2), 1002),
    'length not in its shortest form, 8': (frame(BINARY, wire.pingreq(), length_bytes=8), 1002),
    'length of 63 bits and one': (frame(BINARY, length=1 << 63, length_bytes=8), 1002),
}


def is_closed_with(b, version, name):
    data, code = VIOLATIONS[name]
    topic = f'ws/violation/{version}/{name}'
    watcher = b.connected()
    watcher.subscribe(topic)
    c = opened(b, version)
    c.connect('', will=Will(topic, b'gone'))
    c.sock.send_raw(data)
    c.sock.expect_close(code)
    watcher.expect_message(topic, b'gone')


OF_DATA = [(name,) for name in VIOLATIONS if 'text' in name]
OF_OTHERS = [(name,) for name in VIOLATIONS if 'text' not in name]


@test(only='dunlin', each=OF_DATA)
def v5_mqtt_6_0_0_1(b, name):
    is_closed_with(b, V5, name)


@test(only='dunlin', each=OF_DATA)
def v311_mqtt_6_0_0_1(b, name):
    is_closed_with(b, V311, name)


@test(only='dunlin', each=OF_OTHERS)
def frame_that_may_not_be_ends_it(b, name):
    is_closed_with(b, V5, name)


@test(only='dunlin')
def text_before_connect_ends_it(b):
    c = opened(b)
    c.sock.send_frame(TEXT, wire.connect(V5, 'as-text'))
    c.sock.expect_close(1003)


@test(only='dunlin', each=[(1 << 62,), (300 << 20,)])
def frame_of_any_length_costs_nothing(b, length):
    """A frame may be longer than a packet, as it holds several; its length allocates nothing."""
    with Siege(b, f'ws_long_frame[{length}]', memory_kib=8000):
        clients = [connected(b) for _ in range(20)]
        for c in clients:
            c.sock.send_raw(frame(BINARY, wire.pingreq(), mask=bytes(4), length=length))
            c.expect(wire.PINGRESP)
            c.close()


@test(only='dunlin')
def packet_too_large_ends_it(b):
    """As without WebSocket: a DISCONNECT first, then CLOSE."""
    c = connected(b)
    c.sock.send_frame(BINARY, b'\x30\x80\x80\x80\x02')
    c.expect_disconnect(0x95)
    equal(c.sock.closed_with() is not None, True, 'CLOSE')


# ---- Its end

@test(only='dunlin', each=[(kind, code) for kind in WAYS for code in (1000, 1001, 4000, None)])
def close_is_answered(b, kind, code):
    """With the same code (5.5.1), then the server ends the connection; a will is due."""
    topic = f'ws/close/{kind}/{code}'
    watcher = b.connected()
    watcher.subscribe(topic)
    c = connected(b, '', V5, kind, will=Will(topic, b'gone'))
    c.sock.send_frame(CLOSE, b'' if code is None else close_payload(code, b'bye'))
    c.sock.expect_close(1005 if code is None else code, 1000)
    watcher.expect_message(topic, b'gone')


@test(only='dunlin')
def nothing_behind_close_is_heard(b):
    watcher = b.connected()
    watcher.subscribe('ws/behind')
    c = connected(b)
    c.sock.send_raw(frame(CLOSE, close_payload(1000)) +
                    frame(BINARY, wire.publish(V5, 'ws/behind', b'x')))
    c.sock.expect_close(1000)
    b.connected().publish('ws/behind', b'end', qos=1)
    watcher.expect_message('ws/behind', b'end')


@test(only='dunlin', each=EACH_WAY)
def disconnect_ends_with_close(b, kind):
    """And what was sent before it is dealt with; no will."""
    topic = f'ws/disconnect/{kind}'
    watcher = b.connected()
    watcher.subscribe(topic)
    c = connected(b, '', V5, kind, will=Will(topic, b'will'))
    c.sock.send_frame(BINARY, wire.publish(V5, topic, b'x') + wire.disconnect(V5))
    c.sock.expect_close(1000)
    b.connected().publish(topic, b'end', qos=1)
    watcher.expect_message(topic, b'x')
    watcher.expect_message(topic, b'end')


@test(only='dunlin', each=EACH_WAY)
def protocol_error_is_told_before_close(b, kind):
    c = connected(b, '', V5, kind)
    c.sock.send_frame(BINARY, b'\x00\x00')
    c.expect_disconnect(0x81)
    equal(c.sock.closed_with() in (1000, 1002, 1008), True, c.sock.closed_with())


@test(only='dunlin', each=EACH_WAY)
def lost_connection_leaves_its_will(b, kind):
    topic = f'ws/will/{kind}'
    watcher = b.connected()
    watcher.subscribe(topic)
    c = connected(b, '', V5, kind, will=Will(topic, b'gone'))
    c.close()
    watcher.expect_message(topic, b'gone')


@test(only='dunlin', each=EACH_WAY)
def broker_that_ends_tells_its_clients(b, kind):
    other = b.another(listeners=LISTENERS())
    clients = [connected(other, '', V5, kind) for _ in range(10)]
    half = other.dial('ws')
    half.sendall(request()[:50])
    other.signal(signal.SIGTERM)
    for c in clients:
        c.expect_disconnect(0x8B)
        equal(c.sock.closed_with() in (1000, 1001), True, c.sock.closed_with())
    equal(other.wait_end(), 0)
    other.check_log()


@test(only='dunlin')
def taken_over_between_transports(b):
    """One client id, by WebSocket, TLS and plainly: the session is the same."""
    props = {'session_expiry_interval': 60}
    first = connected(b, 'ws-moves', kind='ws', props=props)
    first.subscribe('ws/moves', qos=1)
    second = connected(b, 'ws-moves', kind='wss 1.3', clean_start=False, props=props)
    first.expect_disconnect(0x8E)
    equal(first.sock.closed_with() is not None, True, 'CLOSE')
    third = b.connected('ws-moves', clean_start=False, props=props)
    second.expect_disconnect(0x8E)
    third.publish('ws/moves', b'x', qos=1)
    third.expect_message('ws/moves', b'x')
    fourth = connected(b, 'ws-moves', kind='ws', clean_start=False)
    third.expect_disconnect(0x8E)
    fourth.publish('ws/moves', b'y', qos=1)
    fourth.expect_message('ws/moves', b'y')


@test(only='dunlin')
def requests_by_the_hundred_that_never_end(b):
    crowd = Crowd(b, b.at['ws'])
    with Siege(b, 'ws_slow_requests', memory_kib=300 * 20):
        for _ in range(300):
            crowd.open().sendall(request()[:100])
        connected(b).ping()
        equal(crowd.left(), 300)
    crowd.close()
