#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build_wolfssl.sh FOLDER: wolfSSL as the broker is linked with it, from Debian's source, but with clang, the
# address sanitizer, and what a fuzzer needs to see where it has been. FOLDER/root is what is made; nothing
# else of the system is touched. Needs dpkg-dev, make, autoconf, automake, libtool, clang.
set -euo pipefail
folder=$(realpath -m "$1")
version=$(dpkg-query -W -f='${Version}' libwolfssl-dev)
[[ $(cat "$folder/version" 2>/dev/null) != "$version" ]] || exit 0

rm -rf "${folder:?}"
mkdir -p "$folder"/{apt,lists,build}
cd "$folder"

# Debian's own of apt's sources, asked for source packages.
while read -r file; do
    sed -E 's/^Types:.*/Types: deb-src/; s/^deb /deb-src /' "$file" >"apt/${file##*/}"
done < <(grep -lr debian.org /etc/apt/sources.list /etc/apt/sources.list.d 2>/dev/null)
apt=(apt-get -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$folder/apt"
    -o Dir::State::Lists="$folder/lists" -o APT::Sandbox::User=root)
"${apt[@]}" update
"${apt[@]}" source --download-only "wolfssl=$version"
dpkg-source -x ./*.dsc source

(cd source && autoreconf -fi)
cd build
# As debian/rules has it.
../source/configure --enable-distro --enable-pkcs11 --disable-examples --disable-shared --enable-static \
    --prefix="$folder/root" CC=clang CFLAGS='-O1 -g -fsanitize=address,fuzzer-no-link' \
    LDFLAGS=-fsanitize=address
make -j"$(nproc)" install
printf '%s\n' "$version" >"$folder/version"
