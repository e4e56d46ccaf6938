# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.12 and 3.15: enhanced authentication, with SCRAM-SHA-256, on raw bytes."""
import signal

from harness import Launch, equal, test, wait_until
from norm5 import ended, refused
from pki import pki
from raw import AUTH, CONNACK, PUBLISH, SUBACK, V5, V311, Will, wire
from scram import METHOD, Scram, fields
from tls import Tls
from users import Users, passwd
from websocket import Ws

SECONDS = 26
CONTINUE, AGAIN = 0x18, 0x19
PROTOCOL, UNAUTHORIZED, BAD_METHOD, LIMITED = 0x82, 0x87, 0x8C, 0x9F


class ScramUsers(Users):
    """alice, by SCRAM; bob, by a hash that SCRAM has no use for."""

    def __init__(self):
        super().__init__(bob='builder')
        passwd('--scram', self.path, 'alice', password='wonderland')


def house(b, listeners=None, **more):
    users = ScramUsers()
    return b.another(users.settings(**more), listeners=listeners), users


def props(data=None, method=METHOD, **more):
    said = {'authentication_method': method, **more}
    return said if data is None else {**said, 'authentication_data': data}


def begin(b, s, client_id='', at=None, wrap=None, more=None, **connect):
    """CONNECT with client-first. Returns the client, and server-first."""
    c = b.client(V5, at, wrap=wrap)
    c.send(wire.connect(V5, client_id, props=props(s.first(), **(more or {})), **connect))
    p = c.expect(AUTH, reason=CONTINUE, authentication_method=METHOD)
    return c, p.prop('authentication_data')


def answer(c, data, code=CONTINUE, **more):
    c.send(wire.auth(code, props(data, **more)))


def come_in(b, user='alice', password='wonderland', client_id='', at=None, wrap=None, more=None,
            **connect):
    """All of it. Returns the client and CONNACK."""
    s = Scram(user, password)
    c, said = begin(b, s, client_id, at, wrap, more, **connect)
    answer(c, s.final(said))
    p = c.expect(CONNACK, reason=0, authentication_method=METHOD)
    equal(s.accepts(p.prop('authentication_data')), True, 'the server\'s proof')
    return c, p


def refuse(b, code, user='alice', password='wonderland', **scram):
    s = Scram(user, password, **scram)
    c, said = begin(b, s)
    answer(c, s.final(said))
    equal(c.expect(CONNACK).reason, code)
    c.expect_end()


def again(c, s):
    """AUTH 0x19 with client-first. Returns server-first."""
    answer(c, s.first(), AGAIN)
    return c.expect(AUTH, reason=CONTINUE, authentication_method=METHOD).prop('authentication_data')


# ---- Statements: before CONNACK

@test(only='dunlin', each=[(wire.pingreq(),), (wire.publish(V5, 't', b'x'),),
                           (wire.subscribe(V5, 1, [('t', 0)]),), (wire.connect(V5, 'again'),)])
def v5_mqtt_3_1_2_30(b, other):
    """Between CONNECT with a method and CONNACK only AUTH and DISCONNECT may come."""
    house_, _ = house(b)
    c, _ = begin(house_, Scram('alice', 'wonderland'))
    c.send(other)
    c.expect(CONNACK, reason=PROTOCOL)
    c.expect_end()


@test(only='dunlin')
def v5_mqtt_3_1_2_30_disconnect(b):
    """DISCONNECT may, and is the end; of a will too."""
    other, _ = house(b)
    c, _ = begin(other, Scram('alice', 'wonderland'), will=Will('auth/will', b'gone'))
    c.send(wire.disconnect(V5, 0x04))
    c.expect_end()
    equal(other.counters('wills_published')['wills_published'], 0)


def small(b, size):
    """One who takes no packets over `size`; its server-first, or None if it is told nothing."""
    s = Scram('alice', 'wonderland')
    c = b.client(V5)
    c.send(wire.connect(V5, '', props=props(s.first(), maximum_packet_size=size)))
    return c, c.recv()


@test(only='dunlin', each=[(20,), (80,), (130,)])
def v5_mqtt_3_15_2_2(b, size):
    """AUTH keeps to the client's Maximum Packet Size: no Reason String makes it larger."""
    other, _ = house(b)
    c, p = small(other, size)
    if p is not None:
        equal((p.type, p.size <= size, p.prop('reason_string')), (AUTH, True, None))
    else:
        equal(size < 100, True, 'it would have fit')
    other.connected(username='bob', password='builder').ping()


@test(only='dunlin')
def v5_mqtt_3_15_2_3(b):
    """Nor a User Property."""
    other, _ = house(b)
    _, p = small(other, 200)
    equal((p.type, p.prop('user_property')), (AUTH, None))


