# make          builds the program (build/release/ecluse)
# make demo     a private PostgreSQL, a fictitious register, the gate before it; DEMO="--subjects 1000000" passes options on
# make test     everything CI runs: the end-to-end tests, then unit tests and corpora under address+undefined sanitizers
# make unit, make sanitized, make thread   unit tests and corpora as they are; under address+undefined; under thread
# make bench    measures, and writes bench/results.md; BENCH="--only ledger" (or sealing) measures that alone
# make install  program, systemd unit, documents and an example policy; takes DESTDIR and prefix

prefix ?= /usr/local
JOBS ?= $(shell nproc)
PYTHON ?= /usr/bin/python3
DEMO ?=
BENCH ?=

# ccache compares sources, not the times of a fresh checkout.
export CCACHE_SLOPPINESS = pch_defines,time_macros,include_file_mtime,include_file_ctime

build = cmake --preset $(1) >build/$(1).log 2>&1 || { cat build/$(1).log; exit 1; }; \
        cmake --build build/$(1) --parallel $(JOBS) $(2)

.PHONY: all program deps demo test unit e2e address sanitized thread bench install format tidy clean

all: deps
	@$(MAKE) --no-print-directory program

# The same without looking for packages.
program:
	@mkdir -p build
	@$(call build,release,--target ecluse)

deps:
	@tools/install-deps.sh demo

demo: all
	@exec build/release/ecluse demo $(DEMO)

test:
	@tools/install-deps.sh test
	@$(MAKE) --no-print-directory program
	@nice -n 19 $(MAKE) --no-print-directory JOBS=1 address >build/beside.log 2>&1 & \
	 $(MAKE) --no-print-directory e2e; status=$$?; wait; exit $$status
	@$(MAKE) --no-print-directory sanitized

unit:
	@mkdir -p build
	@$(call build,release)
	@ctest --test-dir build/release --output-on-failure --no-tests=error

e2e: program
	@$(PYTHON) -m pytest tests

# Address and undefined behaviour: the unit tests and the fuzz targets' corpora. They are built while the end-to-end
# tests run, which leave most of a processor idle; what went wrong there is said here.
address:
	@mkdir -p build
	@$(call build,address)

sanitized: address
	@ctest --test-dir build/address --parallel $(JOBS) --output-on-failure --no-tests=error

# Needs Debian's llvm-19 as well: what is known of a library is told by the names of its functions.
thread:
	@mkdir -p build
	@$(call build,thread)
	@TSAN_OPTIONS="suppressions=$(CURDIR)/tools/tsan.supp external_symbolizer_path=/usr/bin/llvm-symbolizer-19" ctest --test-dir build/thread --output-on-failure --no-tests=error

bench:
	@tools/install-deps.sh bench
	@mkdir -p build
	@$(call build,release,--target ecluse ledger_bench vault_bench)
	@$(PYTHON) bench/run.py $(BENCH)

install:
	@$(MAKE) --no-print-directory $(if $(wildcard build/release/ecluse),program,all)
	@DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(prefix)"

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format-19 -i

tidy:
	@mkdir -p build
	@$(call build,release,--target ecluse)
	@git ls-files 'src/*.cc' | grep -v _test.cc | xargs -P $(JOBS) -n 4 clang-tidy-19 -quiet -p build/release

clean:
	@rm -rf build
