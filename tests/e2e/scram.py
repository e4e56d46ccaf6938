# SPDX-License-Identifier: Apache-2.0
"""SCRAM-SHA-256's client, from RFC 5802 and 7677, of Python's own HMAC: shares nothing with the
library that the broker uses.

    s = Scram('alice', 'wonderland')
    s.first()                  # client-first
    s.final(server_first)      # client-final
    s.accepts(server_final)    # the server knows the password's keys too
"""
import base64
import hashlib
import hmac
import os

METHOD = 'SCRAM-SHA-256'


def fields(message):
    """{letter: value}"""
    return {part[:1].decode(): part[2:] for part in message.split(b',')}


def _hmac(key, text):
    return hmac.new(key, text, 'sha256').digest()


class Scram:
    def __init__(self, user, password, act_as='', binding='n'):
        name = user.replace('=', '=3D').replace(',', '=2C')
        self.password = password.encode()
        self.header = f'{binding},{f"a={act_as}" if act_as else ""},'.encode()
        self.nonce = base64.b64encode(os.urandom(18))
        self.bare = b'n=' + name.encode() + b',r=' + self.nonce
        self.proof = b''
        self.server_proof = b''

    def first(self):
        return self.header + self.bare

    def final(self, server_first, nonce=None):
        said = fields(server_first)
        assert said['r'].startswith(self.nonce) and len(said['r']) > len(self.nonce), server_first
        without = b'c=' + base64.b64encode(self.header) + b',r=' + (nonce or said['r'])
        salted = hashlib.pbkdf2_hmac('sha256', self.password, base64.b64decode(said['s'], validate=True),
                                     int(said['i']))
        client_key = _hmac(salted, b'Client Key')
        message = b','.join((self.bare, server_first, without))
        signature = _hmac(hashlib.sha256(client_key).digest(), message)
        self.proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_proof = _hmac(_hmac(salted, b'Server Key'), message)
        return without + b',p=' + base64.b64encode(self.proof)

    def accepts(self, server_final):
        return server_final == b'v=' + base64.b64encode(self.server_proof)
