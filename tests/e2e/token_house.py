# SPDX-License-Identifier: Apache-2.0
"""Brokers that judge tokens, and the files of keys that they judge them by."""
import os

from harness import Launch, wait_until
from tokens import Key, jwks


def folder():
    return os.path.abspath(Launch.folder)


def key(alg='ES256', kid=None):
    return Key(alg, folder(), kid)


class Keys:
    """A file of keys."""
    made = 0

    def __init__(self, *keys):
        Keys.made += 1
        self.path = os.path.join(folder(), f'token-keys-{os.getpid()}-{Keys.made}')
        self.write(jwks(*keys))

    def write(self, text):
        with open(f'{self.path}.new', 'w', encoding='utf-8') as f:
            f.write(text)
        os.replace(f'{self.path}.new', self.path)


def house(b, keys, listeners=None, **more):
    settings = {name.replace('__', '.'): value for name, value in more.items()}
    return b.another({'token.keys_file': keys.path, **settings}, listeners=listeners)


def refused_for(b, words, since):
    wait_until(lambda: [e for e in b.events('token_refused', since) if words in e['reason']],
               what=f'a token refused as it {words}')
