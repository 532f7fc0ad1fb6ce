# make demo   an edge cloud on this machine, and an application on it
# make test   everything CI runs
# make fast   what takes under a minute
# make soak   long and seeded

.PHONY: demo test fast soak check setup packages
python := .venv/bin/python

setup:
	@scripts/setup

demo: setup
	@$(python) -m oakctl demo

check: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

packages:
	@scripts/test-packages

test: check packages
	$(python) -m pytest -m "not soak" -n 2 --dist loadgroup --no-loadscope-reorder --durations=40

fast: check
	$(python) -m pytest -m "not slow and not soak" -n 2

soak: setup packages
	$(python) -m pytest -m soak -s
