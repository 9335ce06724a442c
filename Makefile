# Everything a developer runs. Each target brings the set-up up to date first, which takes a second when nothing changed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
# `make -n` and `make --print-directory` must not leak into colcon's builds.
MAKEFLAGS += --no-print-directory
unexport MAKEFLAGS

IN_ENV := . ./env.sh &&
BENCHES := collect model gpu realtime dashboard sim interop
QUICK ?=
# Packages that a target needs beyond the nodes and commands. ROS 2 from wheels comes with all of them; on a distribution
# they are added when first needed, or with: make setup EXTRAS="sim onnx rosbag dev"
NEEDS_demo := sim
NEEDS_test := all
NEEDS_lint := dev
NEEDS_docs := dev sim
$(foreach bench,$(BENCHES),$(eval NEEDS_bench-$(bench) := all))
EXTRAS ?=
ALL_EXTRAS := $(strip $(EXTRAS) $(foreach goal,$(MAKECMDGOALS),$(NEEDS_$(goal))))

.PHONY: help setup demo test lint typecheck pytest docs clean $(addprefix bench-,$(BENCHES))

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'
	@printf '  make %-16s %s\n' bench-NAME 'measure one of: $(BENCHES) (QUICK=1: shorter, for development); writes out/bench/NAME.json'

setup: ## virtual environment, ROS 2 (from wheels where no distribution is sourced; MOBILE_VLA_ROS=jazzy|kilted), workspace
	@PYTHON='$(PYTHON)' $(if $(ALL_EXTRAS),MOBILE_VLA_EXTRAS='$(ALL_EXTRAS)') tools/setup.sh

demo: setup ## collect, train and drive in simulation; results in out/demo/ (FRESH=1: discard an earlier run)
	@$(IN_ENV) PYTHONPATH="$(CURDIR)/tools$${PYTHONPATH:+:$$PYTHONPATH}" python -m demo $(if $(FRESH),--fresh)

test: setup ## lint, types, and every test
	@$(IN_ENV) tools/test.sh

lint: setup ## ruff and mypy
	@$(IN_ENV) tools/test.sh lint

docs: setup ## regenerate what is made from code under docs/, and build the site in out/site
	@$(IN_ENV) PYTHONPATH="$(CURDIR)/tools$${PYTHONPATH:+:$$PYTHONPATH}" python -m reference
	@$(IN_ENV) tools/run_script.sh tools/draw_model.py
	@$(IN_ENV) tools/run_script.sh tools/draw_flats.py
	@$(IN_ENV) NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet

$(addprefix bench-,$(BENCHES)): bench-%: setup
	@$(IN_ENV) tools/run_script.sh benchmarks/bench_$*.py $(if $(QUICK),--quick)

clean: ## remove what was built (keeps the virtual environment and out/)
	@rm -rf build install log
