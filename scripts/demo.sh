#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make demo`: from a clone to a class name. Each step says what it runs and how long it took.
set -eu
cd "$(dirname "$0")/.."

now() { date +%s%3N; } # ms
seconds() { awk "BEGIN { printf \"%.1f\", $1 / 1000 }"; }
began=$(now)
step() { # TITLE COMMAND...
    title=$1
    shift
    printf '\n== %s\n   %s\n' "$title" "$*"
    at=$(now)
    "$@"
    printf '   %s s\n' "$(seconds $(($(now) - at)))"
}

step '1/5 packages: install what is missing' scripts/install-deps.sh
step '2/5 build' "${MAKE:-make}" --no-print-directory build
step '3/5 weights: EfficientNet-Lite0, trained on ImageNet' build/effnet pull efficientnet-lite0
step '4/5 int8: calibrated on four photos, 64 views of each' \
    build/effnet quantize efficientnet-lite0 --calib data/photos --views 64 --quiet
step '5/5 what is in this photo?' build/effnet classify data/photos/cat.jpg
printf '\nAll in %s s. Now try it on your own: build/effnet classify PHOTO.jpg\n' "$(seconds $(($(now) - began)))"
