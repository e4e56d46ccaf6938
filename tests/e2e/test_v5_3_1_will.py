# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.1.2.5 and 3.1.3.2: wills."""
import time

from harness import equal, pass_time, test
from norm5 import KEPT, ended, quiet, refused, resumed, retained_on, settled, subscriber
from raw import V5, Will, wire

SECONDS = 12


def will(topic, payload=b'gone', **how):
    delay = how.pop('delay', None)
    if delay is not None:
        how['props'] = {'will_delay_interval': delay, **how.get('props', {})}
    return Will(topic, payload, **how)


@test
def v5_mqtt_3_1_2_7(b):
    """The will is kept with the session: topic, payload, QoS, RETAIN, and properties."""
    s = b.connected()
    s.subscribe('will/kept', qos=2, retain_as_published=True)
    props = {'payload_format_indicator': 1, 'content_type': 'text', 'response_topic': 'r',
             'correlation_data': b'\0\1', 'user_property': ('k', 'v')}
    b.connected(will=Will('will/kept', b'gone', 2, True, props)).drop()
    s.expect_message('will/kept', b'gone', qos=2, retain=True, **props)


ENDS = {
    'lost connection': lambda c: c.drop(),
    'protocol error': lambda c: (c.send(wire.connect(V5, '')), ended(c, 0x82)),
    'malformed packet': lambda c: (c.send(b'\0\0'), ended(c, 0x81)),
    'DISCONNECT 04': lambda c: c.disconnect(0x04),
    'DISCONNECT 80': lambda c: c.disconnect(0x80),
    'DISCONNECT 93': lambda c: c.disconnect(0x93),
    'keep alive': lambda c: ended(c, 0x8D),
}


@test(each=[(name,) for name in ENDS])
def v5_mqtt_3_1_2_8(b, name):
    """Published once the connection has ended, however that is, but for DISCONNECT 00 …"""
    s = subscriber(b, f'will/end/{name}')
    c = b.connected(keep_alive=1 if name == 'keep alive' else 0, will=will(f'will/end/{name}'))
    ENDS[name](c)
    s.expect_message(f'will/end/{name}', b'gone')


@test
def v5_mqtt_3_1_2_8_takeover(b):
    """… also when the server closes because another has taken over."""
    s = subscriber(b, 'will/taken')
    b.connected('will-taken', will=will('will/taken'))
    b.connected('will-taken')
    s.expect_message('will/taken', b'gone')


@test
def v5_mqtt_3_1_2_8_never(b):
    """… and not after DISCONNECT 00."""
    s = subscriber(b, 'will/never')
    for reason in (None, 0):
        b.connected(will=will('will/never')).disconnect(reason)
    b.connected(will=will('will/never', b'end')).drop()
    s.expect_message('will/never', b'end')


@test
def v5_mqtt_3_1_2_8_delay(b):
    """It waits for its delay, or the end of the session if that comes first; a client that comes
    back in time cancels it."""
    s = subscriber(b, 'will/delay/#')
    b.connected('will-delay-1', props=KEPT, will=will('will/delay/delay', delay=1)).drop()
    b.connected('will-delay-2', props={'session_expiry_interval': 2},
                will=will('will/delay/session', delay=5)).drop()
    b.connected('will-delay-3', props=KEPT, will=will('will/delay/resumed', delay=1)).drop()
    begin = time.monotonic()
    resumed(b, 'will-delay-3')
    s.expect_message('will/delay/delay', b'gone')
    first = time.monotonic() - begin
    s.expect_message('will/delay/session', b'gone')
    second = time.monotonic() - begin
    equal((0.8 <= first <= 2.0, 1.8 <= second <= 4.0), (True, True), f'{first:.2f} {second:.2f}')
    s.expect_nothing()


@test
def v5_mqtt_3_1_2_10(b):
    """Once it is published, or DISCONNECT 00 came, it is gone from the session."""
    s = subscriber(b, 'will/once')
    b.connected('will-once', props=KEPT, will=will('will/once')).drop()
    s.expect_message('will/once', b'gone')
    resumed(b, 'will-once').drop()
    b.connected('will-once', props=KEPT, will=will('will/once')).disconnect()
    resumed(b, 'will-once').drop()
    b.connected(will=will('will/once', b'end')).drop()
    s.expect_message('will/once', b'end')


@test(each=[(0,), (1,), (2,), (3,)])
def v5_mqtt_3_1_2_12(b, qos):
    """The will's QoS is 0, 1, or 2, and it goes out with that one; 3 is malformed."""
    if qos == 3:
        refused(b, wire.connect(V5, 'will-qos', will=will('t'), flags=0x1E), 0x81)
        return
    for granted in (0, 1, 2):
        s = subscriber(b, f'will/qos/{qos}', qos=granted)
        b.connected(will=will(f'will/qos/{qos}', qos=qos)).drop()
        s.expect_message(f'will/qos/{qos}', b'gone', qos=min(qos, granted))


@test
def v5_mqtt_3_1_2_14(b):
    """Will Retain 0: it is not retained, and what is retained stays."""
    b.connected().publish('will/plain/had', b'old', 1, retain=True)
    s = subscriber(b, 'will/plain/#')
    s.expect_message('will/plain/had', b'old')
    for topic in ('will/plain/had', 'will/plain/none'):
        b.connected(will=will(topic)).drop()
        s.expect_message(topic, b'gone', retain=False)
    equal(retained_on(b, 'will/plain/#'), [('will/plain/had', b'old')])


