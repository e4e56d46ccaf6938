# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1, 3.1.1 and 5.0 as bytes: builds any packet, parses what a server sends. No socket.

Shares nothing with proto/ on purpose: one mistake must not hide in both. Section numbers in
brackets are those of MQTT 5.0.

Building is lenient: each builder makes the packet that its arguments describe, fair or not, and
the parts (`varint`, `string`, `packet` …) make what no builder would. Parsing is strict: whatever
a server may not send raises WireError, so that every test checks the form of all it receives.

Properties are a list of (name, value) in the order on the wire, or a dict, where each comes once:

    publish(5, 'a/b', b'21', qos=1, packet_id=7,
            props=[('user_property', ('k', '1')), ('user_property', ('k', '2'))])
"""
import struct
from dataclasses import dataclass, field

V31, V311, V5 = 3, 4, 5

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK, UNSUBSCRIBE, \
    UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(1, 16)
NAMES = ('reserved', 'CONNECT', 'CONNACK', 'PUBLISH', 'PUBACK', 'PUBREC', 'PUBREL', 'PUBCOMP',
         'SUBSCRIBE', 'SUBACK', 'UNSUBSCRIBE', 'UNSUBACK', 'PINGREQ', 'PINGRESP', 'DISCONNECT',
         'AUTH')
WILL = 'will'  # stands for the will's properties where a packet type is asked for

_ACKS = (PUBACK, PUBREC, PUBREL, PUBCOMP)
_EVERYWHERE = (CONNECT, CONNACK, PUBLISH, WILL, *_ACKS, SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK,
               DISCONNECT, AUTH)

# id, type on the wire, packets that may carry it (2.2.2.2)
PROPERTIES = {
    'payload_format_indicator': (0x01, 'byte', (PUBLISH, WILL)),
    'message_expiry_interval': (0x02, 'u32', (PUBLISH, WILL)),
    'content_type': (0x03, 'string', (PUBLISH, WILL)),
    'response_topic': (0x08, 'string', (PUBLISH, WILL)),
    'correlation_data': (0x09, 'binary', (PUBLISH, WILL)),
    'subscription_identifier': (0x0B, 'varint', (PUBLISH, SUBSCRIBE)),
    'session_expiry_interval': (0x11, 'u32', (CONNECT, CONNACK, DISCONNECT)),
    'assigned_client_identifier': (0x12, 'string', (CONNACK,)),
    'server_keep_alive': (0x13, 'u16', (CONNACK,)),
    'authentication_method': (0x15, 'string', (CONNECT, CONNACK, AUTH)),
    'authentication_data': (0x16, 'binary', (CONNECT, CONNACK, AUTH)),
    'request_problem_information': (0x17, 'byte', (CONNECT,)),
    'will_delay_interval': (0x18, 'u32', (WILL,)),
    'request_response_information': (0x19, 'byte', (CONNECT,)),
    'response_information': (0x1A, 'string', (CONNACK,)),
    'server_reference': (0x1C, 'string', (CONNACK, DISCONNECT)),
    'reason_string': (0x1F, 'string', (CONNACK, *_ACKS, SUBACK, UNSUBACK, DISCONNECT, AUTH)),
    'receive_maximum': (0x21, 'u16', (CONNECT, CONNACK)),
    'topic_alias_maximum': (0x22, 'u16', (CONNECT, CONNACK)),
    'topic_alias': (0x23, 'u16', (PUBLISH,)),
    'maximum_qos': (0x24, 'byte', (CONNACK,)),
    'retain_available': (0x25, 'byte', (CONNACK,)),
    'user_property': (0x26, 'pair', _EVERYWHERE),
    'maximum_packet_size': (0x27, 'u32', (CONNECT, CONNACK)),
    'wildcard_subscription_available': (0x28, 'byte', (CONNACK,)),
    'subscription_identifier_available': (0x29, 'byte', (CONNACK,)),
    'shared_subscription_available': (0x2A, 'byte', (CONNACK,)),
}
_BY_ID = {row[0]: (name, *row[1:]) for name, row in PROPERTIES.items()}


class WireError(Exception):
    """The peer sent bytes that the standard does not allow a server to send."""


# ---- Parts

def u16(n):
    return struct.pack('>H', n)


def u32(n):
    return struct.pack('>I', n)


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7F
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def binary(b):
    return u16(len(b)) + b


def string(s):
    """A str, or the bytes of one, also of an ill-formed one."""
    return binary(s if isinstance(s, bytes) else s.encode())


def prop(name, value):
    """One property; `name` may also be a number, then `value` is its bytes."""
    if isinstance(name, int):
        return varint(name) + value
    number, kind, _ = PROPERTIES[name]
    encode = {'byte': lambda v: bytes([v]), 'u16': u16, 'u32': u32, 'varint': varint,
              'string': string, 'binary': binary,
              'pair': lambda v: string(v[0]) + string(v[1])}[kind]
    return varint(number) + encode(value)


def properties(props):
    """The property length and the properties. Bytes stand for themselves, length included."""
    if isinstance(props, bytes):
        return props
    items = props.items() if isinstance(props, dict) else (props or ())
    body = b''.join(prop(name, value) for name, value in items)
    return varint(len(body)) + body


def packet(first_byte, body=b'', remaining_length=None):
    """Any packet at all: the fixed header, then the body. The length can be a lie."""
    return bytes([first_byte]) + varint(len(body) if remaining_length is None
                                        else remaining_length) + body


def _props(version, props):
    return properties(props) if version >= V5 else b''


# ---- Builders, one for each packet type

@dataclass
class Will:
    topic: object  # str or bytes
    payload: bytes = b''
    qos: int = 0
    retain: bool = False
    props: object = None


def connect(version=V5, client_id='', clean_start=True, keep_alive=60, will=None, username=None,
            password=None, props=None, flags=None, name=None, level=None):
    """CONNECT. `flags`, `name` and `level` override what would follow from the rest."""
    if flags is None:
        flags = (bool(clean_start) << 1 | (username is not None) << 7
                 | (password is not None) << 6)
        if will is not None:
            flags |= 0x04 | will.qos << 3 | bool(will.retain) << 5
    if name is None:
        name = 'MQIsdp' if version == V31 else 'MQTT'
    body = string(name) + bytes([version if level is None else level, flags]) + u16(keep_alive)
    body += _props(version, props) + string(client_id)
    if will is not None:
        body += _props(version, will.props) + string(will.topic) + binary(will.payload)
    if username is not None:
        body += string(username)
    if password is not None:
        body += string(password)
    return packet(0x10, body)


def publish(version, topic, payload=b'', qos=0, packet_id=None, retain=False, dup=False,
            props=None):
    body = string(topic) + (u16(packet_id) if packet_id is not None else b'')
    body += _props(version, props) + payload
    return packet(0x30 | bool(dup) << 3 | qos << 1 | bool(retain), body)


def ack(kind, packet_id, reason=None, props=None):
    """PUBACK, PUBREC, PUBREL, PUBCOMP. The short form without a reason, the long with properties."""
    body = u16(packet_id)
    if reason is not None or props is not None:
        body += bytes([reason or 0])
    if props is not None:
        body += properties(props)
    return packet(kind << 4 | (2 if kind == PUBREL else 0), body)


def subscribe(version, packet_id, filters, props=None):
    """filters: [(filter, options byte)]; the options byte of 3.1.1 is the QoS. See options()."""
    body = u16(packet_id) + _props(version, props)
    body += b''.join(string(f) + bytes([o]) for f, o in filters)
    return packet(0x82, body)


def options(qos=0, no_local=False, retain_as_published=False, retain_handling=0):
    return qos | bool(no_local) << 2 | bool(retain_as_published) << 3 | retain_handling << 4


def unsubscribe(version, packet_id, filters, props=None):
    body = u16(packet_id) + _props(version, props)
    return packet(0xA2, body + b''.join(string(f) for f in filters))


def pingreq():
    return packet(0xC0)


def disconnect(version=V5, reason=None, props=None):
    if version < V5 or (reason is None and props is None):
        return packet(0xE0)
    return packet(0xE0, bytes([reason or 0]) + (properties(props) if props is not None else b''))


def auth(reason=None, props=None):
    return packet(0xF0, b'' if reason is None else bytes([reason]) + properties(props))


# ---- Parsing what a server sends

@dataclass
class Packet:
    """A packet from the server; fields that its type has not are None or empty."""
    type: int
    size: int = 0                 # on the wire, fixed header included
    raw: bytes = b''              # all of it, as it came
    dup: bool = False
    qos: int = 0
    retain: bool = False
    topic: str = None
    payload: bytes = None
    packet_id: int = None
    session_present: bool = None
    reason: int = None            # CONNACK, acknowledgements, DISCONNECT, AUTH
    reasons: tuple = ()           # SUBACK, UNSUBACK
    props: list = field(default_factory=list)

    def prop(self, name, default=None):
        """The first property of that name."""
        assert name in PROPERTIES, name
        return next((value for n, value in self.props if n == name), default)

    def all(self, name):
        """All properties of that name, in order."""
        assert name in PROPERTIES, name
        return [value for n, value in self.props if n == name]

    def __str__(self):
        said = [NAMES[self.type]]
        for name in ('packet_id', 'topic', 'session_present'):
            if getattr(self, name) is not None:
                said.append(f'{name}={getattr(self, name)!r}')
        if self.type == PUBLISH:
            body = self.payload if len(self.payload) <= 40 else self.payload[:40] + b'...'
            said.append(f'qos={self.qos} dup={self.dup:d} retain={self.retain:d} {body!r}')
        if self.reason is not None:
            said.append(f'reason=0x{self.reason:02x}')
        if self.reasons:
            more = f' … of {len(self.reasons)}' if len(self.reasons) > 8 else ''
            said.append('reasons=' + ','.join(f'0x{r:02x}' for r in self.reasons[:8]) + more)
        said.extend(f'{n}={v!r}' for n, v in self.props)
        return ' '.join(said)


class _Reader:
    def __init__(self, body):
        self.body, self.at = body, 0

    def left(self):
        return len(self.body) - self.at

    def take(self, n):
        if self.left() < n:
            raise WireError(f'{n} bytes wanted, {self.left()} left in the packet')
        self.at += n
        return self.body[self.at - n:self.at]

    def rest(self):
        return self.take(self.left())

    def byte(self):
        return self.take(1)[0]

    def u16(self):
        return struct.unpack('>H', self.take(2))[0]

    def u32(self):
        return struct.unpack('>I', self.take(4))[0]

    def varint(self):
        total = 0
        for i in range(4):
            byte = self.byte()
            total |= (byte & 0x7F) << 7 * i
            if not byte & 0x80:
                if i > 0 and byte == 0:
                    raise WireError('a variable byte integer is not in its shortest form')
                return total
        raise WireError('a variable byte integer has more than four bytes')

    def binary(self):
        return self.take(self.u16())

    def string(self):
        try:
            text = self.binary().decode()
        except UnicodeDecodeError as e:
            raise WireError(f'a string is not UTF-8: {e}') from e
        if '\0' in text:
            raise WireError('a string holds U+0000')
        return text

    def pair(self):
        return self.string(), self.string()

    def properties(self, kind):
        inner = _Reader(self.take(self.varint()))
        found = []
        while inner.left():
            number = inner.varint()
            if number not in _BY_ID:
                raise WireError(f'there is no property 0x{number:02x}')
            name, wire, packets = _BY_ID[number]
            if kind not in packets:
                raise WireError(f'{name} in {NAMES[kind]}')
            if any(n == name for n, _ in found) and name != 'user_property' and \
                    (name, kind) != ('subscription_identifier', PUBLISH):
                raise WireError(f'{name} twice')
            found.append((name, getattr(inner, wire)()))
        return found


def split(buffer):
    """The size of the packet that `buffer` begins with, or None if it is not whole yet."""
    length = 0
    for i in range(1, 5):
        if len(buffer) <= i:
            return None
        length |= (buffer[i] & 0x7F) << 7 * (i - 1)
        if not buffer[i] & 0x80:
            if i > 1 and buffer[i] == 0:
                raise WireError('the remaining length is not in its shortest form')
            size = 1 + i + length
            return size if len(buffer) >= size else None
    raise WireError('the remaining length has more than four bytes')


def parse(raw, version):
    """One whole packet from a server that speaks `version`."""
    kind, flags = raw[0] >> 4, raw[0] & 0x0F
    p = Packet(kind, len(raw), raw)
    if kind not in (CONNACK, PUBLISH, *_ACKS, SUBACK, UNSUBACK, PINGRESP, DISCONNECT, AUTH) or \
            (kind in (DISCONNECT, AUTH) and version < V5):
        raise WireError(f'a server may not send {NAMES[kind]} ({raw[:16].hex(" ")})')
    if kind != PUBLISH and flags != (2 if kind == PUBREL else 0):
        raise WireError(f'{NAMES[kind]} with flags 0x{flags:x}')
    at = 1
    while raw[at] & 0x80:
        at += 1
    r = _Reader(raw[at + 1:])
    _PARSERS[kind](p, r, flags, version)
    if r.left():
        raise WireError(f'{r.left()} bytes after the end of {NAMES[kind]}')
    return p


def _parse_connack(p, r, _flags, version):
    acknowledge = r.byte()
    if acknowledge & (0xFE if version >= V311 else 0xFF):
        raise WireError(f'CONNACK flags 0x{acknowledge:02x}')
    p.session_present = bool(acknowledge)
    p.reason = r.byte()
    # An unsupported level is answered in a form of which the client knows the beginning only.
    if version >= V5 and (r.left() or p.reason == 0):
        p.props = r.properties(CONNACK)
    if p.session_present and p.reason:
        raise WireError('CONNACK refuses, and has a session')


def _parse_publish(p, r, flags, version):
    p.dup, p.qos, p.retain = bool(flags & 8), flags >> 1 & 3, bool(flags & 1)
    if p.qos == 3 or (p.dup and p.qos == 0):
        raise WireError(f'PUBLISH with flags 0x{flags:x}')
    p.topic = r.string()
    if '+' in p.topic or '#' in p.topic:
        raise WireError(f'a topic name with a wildcard: {p.topic!r}')
    if p.qos:
        p.packet_id = r.u16()
        if p.packet_id == 0:
            raise WireError('packet id 0')
    if version >= V5:
        p.props = r.properties(PUBLISH)
    if not p.topic and p.prop('topic_alias') is None:
        raise WireError('no topic and no alias')
    p.payload = bytes(r.rest())


def _parse_ack(p, r, _flags, version):
    p.packet_id = r.u16()
    p.reason = 0
    if version >= V5 and r.left():
        p.reason = r.byte()
        if r.left():
            p.props = r.properties(p.type)


def _parse_suback(p, r, _flags, version):
    p.packet_id = r.u16()
    if version >= V5:
        p.props = r.properties(p.type)
    if version >= V5 or p.type == SUBACK:
        p.reasons = tuple(r.rest())
        if not p.reasons:
            raise WireError(f'{NAMES[p.type]} without a code')


def _parse_empty(_p, _r, _flags, _version):
    pass


def _parse_disconnect(p, r, _flags, _version):
    p.reason = r.byte() if r.left() else 0
    if r.left():
        p.props = r.properties(p.type)


_PARSERS = {CONNACK: _parse_connack, PUBLISH: _parse_publish, SUBACK: _parse_suback,
            UNSUBACK: _parse_suback, PINGRESP: _parse_empty, DISCONNECT: _parse_disconnect,
            AUTH: _parse_disconnect, **{kind: _parse_ack for kind in _ACKS}}
