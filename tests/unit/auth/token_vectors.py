#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints token_vectors.h: a key and a token of each algorithm, by openssl and Python (e2e/tokens.py)."""
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../e2e'))
from tokens import ALGS, Key, jwks  # noqa: E402

EXP = 2000000000
SIZES = {'RS512': 3072, 'PS512': 4096}


def text(value):
    """A C string, in lines."""
    escaped = value.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
    pieces, width = [], 88
    while escaped:
        cut = width
        while escaped[cut - 1:cut] == '\\':
            cut -= 1
        pieces.append(f'     "{escaped[:cut]}"')
        escaped = escaped[cut:]
    return '\n'.join(pieces)


NOW = 1900000000  # token_test.c: NOW, LEEWAY, and the rules
TIMES = {'exp': EXP, 'iat': NOW}
GOOD = {**TIMES, 'iss': 'https://issuer.test', 'aud': 'mqtt', 'sub': 'alice'}


def good(**more):
    return {**GOOD, **more}


# Name, what becomes of it, header's members, claims or their text.
CASES = [
    ('all is well', 'OK', {}, good()),
    ('no type', 'OK', {'typ': None}, good()),
    ('an access token', 'OK', {'typ': 'application/at+JWT'}, good()),
    ('a type of something else', 'TYPE', {'typ': 'logout+jwt'}, good()),
    ('a type that is no text', 'TYPE', {'typ': 1}, good()),
    ('an extension', 'CRITICAL', {'crit': ['b64'], 'b64': False}, good()),
    ('no name of a key', 'OK', {'kid': None}, good()),
    ('another name of a key', 'UNKNOWN_KEY', {'kid': 'HS256-other'}, good()),
    ('a name that is no text', 'MALFORMED', {'kid': 7}, good()),
    ('no algorithm', 'MALFORMED', {'alg': None}, good()),
    ('none', 'ALGORITHM', {'alg': 'none'}, good()),
    ('None', 'ALGORITHM', {'alg': 'None'}, good()),
    ('another algorithm than the key\'s', 'ALGORITHM', {'alg': 'HS512'}, good()),
    ('a key that the token brings', 'OK', {'jwk': {'kty': 'oct', 'k': 'AAAA'}, 'jku': 'http://x'}, good()),
    ('ends now, but for the leeway', 'OK', {}, good(exp=NOW)),
    ('ends with the leeway', 'EXPIRED', {}, good(exp=NOW - 30)),
    ('ends a second later', 'OK', {}, good(exp=NOW - 29)),
    ('ends in the midst of a second', 'OK', {}, good(exp=NOW - 28.5)),
    ('no end', 'NO_EXPIRY', {}, good(exp=None)),
    ('an end that is no number', 'CLAIM', {}, good(exp='2000000000')),
    ('an end before 1970', 'CLAIM', {}, good(exp=-1)),
    ('an end beyond all times', 'CLAIM', {}, good(exp=2**60)),
    ('begins with the leeway', 'OK', {}, good(nbf=NOW + 30)),
    ('begins later', 'EARLY', {}, good(nbf=NOW + 31)),
    ('a beginning that is no number', 'CLAIM', {}, good(nbf=True)),
    ('issued in the future', 'EARLY', {}, good(iat=NOW + 31)),
    ('another issuer', 'ISSUER', {}, good(iss='https://issuer.test/')),
    ('no issuer', 'ISSUER', {}, good(iss=None)),
    ('another audience', 'AUDIENCE', {}, good(aud='mqtts')),
    ('no audience', 'AUDIENCE', {}, good(aud=None)),
    ('one of several', 'OK', {}, good(aud=['web', 'mqtt'])),
    ('none of several', 'AUDIENCE', {}, good(aud=['web', 'mq'])),
    ('nobody', 'AUDIENCE', {}, good(aud=[])),
    ('an audience that is no text', 'CLAIM', {}, good(aud=['mqtt', 1])),
    ('an audience that is an object', 'CLAIM', {}, good(aud={'mqtt': 'mqtt'})),
    ('no user', 'USER', {}, good(sub=None)),
    ('a user without a name', 'USER', {}, good(sub='')),
    ('a user that is no text', 'USER', {}, good(sub=1)),
    ('a user of 256 bytes', 'OK', {}, good(sub='a' * 256)),
    ('a user of more', 'USER', {}, good(sub='a' * 257)),
    ('a user with a NUL', 'MALFORMED', {}, good(sub='a\0b')),
    ('its client identifier', 'OK', {}, good(client_id='client')),
    ('another client identifier', 'CLIENT', {}, good(client_id='clienT')),
    ('a client identifier that is no text', 'CLIENT', {}, good(client_id=['client'])),
    ('rules', 'OK', {}, good(acl=[{'permission': 'allow', 'topic': 'a/#'}])),
    ('rules that are none', 'ACL', {}, good(acl=[{'permission': 'perhaps', 'topic': 'a/#'}])),
    ('rules that are no list', 'ACL', {}, good(acl='a/#')),
    ('rules that are a number', 'ACL', {}, good(acl=7)),
    ('groups', 'OK', {}, good(groups=['ops', 'a b'])),
    ('groups that are no text', 'GROUPS', {}, good(groups=['ops', 1])),
    ('groups, and rules that are none', 'ACL', {}, good(groups=['ops'], acl=7)),
    ('claims that are a list', 'MALFORMED', {}, '[1]'),
    ('claims that are no JSON', 'MALFORMED', {}, '{"sub": alice}'),
    ('claims with something behind them', 'MALFORMED', {}, json.dumps(good()) + '{}'),
    ('a claim twice', 'MALFORMED', {}, json.dumps(good())[:-1] + ', "sub": "bob"}'),
    ('a claim twice, once escaped', 'MALFORMED', {}, json.dumps(good())[:-1] + ', "s\\u0075b": "bob"}'),
    ('no UTF-8', 'MALFORMED', {}, '{"sub": "\udcff"}'),
]


def cases(key):
    print('\n/* Each signed by the key of vectors[0]. */\nstatic const struct {\n    const char *name;\n'
          '    enum token_err err;\n    const char *token;\n} cases[] __attribute__((unused)) = {')
    for name, err, header, claims in CASES:
        how = {'payload': claims} if isinstance(claims, str) else claims
        print(f'    {{"{name}", TOKEN_{err},\n{text(key.token(header=header, **how))}}},')
    print('};')


def main():
    print('/* SPDX-License-Identifier: Apache-2.0 */\n'
          '/* Made by token_vectors.py: a key and a token of each algorithm, of "alice", until '
          f'{EXP}. */\n/* clang-format off */\n'
          'static const struct {\n    const char *alg, *jwks, *pem, *token; /* pem: NULL for secrets, and '
          'where it would be for RS256 */\n} vectors[] __attribute__((unused)) = {')
    with tempfile.TemporaryDirectory() as folder:
        first = None
        for alg in ALGS:
            key = Key(alg, folder, kid=f'{alg}-key', bits=SIZES.get(alg, 2048))
            pem = text(key.pem()) if alg in ('RS256', 'ES256', 'ES384', 'ES512', 'EdDSA') else '     NULL'
            print(f'    {{"{alg}",\n{text(jwks(key))},\n{pem},\n'
                  f'{text(key.token(sub="alice", exp=EXP))}}},')
            first = key if alg == 'HS256' else first
        print('};')
        cases(first)


main()
