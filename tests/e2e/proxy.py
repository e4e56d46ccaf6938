# SPDX-License-Identifier: Apache-2.0
"""The header of the PROXY protocol, versions 1 and 2, as bytes; fair or not."""
import ipaddress
import struct

SIGNATURE = b'\r\n\r\n\x00\r\nQUIT\n'
LOCAL, PROXY = 0, 1
UNSPEC, TCP4, UDP4, TCP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x31


def v1(source, destination='192.0.2.1', source_port=4711, port=1883):
    """As a load balancer tells of a client at `source`."""
    family = 'TCP6' if ':' in source else 'TCP4'
    return f'PROXY {family} {source} {destination} {source_port} {port}\r\n'.encode()


def v2(source=None, destination=None, source_port=4711, port=1883, *, tlvs=b'', command=PROXY,
       version=2, family=None, addresses=None, length=None, signature=SIGNATURE):
    """The same in version 2. source None: no addresses. family, addresses, length, … override what
    would follow from the rest."""
    if addresses is None:
        addresses = b''
        if source is not None:
            a = ipaddress.ip_address(source)
            b = ipaddress.ip_address(destination or ('192.0.2.1' if a.version == 4
                                                     else '2001:db8::1'))
            addresses = a.packed + b.packed + struct.pack('>HH', source_port, port)
    if family is None:
        family = {0: UNSPEC, 12: TCP4, 36: TCP6, 216: UNIX}[len(addresses)]
    rest = addresses + tlvs
    return signature + bytes([version << 4 | command, family]) + struct.pack(
        '>H', len(rest) if length is None else length) + rest


def tlv(kind, value):
    return bytes([kind]) + struct.pack('>H', len(value)) + value
