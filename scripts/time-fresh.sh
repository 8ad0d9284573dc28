#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How long the first minutes take on a fresh machine: clone the last commit into a bare Debian 12 that has make, git
# and certificates and nothing else, run make targets there, and time each.
#
#     scripts/time-fresh.sh [--rootfs FILE.tar] [--keep] [TARGET...]      targets: demo test, in one root, in order
#
# Needs root and debootstrap, as it changes root: run it on a machine that is yours alone. FILE.tar (default
# /tmp/rootfs.tar) is the bare system; it is made with debootstrap when it isn't there, from $MIRROR if that is set.
# How this machine reaches its package sources (apt and pip configuration, proxies, certificates, DNS) is copied into
# the new root. --keep leaves the root in place and prints where it is.
set -euo pipefail
cd "$(dirname "$0")/.."

tar=/tmp/rootfs.tar
keep=''
while [[ ${1-} == --* ]]; do
    case $1 in
    --rootfs) tar=${2:?--rootfs needs a file}; shift 2 ;;
    --keep) keep=1; shift ;;
    *) sed -n '3,13s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
done
[[ $# -gt 0 ]] || set -- demo test
[[ $(id -u) -eq 0 ]] || { echo "time-fresh: needs root, for chroot and mount" >&2; exit 1; }

root=$(mktemp -d /tmp/effnet-fresh-XXXXXX)
cleanup() {
    if mountpoint -q "$root/proc"; then umount "$root/proc"; fi
    if [[ -n $keep ]]; then echo "the root is kept in $root"; else rm -rf --one-file-system "$root"; fi
}
trap cleanup EXIT

if [[ ! -f $tar ]]; then
    command -v debootstrap >/dev/null || { echo "time-fresh: install debootstrap, or name a --rootfs" >&2; exit 1; }
    echo "making $tar"
    debootstrap --variant=minbase --include=make,git,ca-certificates bookworm "$root" ${MIRROR:+"$MIRROR"} >/dev/null
    tar -C "$root" -cf "$tar.part" .
    mv "$tar.part" "$tar"
else
    tar -C "$root" -xf "$tar"
fi

# How to reach the network, as far as this machine has it configured.
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
if [[ -f /etc/apt/sources.list.d/debian.sources ]]; then
    cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"
    : >"$root/etc/apt/sources.list"
elif [[ -s /etc/apt/sources.list ]]; then
    cp /etc/apt/sources.list "$root/etc/apt/"
fi
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/* /etc/apt/auth.conf /etc/apt/auth.conf.d/*; do
    if [[ $file == */auth.conf* && -f $file ]] || grep -qs 'Acquire::' "$file"; then
        install -D -m 644 "$file" "$root$file"
    fi
done
for file in /etc/pip.conf ~/.config/pip/pip.conf ~/.pip/pip.conf; do
    [[ ! -f $file ]] || install -D -m 644 "$file" "$root/etc/pip.conf"
done
if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    cp /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/"
    chroot "$root" update-ca-certificates >/dev/null 2>&1
fi
environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8)
while IFS= read -r -d '' pair; do
    case $pair in
    PIP_* | *_proxy=* | *_PROXY=* | SSL_CERT_*=* | REQUESTS_CA_BUNDLE=*) environment+=("$pair") ;;
    esac
done < <(env -0)

mount -t proc proc "$root/proc"
git clone -q . "$root/root/effnet"
[[ -z $(git status --porcelain) ]] || echo "note: changes that aren't committed take no part"

now() { date +%s%3N; }
report=()
for target in "$@"; do
    printf '\n######## make %s\n' "$target"
    at=$(now)
    code=0
    env -i "${environment[@]}" chroot "$root" make -C /root/effnet --no-print-directory "$target" </dev/null || code=$?
    report+=("$(printf 'make %-6s %7.1f s   exit code %d' "$target" "$((($(now) - at)))e-3" "$code")")
done
printf '\n%s, %s CPUs, commit %s\n' "$(. "$root/etc/os-release" && echo "$PRETTY_NAME")" "$(nproc)" \
    "$(git rev-parse --short HEAD)"
printf '%s\n' "${report[@]}"
