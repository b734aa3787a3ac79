# Everything a person or a machine does with the source. `make` alone says what there is.
#
# Each step prints one line; what it says at length goes to target/logs, and is shown when it fails.

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),target)
LOGS := $(TARGET)/logs
ROSTERD := $(TARGET)/debug/rosterd

# $(call step,NAME,COMMAND)
define step
@mkdir -p $(LOGS); printf '%-10s ' '$(1)'; \
if ( $(2) ) >$(LOGS)/$(1).log 2>&1; then echo "ok, $$SECONDS s"; \
else echo "FAILED, $$SECONDS s"; cat $(LOGS)/$(1).log; exit 1; fi
endef

# $(call step_if,CONDITION,WHY NOT,NAME,COMMAND): where the condition holds
define step_if
@if ! ( $(1) ) >/dev/null 2>&1; then printf '%-10s %s\n' '$(3)' 'left out: $(2)'; \
else mkdir -p $(LOGS); printf '%-10s ' '$(3)'; \
    if ( $(4) ) >$(LOGS)/$(3).log 2>&1; then echo "ok, $$SECONDS s"; \
    else echo "FAILED, $$SECONDS s"; cat $(LOGS)/$(3).log; exit 1; fi; fi
endef

# $(call step_with,PROGRAM,NAME,COMMAND): where the program is installed
step_with = $(call step_if,command -v $(1),$(1) is not installed here,$(2),$(3))

# cargo-fuzz goes into target/, and so does what the fuzzer finds on its way; seeds are in fuzz/seeds. Without a
# sanitizer the pinned compiler will do: there is no unsafe code to watch. libFuzzer itself is built from C++, by `c++` or
# what CXX names. To build all of it takes as long as an optimised build of the daemon, once.
FUZZ_SECONDS ?= 60
FUZZ_RUNS := $(patsubst fuzz/fuzz_targets/%.rs,fuzz-%,$(wildcard fuzz/fuzz_targets/*.rs))
FUZZ_INSTALL := test -x $(TARGET)/tools/bin/cargo-fuzz || cargo install --locked --root $(TARGET)/tools cargo-fuzz@0.13.2
FUZZ := CARGO_TARGET_DIR=$(abspath $(TARGET))/fuzz $(TARGET)/tools/bin/cargo-fuzz fuzz
FUZZ_OPTIONS := --sanitizer none
FUZZ_CORPUS := $(TARGET)/fuzz/corpus
# $(call fuzz_step,NAME,COMMAND)
fuzz_step = $(call step_if,command -v $${CXX:-c++},there is no C++ compiler here,$(1),$(2))
KILLS ?= 60
PROPTEST_CASES ?= 5000
FUZZ_LIMITS := -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -rss_limit_mb=1024

.PHONY: kills model help check test format lint doc deny unit interop clock disk systemd demo release soak fuzz fuzz-build $(FUZZ_RUNS)

help: ## What there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

check: format lint doc deny test ## All that must hold before a commit
test: unit interop clock disk systemd ## All tests, with what they need installed into target/

format: ## The source is formatted
	$(call step,format,cargo fmt --check && cargo fmt --check --manifest-path fuzz/Cargo.toml)

lint: ## clippy has nothing to say
	$(call step,lint,cargo clippy --locked --all-targets -- -D warnings)

doc: ## The documentation builds without warnings
	$(call step,doc,RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps)

deny: ## Licences and origins of dependencies
	$(call step_with,cargo-deny,deny,cargo deny --locked check licenses bans sources)

unit: ## cargo test
	$(call step,unit,cargo test --locked --no-fail-fast)
	@awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8; runs++ } \
	    END { printf "%-10s %d tests passed, %d failed, %d ignored, in %d programs\n", "", passed, failed, ignored, runs }' \
	    $(LOGS)/unit.log

interop: ## An independent SCIM client tests the practice tenant (needs python3 with venv)
	$(call step,interop,cargo build --locked && tests/interop/scim2_cli.sh $(abspath $(ROSTERD)))

clock: ## Our clock jumps while the daemon is at work (needs libfaketime)
	$(call step_with,faketime,clock,cargo build --locked && tests/interop/clock.sh $(abspath $(ROSTERD)))

disk: ## A full disk and a read-only one (needs leave to mount in a namespace)
	$(call step_if,tests/interop/disk.sh --possible,nothing may be mounted here,disk,cargo build --locked && tests/interop/disk.sh $(abspath $(ROSTERD)))

systemd: ## systemd accepts the unit, rosterd the configuration beside it
	$(call step_with,systemd-analyze,systemd,cargo build --locked && deploy/systemd/verify.sh $(abspath $(ROSTERD)))

soak: kills model fuzz ## The proofs that take long, each a target of its own

kills: ## The daemon is killed KILLS times, 60 by default
	$(call step,$@,KILLS=$(KILLS) cargo test --locked --test blackbox kill::)

model: ## PROPTEST_CASES cases of each kind for the model, 5000 by default
	$(call step,$@,PROPTEST_CASES=$(PROPTEST_CASES) cargo test --locked --test model)

fuzz: $(FUZZ_RUNS) ## Each fuzz target for FUZZ_SECONDS, a minute by default (needs a C++ compiler)

fuzz-build:
	$(call fuzz_step,$@,$(FUZZ_INSTALL) && $(FUZZ) build $(FUZZ_OPTIONS))

$(FUZZ_RUNS): fuzz-%: fuzz-build
	$(call fuzz_step,$*,mkdir -p $(FUZZ_CORPUS)/$* && $(FUZZ) run $(FUZZ_OPTIONS) $* $(FUZZ_CORPUS)/$* fuzz/seeds/$* -- $(FUZZ_LIMITS))

demo: ## The daemon on a practice tenant for half a minute
	@cargo run --locked --release -- demo

release: ## The optimised program: target/release/rosterd
	cargo build --locked --release
