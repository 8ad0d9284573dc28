#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install what effnet is built with, if it isn't there: Debian, Ubuntu and their kin, by apt.
#
#     scripts/install-deps.sh            install what is missing (with sudo unless root)
#     scripts/install-deps.sh --emulate  and what `meson -Demulate=true` needs, for testing AVX-512 where there is none
#     scripts/install-deps.sh --check    only look: exit code 1, and the line that would help, if something is missing
#
# What counts is whether a thing works, not which package brought it: a meson from pip is as good as Debian's.
set -eu

missing=''
need() { # PACKAGE COMMAND...: the package is missing unless the command succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
has_header() { printf '#include <%s>\n' "$1" | cc -E -x c - ; }
can_run() { command -v "$1"; }

need gcc can_run cc
need libc6-dev has_header stdio.h
need meson meson --version
need ninja-build can_run ninja
need pkg-config can_run pkg-config
need libjpeg-dev pkg-config --exists libjpeg
need libpng-dev pkg-config --exists libpng
need libwebp-dev pkg-config --exists libwebp
need libexif-dev pkg-config --exists libexif
need libjansson-dev pkg-config --exists jansson
need libzip-dev pkg-config --exists libzip
need libcmocka-dev pkg-config --exists cmocka
need python3 python3 --version
need python3-pip python3 -m pip --version
need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt -o -s /etc/pki/tls/certs/ca-bundle.crt
if [ "${1-}" = --emulate ]; then
    need libsimde-dev has_header simde/x86/avx512.h
fi

if [ -z "$missing" ]; then
    exit 0
fi
if [ "${1-}" = --check ]; then
    echo "effnet needs these packages (Debian's names):$missing" >&2
    echo "Install them with 'make deps', or: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "effnet needs these packages (Debian's names):$missing" >&2
    echo "There is no apt-get here: install them with the package manager of this system, then repeat." >&2
    exit 1
fi
sudo=''
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "effnet needs packages, and there is no sudo: as root, run" >&2
        echo "    apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq </dev/null
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    -o Dpkg::Use-Pty=0 $missing </dev/null >/dev/null