@test(only='dunlin')
def v5_mqtt_4_12_0_2(b):
    """The server's AUTH has code 18, each time that it wants more."""
    other, _ = house(b)
    s = Scram('alice', 'wonderland')
    c = other.client(V5)
    c.send(wire.connect(V5, '', props=props()))
    c.expect(AUTH, reason=0x18, authentication_method=METHOD, authentication_data=None)
    answer(c, s.first())
    said = c.expect(AUTH, reason=0x18, authentication_method=METHOD).prop('authentication_data')
    answer(c, s.final(said))
    equal(s.accepts(c.expect(CONNACK, reason=0).prop('authentication_data')), True)


@test(only='dunlin', each=[(0x19, PROTOCOL), (0x00, PROTOCOL), (0x87, PROTOCOL)])
def v5_mqtt_4_12_0_3(b, code, answered):
    """The client's has too; another code is a protocol error."""
    other, _ = house(b)
    s = Scram('alice', 'wonderland')
    c, said = begin(other, s)
    answer(c, s.final(said), code)
    c.expect(CONNACK, reason=answered)
    c.expect_end()


@test(only='dunlin', each=[('wrong password',), ('no such user',), ('nonsense at first',),
                           ('nonsense later',), ('another nonce',), ('acts for another',),
                           ('binds a channel',), ('a NUL',), ('silence twice',), ('too long',)])
def v5_mqtt_4_12_0_4(b, how):
    """Whatever is wrong, at whichever step: CONNACK with a code from 80 up, and closed."""
    other, _ = house(b)
    s = {'wrong password': Scram('alice', 'x'), 'no such user': Scram('mallory', 'x'),
         'acts for another': Scram('alice', 'wonderland', act_as='bob'),
         'binds a channel': Scram('alice', 'wonderland', binding='p=tls-unique'),
         'a NUL': Scram('alice\0', 'wonderland'), 'too long': Scram('a' * 1100, 'x'),
         }.get(how, Scram('alice', 'wonderland'))
    c = other.client(V5)
    first = {'nonsense at first': b'\xff\0,,', 'silence twice': None}.get(how, s.first())
    c.send(wire.connect(V5, '', props=props(first)))
    if how in ('wrong password', 'no such user', 'nonsense later', 'another nonce', 'silence twice'):
        said = c.expect(AUTH, reason=CONTINUE).prop('authentication_data')
        if how == 'nonsense later':
            answer(c, b'c=,,p')
        elif how == 'silence twice':
            answer(c, None)
        else:
            answer(c, s.final(said, nonce=b'x' if how == 'another nonce' else None))
    c.expect(CONNACK, reason=UNAUTHORIZED, authentication_method=None)
    c.expect_end()
    come_in(other)


@test(only='dunlin')
def v5_mqtt_4_12_0_5(b):
    """Every AUTH and CONNACK have the method of CONNECT; a client's that has another is refused."""
    other, _ = house(b)
    for method in ('SCRAM-SHA-1', '', 'scram-sha-256', METHOD + ' '):
        s = Scram('alice', 'wonderland')
        c, said = begin(other, s)
        answer(c, s.final(said), method=method)
        c.expect(CONNACK, reason=BAD_METHOD)
        c.expect_end()
    c, p = come_in(other)
    equal(p.prop('authentication_method'), METHOD)
    again(c, Scram('alice', 'wonderland'))


@test(only='dunlin', each=[(wire.properties({}),),
                           (wire.properties({'authentication_data': b'x'}),),
                           (wire.properties([('authentication_method', METHOD)] * 2),),
                           (wire.properties([('authentication_method', METHOD),
                                             *[('authentication_data', b'x')] * 2]),),
                           (wire.properties([('authentication_method', METHOD),
                                             *[('reason_string', 'x')] * 2]),)])
def v5_u5_3_15_2_a(b, properties):
    """AUTH has the method, once; data and reason string at most once: before CONNACK and after."""
    other, _ = house(b)
    bad = wire.packet(0xF0, bytes([CONTINUE]) + properties)
    c, _ = begin(other, Scram('alice', 'wonderland'))
    c.send(bad)
    c.expect(CONNACK, reason=PROTOCOL)
    c.expect_end()
    c, _ = come_in(other)
    again(c, Scram('alice', 'wonderland'))
    c.send(bad)
    ended(c, PROTOCOL)


# ---- Statements: while connected

