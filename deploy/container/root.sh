#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# root.sh PROGRAM ROOT: makes ROOT the file system of a container that runs PROGRAM: with the libraries
# that it is linked with, the certificates that http.url and token.keys_url are checked by, and the
# licences of all of them.
set -eu

program=$1
root=$2
here=$(dirname "$0")

mkdir -p "$root/usr/bin" "$root/etc/dunlin" "$root/etc/ssl/certs" "$root/data" "$root/proc" "$root/sys" "$root/dev"
install -m 0755 "$program" "$root/usr/bin/dunlin"
install -m 0644 "$here/dunlin.yaml" "$root/etc/dunlin/dunlin.yaml"
install -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
printf 'root:x:0:0::/:/\ndunlin:x:10001:0::/data:/\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"

# package_of PATH…: one of the paths is in dpkg's list: /lib is /usr/lib, and packages say either.
package_of()
{
    for path in "$@"; do
        if dpkg-query -S "$path" 2>/dev/null | cut -d : -f 1 | grep -m 1 .; then
            return
        fi
    done
    echo "root.sh: $1 is of no package" >&2
    exit 1
}

# The group's, so that it is also for a user whose number the cluster chooses.
chown 10001:0 "$root/data"
chmod 0770 "$root/data"

ldd "$program" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
    package=$(package_of "$library" "/usr$library" "$(realpath "$library")" "$(realpath "$library" | sed 's|^/usr||')")
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done
mkdir -p "$root/usr/share/doc/dunlin"
cp "$here/../../LICENSE" "$here/../../docs/licences.md" "$root/usr/share/doc/dunlin/"
