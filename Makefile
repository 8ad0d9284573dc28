# SPDX-License-Identifier: Apache-2.0
# A thin front of meson. `make help` lists the targets.
PREFIX ?= /usr/local
DESTDIR ?=
BUILD := build

.DEFAULT_GOAL := all
.PHONY: all bench build deps check-deps demo test check format install clean help

help:
	@echo 'make            build the program, build/effnet'
	@echo 'make deps       install the packages it is built with (apt; only what is missing)'
	@echo 'make demo       deps, build, fetch ImageNet weights, classify a photo'
	@echo 'make test       deps, build, the quick tests'
	@echo 'make check      the tests and fuzz targets under the address, undefined and thread sanitizers'
	@echo 'make bench      times kernels and models, two or three minutes'
	@echo 'make format     clang-format over all of the C'
	@echo 'make install    PREFIX=/usr/local DESTDIR='
	@echo 'make clean      remove what was built'

all: check-deps
	@$(MAKE) --no-print-directory build

check-deps:
	@scripts/install-deps.sh --check

deps:
	@scripts/install-deps.sh

# Meson configures once, and again by itself when its files change.
build:
	@[ -f $(BUILD)/build.ninja ] || { \
	    rm -rf $(BUILD)/meson-private; \
	    log=$$(meson setup $(BUILD) --prefix $(PREFIX)) || { printf '%s\n' "$$log"; exit 1; }; }
	@ninja -C $(BUILD)
	@[ ! -x $(BUILD)/tools/effnet ] || ln -sf tools/effnet $(BUILD)/effnet

demo:
	@scripts/demo.sh

test: deps
	@rm -f $(BUILD)/meson-logs/testlog.json
	@$(MAKE) --no-print-directory build
	@meson test -C $(BUILD) --no-rebuild --suite quick --print-errorlogs

check: deps
	@scripts/check.sh

bench: all
	@scripts/bench.sh $(BUILD)

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@meson install -C $(BUILD) $(if $(DESTDIR),--destdir '$(abspath $(DESTDIR))')

clean:
	rm -rf build build-asan build-tsan