@test(only='dunlin', each=[('SCRAM-SHA-1',), ('',), ('x',)])
def v5_mqtt_4_12_1_1(b, method):
    """Again, with the method of CONNECT and no other."""
    other, _ = house(b)
    c, _ = come_in(other)
    answer(c, Scram('alice', 'wonderland').first(), AGAIN, method=method)
    c.expect_disconnect(BAD_METHOD)
    c, _ = come_in(other)
    s = Scram('alice', 'wonderland')
    said = again(c, s)
    answer(c, s.final(said), method=method)
    c.expect_disconnect(BAD_METHOD)


@test(only='dunlin')
def v5_mqtt_4_12_1_2(b):
    """It fails: DISCONNECT with a code, and closed; the will is published."""
    other, _ = house(b)
    watcher, _ = come_in(other)
    watcher.subscribe('auth/will')
    for s, data in ((Scram('alice', 'x'), None), (Scram('mallory', 'x'), None),
                    (Scram('alice', 'wonderland'), b'nonsense')):
        c, _ = come_in(other, will=Will('auth/will', b'gone'))
        said = again(c, s)
        answer(c, data or s.final(said))
        c.expect_disconnect(UNAUTHORIZED)
        watcher.expect_message('auth/will', b'gone')
    equal(other.counters('logins_not_renewed')['logins_not_renewed'], 3)


@test(only='dunlin')
def v5_u5_4_12_1_a(b):
    """The server answers 18, then 00; everything else goes on meanwhile; as often as one likes."""
    other, _ = house(b)
    c, _ = come_in(other)
    c.subscribe('auth/while', qos=2)
    for i in range(3):
        s = Scram('alice', 'wonderland')
        said = again(c, s)
        c.publish('auth/while', b'%d' % i, 2)
        c.expect_message('auth/while', b'%d' % i)
        c.ping()
        answer(c, s.final(said))
        p = c.expect(AUTH, reason=0, authentication_method=METHOD)
        equal(s.accepts(p.prop('authentication_data')), True)
        c.publish('auth/while', b'after', 1)
        c.expect_message('auth/while', b'after')
    equal(other.counters('logins_renewed')['logins_renewed'], 3)


@test(only='dunlin')
def v5_u5_4_12_1_a_silent_begin(b):
    """Who says nothing with 19 is asked."""
    other, _ = house(b)
    c, _ = come_in(other)
    answer(c, None, AGAIN)
    c.expect(AUTH, reason=CONTINUE, authentication_data=None)
    s = Scram('alice', 'wonderland')
    answer(c, s.first())
    answer(c, s.final(c.expect(AUTH, reason=CONTINUE).prop('authentication_data')))
    c.expect(AUTH, reason=0)


@test(only='dunlin')
def one_exchange_at_a_time(b):
    """18 with none under way, and 19 with one, are protocol errors."""
    other, _ = house(b)
    c, _ = come_in(other)
    answer(c, b'x')
    c.expect_disconnect(PROTOCOL)
    c, _ = come_in(other)
    again(c, Scram('alice', 'wonderland'))
    answer(c, Scram('alice', 'wonderland').first(), AGAIN)
    c.expect_disconnect(PROTOCOL)


# ---- Who gets in

@test(only='dunlin')
def the_user_is_the_one_of_the_exchange(b):
    """User name and password in CONNECT count for nothing beside a method."""
    other, users = house(b)
    s = Scram('alice', 'wonderland')
    c, said = begin(other, s, username='bob', password='nonsense')
    answer(c, s.final(said))
    c.expect(CONNACK, reason=0)
    since = other.log_size()
    users.remove('alice')
    other.signal(signal.SIGHUP)
    c.expect_disconnect(UNAUTHORIZED)
    equal(other.one_event('login_revoked', since)['user_name'], 'alice')


@test(only='dunlin')
def who_is_connected_stays_the_same_user(b):
    other, users = house(b)
    passwd('--scram', users.path, 'carol', password='c')
    since = other.log_size()
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('password_file_read', since), what='the file read again')
    c, _ = come_in(other)
    s = Scram('carol', 'c')
    answer(c, s.final(again(c, s)))
    c.expect_disconnect(UNAUTHORIZED)
    come_in(other, 'carol', 'c')


@test(only='dunlin')
def a_name_may_stand_for_itself(b):
    """authzid, the same as authcid."""
    other, _ = house(b)
    s = Scram('alice', 'wonderland', act_as='alice')
    c, said = begin(other, s)
    answer(c, s.final(said))
    c.expect(CONNACK, reason=0)


@test(only='dunlin')
def passwords_go_on_beside_it(b):
    """Without a method the chain judges, also who has a line for SCRAM."""
    other, _ = house(b)
    for version in (V311, V5):
        other.connected(version=version, username='alice', password='wonderland').ping()
        other.connected(version=version, username='bob', password='builder').ping()
    refuse(other, UNAUTHORIZED, 'bob', 'builder')


