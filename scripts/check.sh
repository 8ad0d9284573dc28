#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make check`: the quick tests and the fuzz targets under the address and undefined-behaviour sanitizers, those that
# start threads under the thread sanitizer, and on a CPU without AVX-512 or AMX those kernels in emulation. The last line adds all
# up: "N passed, N failed".
set -u
cd "$(dirname "$0")/.."

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

check() { # DIR SETUP_OPTIONS PREFIX SUITE...
    dir=$1 options=$2 prefix=$3
    shift 3
    rm -f "$dir/meson-logs/testlog.json"
    if [ ! -f "$dir/build.ninja" ]; then
        rm -rf "$dir/meson-private" # what an interrupted setup leaves
        # shellcheck disable=SC2086
        log=$(meson setup "$dir" $options -Db_lundef=false) || { printf '%s\n' "$log"; return; }
    fi
    # A failure is in the log that the summary reads.
    ninja -C "$dir" && $prefix meson test -C "$dir" --no-rebuild --timeout-multiplier 4 --print-errorlogs "$@"
}

# GCC 12's thread sanitizer doesn't know the address layout of newer kernels with much randomization.
plain_layout=''
if setarch -R true 2>/dev/null; then
    plain_layout='setarch -R'
fi
check build-asan -Db_sanitize=address,undefined '' --suite quick --suite fuzz
check build-tsan -Db_sanitize=thread "$plain_layout" --suite threads
# Kernels that this CPU cannot run are run in portable C.
emulated=''
if [ "$(uname -m)" = x86_64 ] && ! grep -q amx_int8 /proc/cpuinfo && grep -q avx2 /proc/cpuinfo; then
    emulated=build-emulated
    scripts/install-deps.sh --emulate
    check "$emulated" '-Demulate=true -Doptimization=1' '' --suite levels
fi
python3 scripts/test_summary.py build-asan build-tsan $emulated
