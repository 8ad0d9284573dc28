#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make bench`: how fast this build is on this machine, in two or three minutes. Kernels first, layer by layer, then
# whole models with random weights: one picture on all CPUs, on one, and independent streams. Nothing is installed or
# fetched.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
seconds=${EFFNET_BENCH_SECONDS:-1} # for each of the three ways of each model

say() { printf '\n== %s\n' "$*"; }

run() { # COMMAND...
    say "$*"
    "$@"
}

for net in lite0 b0; do
    run "$build/tests/kcheck/kcheck" --bench "$net"
done
for model in efficientnet-lite0 efficientnet-b0 efficientnet-b2; do
    run "$build/tools/effnet" perf "$model" --int8 --random-init 1 --size 224 --seconds "$seconds"
done
run "$build/tools/effnet" perf efficientnet-lite0 --random-init 1 --size 224 --seconds "$seconds"
say "beside other engines: bench/compare.py --help; what the numbers mean: doc/perf.md"
