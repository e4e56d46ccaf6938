# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.14 and 3.15: DISCONNECT and AUTH."""
import time

from harness import equal, pass_time, test
from norm5 import CODES, KEPT, ended, gone, quiet, refused, resumed, retained_on, rows, subscriber
from raw import DISCONNECT, V5, Will, wire
from wire import packet, string, u16

SECONDS = 2

# Errors of a client, and what the DISCONNECT for them may say.
ERRORS = {
    'type 0': (b'\0\0', (0x81,)),
    'second CONNECT': (wire.connect(V5, 'x'), (0x82,)),
    'PUBLISH QoS 3': (packet(0x36, string('t') + u16(1) + b'\0'), (0x81,)),
    'no topic': (wire.publish(V5, '', b''), (0x82,)),
    'alias 0': (wire.publish(V5, 't', b'', props={'topic_alias': 0}), (0x94,)),
    'No Local, shared': (wire.subscribe(V5, 1, [('$share/g/t', 0x04)]), (0x82,)),
    'AUTH': (wire.auth(0x19, {'authentication_method': 'x'}), (0x82, 0x8C)),
    'too large': (packet(0x30, b'', remaining_length=200 << 20), (0x95,)),
}


BEFORE = {
    'wrong first packet': (wire.pingreq(), ()),
    'reserved flag': (wire.connect(V5, 'd', flags=3), (0x81,)),
    'receive maximum 0': (wire.connect(V5, 'd', props={'receive_maximum': 0}), (0x82,)),
    'authentication method': (wire.connect(V5, 'd', props={'authentication_method': 'x'}),
                              (0x8C, 0x87)),
    'level 7': (wire.connect(V5, 'd', level=7), (0x84, 0x01)),
    'type 0': (b'\0\0', ()),
    'a length without end': (b'\x10\xff\xff\xff\xff\xff', (0x81,)),
    'too large': (packet(0x10, b'', remaining_length=200 << 20), (0x95,)),
    'a CONNACK that is too large': (wire.connect(V5, 'd', props={'maximum_packet_size': 1}), ()),
}


@test(each=rows(BEFORE))
def v5_mqtt_3_14_0_1(b, name):
    """No DISCONNECT before a CONNACK that accepts."""
    data, codes = BEFORE[name]
    refused(b, data + wire.pingreq(), *codes)


@test(each=[(flags,) for flags in range(1, 16)])
def v5_mqtt_3_14_1_1(b, flags):
    """The flags of DISCONNECT are 0; with others it is malformed, and no normal end: the will goes
    out."""
    s = subscriber(b, f'disc/flags/{flags}')
    c = b.connected(will=Will(f'disc/flags/{flags}', b'gone'))
    c.send(bytes([0xE0 | flags, 0]))
    ended(c, 0x81)
    s.expect_message(payload=b'gone')


@test(each=rows(ERRORS))
def v5_mqtt_3_14_2_1(b, name):
    """DISCONNECT has codes of its own: the server sends no others …"""
    data, codes = ERRORS[name]
    c = b.connected()
    c.send(data)
    p = ended(c, *codes)
    equal(p is None or p.reason in CODES[DISCONNECT], True, p)


@test
def v5_mqtt_3_14_2_1_client(b):
    """… and takes no others: it is no normal end then."""
    s = subscriber(b, 'disc/codes')
    for code in sorted(set(range(256)) - CODES[DISCONNECT] - {0x04}):
        c = b.connected(will=Will('disc/codes', b'%d' % code))
        c.send(wire.disconnect(V5, code))
        ended(c, 0x81, 0x82, what=f'{code:02x}')
        s.expect_message('disc/codes', b'%d' % code)


@test(each=rows(ERRORS))
def v5_mqtt_3_14_2_2(b, name):
    """The server's DISCONNECT has no Session Expiry Interval."""
    data, codes = ERRORS[name]
    c = b.connected('disc-expiry', props=KEPT)
    c.send(data)
    p = ended(c, *codes)
    equal(p is None or p.prop('session_expiry_interval') is None, True, p)


def small_enough(b, what):
    for data, codes in ERRORS.values():
        for size in (40, 45, 60):
            c = b.connected('disc-small', props={'maximum_packet_size': size})
            c.send(data)
            p = ended(c, *codes)
            equal(p is None or p.size <= size, True, p)
            equal(p is None or p.prop(what) is None or p.size > 4, True, p)


@test
def v5_mqtt_3_14_2_3(b):
    """No Reason String makes DISCONNECT larger than the client takes."""
    small_enough(b, 'reason_string')


@test
def v5_mqtt_3_14_2_4(b):
    """No User Property does."""
    small_enough(b, 'user_property')


