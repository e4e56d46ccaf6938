# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens for the tests, made by the openssl program and Python's hmac: nothing of ours.

    key = Key('ES256', folder, kid='one')       # a new one, of any of ALGS
    key.token(sub='alice')                      # exp is in an hour, unless it is given
    key.jwk(), key.pem()                        # its public half; a secret's only half
"""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import time

ALGS = [*(f'{kind}{bits}' for kind in ('HS', 'RS', 'PS', 'ES') for bits in (256, 384, 512)), 'EdDSA']
CURVES = {'ES256': ('P-256', 32), 'ES384': ('P-384', 48), 'ES512': ('P-521', 66)}


def openssl(*arguments, data=None):
    return subprocess.run(['openssl', *arguments], input=data, capture_output=True, timeout=60,
                          check=True).stdout


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def json_b64(value):
    return b64(json.dumps(value, separators=(',', ':')).encode())


def jwks(*keys):
    return json.dumps({'keys': [key if isinstance(key, dict) else key.jwk() for key in keys]})


def from_der(signature, size):
    """r and s of an ECDSA signature, each with its size."""
    def integer(at):
        assert signature[at] == 2
        end = at + 2 + signature[at + 1]
        return signature[at + 2:end].lstrip(b'\0').rjust(size, b'\0'), end
    r, at = integer(3 if signature[1] == 0x81 else 2)
    return r + integer(at)[0]


class Key:
    made = 0

    def __init__(self, alg, folder, kid=None, bits=2048):
        Key.made += 1
        self.alg, self.kid, self.kind = alg, kid, alg[:2]
        self.file = os.path.join(folder, f'token-key-{os.getpid()}-{Key.made}')
        self.secret = os.urandom(64)
        if self.kind in ('RS', 'PS'):
            self._make('RSA', f'rsa_keygen_bits:{bits}')
        elif self.kind == 'ES':
            self._make('EC', f'ec_paramgen_curve:{CURVES[alg][0]}')
        elif self.kind == 'Ed':
            self._make('ED25519')

    def _make(self, algorithm, *options):
        openssl('genpkey', '-algorithm', algorithm, *(w for o in options for w in ('-pkeyopt', o)),
                '-out', self.file)

    def pem(self):
        return openssl('pkey', '-in', self.file, '-pubout').decode()

    def jwk(self, **more):
        der = b'' if self.kind == 'HS' else openssl('pkey', '-in', self.file, '-pubout', '-outform', 'DER')
        if self.kind == 'HS':
            parts = {'kty': 'oct', 'k': b64(self.secret)}
        elif self.kind == 'ES':
            curve, size = CURVES[self.alg]
            parts = {'kty': 'EC', 'crv': curve, 'x': b64(der[-2 * size:-size]), 'y': b64(der[-size:])}
        elif self.kind == 'Ed':
            parts = {'kty': 'OKP', 'crv': 'Ed25519', 'x': b64(der[-32:])}
        else:
            modulus = openssl('rsa', '-in', self.file, '-noout', '-modulus').decode().strip().split('=')[1]
            parts = {'kty': 'RSA', 'n': b64(bytes.fromhex(modulus)), 'e': 'AQAB'}
        named = {} if self.kid is None else {'kid': self.kid}
        return {**parts, **named, 'alg': self.alg, 'use': 'sig', **more}

    def sign(self, text):
        if self.kind == 'HS':
            return hmac.new(self.secret, text, getattr(hashlib, f'sha{self.alg[2:]}')).digest()
        if self.kind == 'Ed':
            path = f'{self.file}.text'
            with open(path, 'wb') as f:
                f.write(text)
            return openssl('pkeyutl', '-sign', '-inkey', self.file, '-rawin', '-in', path)
        padding = ('-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest')
        signature = openssl('dgst', f'-sha{self.alg[2:]}', '-sign', self.file,
                            *(padding if self.kind == 'PS' else ()), data=text)
        return from_der(signature, CURVES[self.alg][1]) if self.kind == 'ES' else signature

    def token(self, header=None, payload=None, **claims):
        """header: members more or others; payload: its text, instead of claims. None: left out."""
        claims = {'exp': int(time.time()) + 3600, **claims}
        head = {'alg': self.alg, 'typ': 'JWT', 'kid': self.kid, **(header or {})}
        body = payload or json.dumps({k: v for k, v in claims.items() if v is not None})
        body = body.encode(errors='surrogateescape')
        text = f'{json_b64({k: v for k, v in head.items() if v is not None})}.{b64(body)}'
        return f'{text}.{b64(self.sign(text.encode()))}'