@test(only='dunlin')
def it_is_offered_only_where_there_are_users(b):
    """Elsewhere the method is one that is not known; so it is where none has a line for it."""
    asked = wire.connect(V5, '', props=props(Scram('alice', 'wonderland').first()))
    refused(b, asked, BAD_METHOD)
    refused(b.another(Users(alice='wonderland').settings()), asked, BAD_METHOD)


@test(only='dunlin')
def what_speaks_against_a_connect_is_heard_after_the_proof(b):
    """It is refused for another reason than the user; or it takes no packet as large as CONNACK."""
    other, _ = house(b, limits__sessions_max=1)
    come_in(other)
    refuse(other, 0x97)
    other, _ = house(b, mqtt__response_information='x' * 500)
    s = Scram('alice', 'wonderland')
    c, said = begin(other, s, more={'maximum_packet_size': 200, 'request_response_information': 1})
    answer(c, s.final(said))
    c.expect_end()


@test(only='dunlin', each=[('tls',), ('ws',)])
def other_transports_carry_it(b, at):
    listeners = {'tls': {'url': 'tls://{}', 'certificate': pki().chain('server'),
                         'key': pki().key('server')}, 'ws': {'url': 'ws://{}'}}
    other, _ = house(b, listeners)
    for i in range(4):  # of both shards
        c, _ = come_in(other, client_id=f'{at}-{i}', at=at, wrap={'tls': Tls(), 'ws': Ws()}[at])
        c.ping()


@test(only='dunlin')
def what_comes_in_pieces_and_what_follows_at_once(b):
    """CONNECT and AUTH byte by byte; then AUTH with SUBSCRIBE and PUBLISH behind it; a will, and a
    session, are those of the CONNECT that was set aside."""
    other, _ = house(b)
    watcher, _ = come_in(other)
    watcher.subscribe('auth/will')
    s = Scram('alice', 'wonderland')
    c = other.client(V5)
    for byte in wire.connect(V5, 'piecemeal', will=Will('auth/will', b'w' * 20000),
                             props=props(s.first()))[:300]:
        c.send(bytes([byte]))
    c.send(wire.connect(V5, 'piecemeal', will=Will('auth/will', b'w' * 20000),
                        props=props(s.first()))[300:])
    said = c.expect(AUTH, reason=CONTINUE).prop('authentication_data')
    packet = wire.auth(CONTINUE, props(s.final(said)))
    for byte in packet[:-1]:
        c.send(bytes([byte]))
    c.send(packet[-1:] + wire.subscribe(V5, 1, [('auth/eager', 0)]) +
           wire.publish(V5, 'auth/eager', b'x'))
    c.expect(CONNACK, reason=0)
    c.expect(SUBACK)
    c.expect(PUBLISH, payload=b'x')
    c.drop()
    watcher.expect_message('auth/will', b'w' * 20000)


@test(only='dunlin')
def a_session_goes_on(b):
    other, _ = house(b)
    for present in (False, True):
        c, p = come_in(other, client_id='lasting', clean_start=False,
                       more={'session_expiry_interval': 60})
        equal(p.session_present, present)
        c.close()


# ---- Strangers

@test(only='dunlin')
def strangers_cannot_tell_who_is_a_user(b):
    """A name that is not there, and one without SCRAM: a salt that stays the same, as long as the
    others' and with as many iterations; and the same refusal."""
    other, users = house(b)
    told = {}
    for user in ('alice', 'bob', 'mallory', 'trudy'):
        for _ in range(2):
            s = Scram(user, 'guess')
            c, said = begin(other, s)
            told.setdefault(user, []).append((fields(said)['s'], fields(said)['i']))
            c.close()
        equal(told[user][0], told[user][1], user)
    salts = {said[0][0] for said in told.values()}
    equal((len(salts), {len(salt) for salt in salts}), (4, {24}))
    equal({said[0][1] for said in told.values()}, {b'15000'})
    users.set('carol', 'c')
    since = other.log_size()
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('password_file_read', since), what='the file read again')
    c, said = begin(other, Scram('mallory', 'guess'))
    equal((fields(said)['s'], fields(said)['i']), told['mallory'][0])


