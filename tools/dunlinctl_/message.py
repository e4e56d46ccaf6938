# SPDX-License-Identifier: Apache-2.0
"""A message for `publish`, of flags as mosquitto_pub has them."""
import base64
import os
import sys

from .usage import Misuse, count

SOURCES = ('message', 'file', 'stdin_file', 'null_message', 'stdin_line')


def words_of_property(words):
    """How many words -D takes: PACKET NAME VALUE, and of a user property two values."""
    return 4 if words[1:2] == ['user-property'] else 3


def property_of(packet, name, *texts):
    """(member of the body, value)"""
    if packet.lower() != 'publish':
        raise ValueError(f"'{packet}': only publish has properties here")
    if name == 'user-property':
        return 'user_properties', list(texts)
    if name in ('content-type', 'response-topic'):
        return name.replace('-', '_'), texts[0]
    if name == 'correlation-data':
        return as_member('correlation_data', os.fsencode(texts[0]))
    if name == 'payload-format-indicator':
        if texts[0] not in ('0', '1'):
            raise ValueError(f'{name} is 0 or 1')
        return 'payload_format_indicator', int(texts[0])
    if name == 'message-expiry-interval':
        return 'expiry_s', count(texts[0])
    raise ValueError(f"'{name}' is none of content-type, correlation-data, message-expiry-interval, "
                     'payload-format-indicator, response-topic, user-property')


def as_member(name, data):
    """As text where it is some, otherwise as base64. A NUL is none: JSON libraries differ about it."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = '\0'
    return (name + '_base64', base64.b64encode(data).decode()) if '\0' in text else (name, text)


def payload_of(item):
    """The bytes of a message that the API has answered with."""
    return base64.b64decode(item['payload_base64']) if 'payload_base64' in item else item['payload'].encode()


def payloads(values):
    """Of each message that is to be published."""
    given = [name for name in SOURCES if getattr(values, name) is not None]
    if len(given) != 1:
        raise Misuse('publish wants one of -m, -f, -s, -l and -n')
    if values.message is not None:
        yield os.fsencode(values.message)
    elif values.file is not None:
        try:
            with open(values.file, 'rb') as f:
                yield f.read()
        except OSError as e:
            raise Misuse(f'-f {values.file}: {e.strerror}') from None
    elif values.stdin_file:
        yield sys.stdin.buffer.read()
    elif values.null_message:
        yield b''
    else:
        for line in sys.stdin.buffer:
            yield line.rstrip(b'\r\n')


def bodies(values):
    if values.topic is None:
        raise Misuse('publish wants -t TOPIC')
    whole = {'topic': values.topic, 'qos': int(values.qos or 0), 'retain': bool(values.retain)}
    properties = {}
    for name, value in values.property:
        if name == 'user_properties':
            properties.setdefault(name, []).append(value)
        elif name == 'expiry_s':
            whole[name] = value
        else:
            properties[name] = value
    if properties:
        whole['properties'] = properties
    for data in payloads(values):
        name, value = as_member('payload', data)
        yield {**whole, name: value}