@test(each=rows(ERRORS))
def v5_mqtt_3_14_4_1(b, name):
    """Nothing comes after the server's DISCONNECT, although the client goes on."""
    subscriber_ = subscriber(b, 'disc/after')
    c = subscriber(b, 'disc/after')
    data, codes = ERRORS[name]
    try:
        c.send(data, wire.pingreq(), wire.publish(V5, 'disc/after', b'x', 1, 1))
    except ConnectionError:
        pass
    ended(c, *codes)
    quiet(subscriber_, b.connected(), 'disc/after')


@test
def v5_mqtt_3_14_4_1_client(b):
    """What a client sends after its DISCONNECT has no effect."""
    s = subscriber(b, 'disc/late')
    c = b.connected()
    c.send(wire.disconnect(V5), wire.publish(V5, 'disc/late', b'x', 1, 1, retain=True),
           wire.pingreq())
    c.expect_end()
    quiet(s, b.connected(), 'disc/late')
    equal(retained_on(b, 'disc/late'), [])


@test(each=rows(ERRORS))
def v5_mqtt_3_14_4_2(b, name):
    """Who sends DISCONNECT closes: soon, also if the other does not."""
    data, codes = ERRORS[name]
    c = b.connected()
    begin = time.monotonic()
    c.send(data)
    ended(c, *codes)
    equal(time.monotonic() - begin < 2, True)


@test(each=[('e000',), ('e00100',), ('e0020000',), ('e00104',), ('e0020400',),
            ('e00b00091f0004646f6e65260000',)])
def v5_u5_3_14_2_a(b, data):
    """DISCONNECT may be nothing, a code, or a code and properties."""
    data = bytes.fromhex(data)
    if len(data) > 10:  # with a reason string and a user property
        data = wire.disconnect(V5, 0, [('reason_string', 'done'), ('user_property', ('', ''))])
    s = subscriber(b, f'disc/form/{data.hex()}')
    c = b.connected(will=Will(f'disc/form/{data.hex()}', b'gone'))
    c.send(data)
    c.expect_end()
    if 4 in data[2:3]:
        s.expect_message(payload=b'gone')
    else:
        quiet(s, b.connected(), f'disc/form/{data.hex()}')


@test(each=[('absent',), ('0',)])
def v5_u5_3_14_2_b(b, expiry):
    """No Session Expiry in DISCONNECT where CONNECT had none: a protocol error, no normal end."""
    s = subscriber(b, f'disc/revive/{expiry}')
    c = b.connected(f'disc-revive-{expiry}', will=Will(f'disc/revive/{expiry}', b'gone'),
                    props={} if expiry == 'absent' else {'session_expiry_interval': 0})
    c.send(wire.disconnect(V5, 0, {'session_expiry_interval': 60}))
    ended(c, 0x82)
    s.expect_message(payload=b'gone')
    gone(b, f'disc-revive-{expiry}')


@test
def v5_u5_3_14_2_c(b):
    """Session Expiry in DISCONNECT takes the place of CONNECT's; absent leaves that."""
    cases = {'ended': (60, 0), 'shorter': (60, 1), 'longer': (1, 60), 'left': (60, None),
             'zero': (0, 0)}
    for name, (before, after) in cases.items():
        b.connected(f'disc-{name}', props={'session_expiry_interval': before}).disconnect(
            0, None if after is None else {'session_expiry_interval': after})
    gone(b, 'disc-ended')
    gone(b, 'disc-zero')
    pass_time(1.6)
    gone(b, 'disc-shorter')
    resumed(b, 'disc-longer')
    resumed(b, 'disc-left')


@test(each=[(None,), (0x00,), (0x04,), (0x81,)])
def v5_u5_3_14_4_a(b, reason):
    """The server closes when DISCONNECT has come, if the client does not."""
    c = b.connected()
    c.send(wire.disconnect(V5, reason))
    c.expect_end(3)


# ---- 3.15 AUTH

@test(each=[(flags,) for flags in range(1, 16)])
def v5_mqtt_3_15_1_1(b, flags):
    """The flags of AUTH are 0; others are malformed."""
    c = b.connected()
    c.send(bytes([0xF0 | flags]) + wire.auth(0x19, {'authentication_method': 'x'})[1:])
    ended(c, 0x81)


@test
def v5_mqtt_3_15_2_1(b):
    """AUTH has codes of its own; a client's are 18 and 19."""
    for code in set(range(256)) - {0x18, 0x19}:
        c = b.connected()
        c.send(wire.auth(code, {'authentication_method': 'x'}))
        ended(c, 0x81, 0x82, what=f'{code:02x}')


@test(each=[(0x18,), (0x19,)])
def v5_u5_3_15_0_a(b, code):
    """AUTH is a protocol error if CONNECT had no method, or another one."""
    for props in ({'authentication_method': 'x'},
                  {'authentication_method': 'x', 'authentication_data': b'y'}):
        c = b.connected()
        c.send(wire.auth(code, props))
        ended(c, 0x82, 0x8C)
