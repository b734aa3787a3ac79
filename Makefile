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

# $(call step_with,PROGRAM,NAME,COMMAND): where the program is installed
define step_with
@if ! command -v $(1) >/dev/null; then printf '%-10s %s\n' '$(2)' 'left out: $(1) is not installed here'; \
else mkdir -p $(LOGS); printf '%-10s ' '$(2)'; \
    if ( $(3) ) >$(LOGS)/$(2).log 2>&1; then echo "ok, $$SECONDS s"; \
    else echo "FAILED, $$SECONDS s"; cat $(LOGS)/$(2).log; exit 1; fi; fi
endef

.PHONY: help check test format lint doc deny unit interop systemd demo release

help: ## What there is
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

check: format lint doc deny test ## All that must hold before a commit
test: unit interop systemd ## All tests, with what they need installed into target/

format: ## The source is formatted
	$(call step,format,cargo fmt --check)

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

systemd: ## systemd accepts the unit, rosterd the configuration beside it
	$(call step_with,systemd-analyze,systemd,cargo build --locked && deploy/systemd/verify.sh $(abspath $(ROSTERD)))

demo: ## The daemon on a practice tenant for half a minute
	@cargo run --locked --release -- demo

release: ## The optimised program: target/release/rosterd
	cargo build --locked --release