@test(only='dunlin')
def guessing_is_slowed_down_as_for_passwords(b):
    """Of a user and of an address, in one count with the passwords; before the salt is told."""
    other, _ = house(b, auth__failures_per_minute=4)
    c, _ = come_in(other)
    for _ in range(2):
        refuse(other, UNAUTHORIZED, password='guess')
    for _ in range(2):
        x = other.client(V5)
        x.send(wire.connect(V5, '', username='alice', password='guess'))
        x.expect(CONNACK, reason=0x86)
    for user in 'alice', 'mallory':
        x = other.client(V5)
        x.send(wire.connect(V5, '', props=props(Scram(user, 'wonderland').first())))
        x.expect(CONNACK, reason=LIMITED)
        x.expect_end()
    equal(other.counters('logins_limited')['logins_limited'], 2)
    s = Scram('alice', 'wonderland')  # who is connected is not kept from it
    answer(c, s.final(again(c, s)))
    c.expect(AUTH, reason=0)


@test(only='dunlin')
def guesses_at_a_time_are_counted_each(b):
    """All are begun before the first one is judged."""
    other, _ = house(b, auth__failures_per_minute=3)
    begun = []
    for _ in range(6):
        s = Scram('alice', 'guess')
        begun.append((s, *begin(other, s)))
    codes = []
    for s, c, said in begun:
        answer(c, s.final(said))
        codes.append(c.expect(CONNACK).reason)
    equal(codes, [UNAUTHORIZED] * 3 + [LIMITED] * 3)


@test(only='dunlin')
def a_line_that_changes_meanwhile_counts_no_more(b):
    other, users = house(b)
    s = Scram('alice', 'wonderland')
    c, said = begin(other, s)
    passwd('--scram', users.path, 'alice', password='wonderland')
    since = other.log_size()
    other.signal(signal.SIGHUP)
    wait_until(lambda: other.events('password_file_read', since), what='the file read again')
    answer(c, s.final(said))
    c.expect(CONNACK, reason=UNAUTHORIZED)
    come_in(other)


@test(only='dunlin')
def who_says_no_more_is_closed(b):
    """Before CONNACK; while connected too, as one who has failed [MQTT-4.12.1-2]. Who has finished
    stays."""
    other, _ = house(b, limits__connect_timeout_s=1)
    stays, _ = come_in(other)
    stays.subscribe('auth/will')
    s = Scram('alice', 'wonderland')
    answer(stays, s.final(again(stays, s)))
    stays.expect(AUTH, reason=0)
    since = other.log_size()
    stranger, _ = begin(other, Scram('alice', 'wonderland'))
    c, _ = come_in(other, will=Will('auth/will', b'gone'))
    again(c, Scram('alice', 'wonderland'))
    stranger.expect_end(timeout=5 * Launch.slow)
    c.expect_disconnect(UNAUTHORIZED, timeout=5 * Launch.slow)
    stays.expect_message('auth/will', b'gone')
    equal(other.one_event('authentication_timed_out', since)['user_name'], 'alice')
    told = other.counters('connect_timed_out')
    equal((told['connect_timed_out'], told['logins_not_renewed']), (1, 1))


@test(only='dunlin')
def many_who_go_in_the_midst_leave_nothing(b):
    other, _ = house(b)
    for i in range(100):
        s = Scram('alice', 'wonderland')
        c, said = begin(other, s, f'gone-{i}', will=Will('t', b'x' * 9000))
        if i % 2:
            answer(c, s.final(said)[:-8])
        c.close()
    wait_until(lambda: other.counters('connections')['connections'] <= 1, what='the end of all')
    come_in(other)


@test(only='dunlin')
def what_is_set_aside_is_bounded(b):
    """CONNECTs as large as packets may be, and no AUTH after them: those that have been silent for
    longest go, and others get in."""
    other, _ = house(b, limits__message_memory_max=str(16 << 20), limits__packet_bytes_max=str(1 << 20))
    large = [*props(Scram('alice', 'x').first()).items(), *[('user_property', ('k', 'x' * 60000))] * 15]
    for i in range(12):
        c = other.client(V5)
        c.send(wire.connect(V5, f'large-{i}', props=large))
        c.expect(AUTH, reason=CONTINUE)
    equal(other.counters('unread_refused')['unread_refused'] > 0, True)
    come_in(other, client_id='small')


@test(only='dunlin')
def nothing_of_it_is_in_the_log(b):
    other, users = house(b, log__level='debug')
    since = other.log_size()
    come_in(other)
    refuse(other, UNAUTHORIZED, password='tell-nobody')
    line, = wait_until(lambda: other.events('authentication_refused', since), what='a line about it')
    equal((line['user_name'], line['method'], line['reason']), ('alice', METHOD, 'Not authorized'))
    with open(users.path, encoding='utf-8') as f:
        salt = f.read().split('15000:')[1].split('$')[0]
    equal([word for word in ('wonderland', 'tell-nobody', salt) if word in other.log()], [])