@test
def v5_mqtt_3_1_2_15(b):
    """Will Retain 1: it is retained, or, when empty, removes what was."""
    s = subscriber(b, 'will/retain')
    s.ping()  # or what is retained now may come twice
    b.connected(will=will('will/retain', retain=True, qos=1)).drop()
    s.expect_message('will/retain', b'gone', retain=False)
    settled(b, 'will/retain', [b'gone'])
    b.connected(will=will('will/retain', b'', retain=True)).drop()
    s.expect_message('will/retain', b'')
    settled(b, 'will/retain', [])


@test
def v5_mqtt_3_1_3_9(b):
    """A new connection to the session within the delay: it is not sent."""
    s = subscriber(b, 'will/back')
    b.connected('will-back', props=KEPT, will=will('will/back', delay=2)).drop()
    pass_time(0.5)
    resumed(b, 'will-back')
    pass_time(2)
    quiet(s, b.connected(), 'will/back')


@test
def v5_mqtt_3_1_3_10(b):
    """The order of its User Properties is kept."""
    pairs = [('a', '1'), ('b', '2'), ('a', '3'), ('', ''), ('a', '1')]
    s = subscriber(b, 'will/pairs')
    b.connected(will=Will('will/pairs', b'', props=[('user_property', p) for p in pairs])).drop()
    equal(s.expect_message('will/pairs').all('user_property'), pairs)


@test(each=[(n,) for n in ('will_delay_interval', 'payload_format_indicator',
                           'message_expiry_interval', 'content_type', 'response_topic',
                           'correlation_data')])
def v5_u5_3_1_3_a(b, name):
    """Each of its properties comes at most once, but the User Property."""
    value = {'content_type': 'x', 'response_topic': 'x', 'correlation_data': b'x'}.get(name, 1)
    refused(b, wire.connect(V5, 'w', will=Will('t', props=[(name, value)] * 2)), 0x82)


@test
def v5_u5_3_1_3_b(b):
    """Without a delay it is sent at once, even though the session goes on."""
    s = subscriber(b, 'will/at-once')
    b.connected('will-at-once', props=KEPT, will=will('will/at-once')).drop()
    begin = time.monotonic()
    s.expect_message('will/at-once', b'gone')
    equal(time.monotonic() - begin < 0.9, True)


@test
def v5_u5_3_1_3_c(b):
    """Its expiry counts from its publication; without one, none is sent."""
    s = subscriber(b, 'will/expiry')
    b.connected('will-expiry', props=KEPT, will=will(
        'will/expiry', delay=1, props={'message_expiry_interval': 30})).drop()
    equal(s.expect_message('will/expiry').prop('message_expiry_interval') in (29, 30), True)
    b.connected(will=will('will/expiry')).drop()
    equal(s.expect_message('will/expiry').prop('message_expiry_interval'), None)


@test
def v5_u5_3_1_3_d(b):
    """A payload that is not the UTF-8 that it promises: refused with 99, or passed on unchanged."""
    s = subscriber(b, 'will/format')
    c = b.client()
    c.send(wire.connect(V5, '', will=Will('will/format', b'\xff',
                                          props={'payload_format_indicator': 1})))
    p = c.recv()
    if p is not None and p.reason == 0:
        c.drop()
        s.expect_message('will/format', b'\xff', payload_format_indicator=1)
    else:
        equal(p is None or p.reason == 0x99, True, p)


@test(each=[('delay 0',), ('expiry 0',), ('clean start',), ('resumed',)])
def v5_u5_3_1_4_c(b, how):
    """At a takeover the old will is sent if it has no delay or the old session ends, and not if
    the session goes on with a delay."""
    topic = f'will/over/{how}'
    s = subscriber(b, topic)
    b.connected(f'will-over-{how}', clean_start=False,
                props=None if how == 'expiry 0' else KEPT,
                will=will(topic, delay=0 if how == 'delay 0' else 30))
    b.connected(f'will-over-{how}', clean_start=how == 'clean start', props=KEPT)
    if how == 'resumed':
        pass_time(0.2)
        quiet(s, b.connected(), topic)
    else:
        s.expect_message(topic, b'gone')


@test
def v5_u5_3_1_4_d(b):
    """Clean Start ends a session that is away, and its delayed will is sent."""
    s = subscriber(b, 'will/clean')
    b.connected('will-clean', props=KEPT, will=will('will/clean', delay=30)).drop()
    b.connected('will-clean', clean_start=True)
    s.expect_message('will/clean', b'gone')


@test
def v5_u5_3_14_0_a(b):
    """Published unless DISCONNECT 00 came first: after 04 too, and then after the delay."""
    s = subscriber(b, 'will/04')
    b.connected('will-04', props=KEPT, will=will('will/04', delay=1)).disconnect(0x04)
    begin = time.monotonic()
    s.expect_message('will/04', b'gone')
    equal(0.8 <= time.monotonic() - begin <= 2.5, True)


@test
def v5_mqtt_3_14_4_3(b):
    """DISCONNECT 00 discards the will, with or without a delay, also for the session's end."""
    s = subscriber(b, 'will/discard')
    short = {'session_expiry_interval': 1}
    for i, (reason, delay) in enumerate(((None, 0), (0, 0), (None, 1), (0, 1), (0, 9))):
        b.connected(f'will-discard-{i}', props=short,
                    will=will('will/discard', delay=delay)).disconnect(reason)
    pass_time(1.5)
    quiet(s, b.connected(), 'will/discard')
