# SPDX-License-Identifier: Apache-2.0
"""Makes a C source of a text: embed.py TEXT SOURCE."""
import sys

with open(sys.argv[1], 'rb') as f:
    text = f.read() + b'\0'
with open(sys.argv[2], 'w', encoding='ascii') as f:
    f.write('#include "broker/admin/api/openapi.h"\n\nconst char openapi_text[] = {\n')
    for i in range(0, len(text), 24):
        f.write(''.join(f'{byte if byte < 128 else byte - 256},' for byte in text[i:i + 24]) + '\n')
    f.write('};\n')
