# One command a job, the same locally and in CI.
#   PYTHON=python3.12   another Python for the virtual environments
#   ARGS='--json'       options of `resolution-worker demo`, pytest and the benchmark

.DEFAULT_GOAL := help
.PHONY: help setup rabbitmq rabbitmq-4 awscli awscli-v2 tools node prometheus pgbouncer faketime systemd chromium demo services \
	landing screenshots test test-all test-unit test-long test-crash test-faults test-compose test-neighbours nights lint bench bench-cli bench-client bench-memory \
	bench-quota bench-million bench-letters bench-replay judge-rate soak fuzz schemas pages lock clean

BIN := .venv/bin
ARGS ?=

help: ## lists the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 22

setup: ## makes .venv with the locked dependencies, nothing else
	@scripts/environment.sh .venv requirements/dev.txt project

rabbitmq: ## installs RabbitMQ through apt where it is missing; starts nothing
	@scripts/rabbitmq.sh

rabbitmq-4: ## fetches RabbitMQ 4.0 and 4.3 where they are missing; installs and starts nothing
	@scripts/rabbitmq-4.sh

awscli: ## makes .venv-awscli, with the AWS CLI that checks the simulator
	@scripts/environment.sh .venv-awscli requirements/awscli.txt

awscli-v2: ## installs the AWS CLI v2 through apt where it is missing
	@scripts/awscli-v2.sh

tools: ## makes .venv-tools, with the linter of the Dockerfile
	@scripts/environment.sh .venv-tools requirements/tools.txt

node: ## installs AsyncAPI's parser, axe, Grafana's types and what the Node example needs, with npm
	@scripts/node.sh requirements/asyncapi
	@scripts/node.sh requirements/axe
	@scripts/node.sh requirements/grafana
	@scripts/node.sh docs/examples/node

prometheus: ## fetches Prometheus's programs where they are missing; starts nothing
	@scripts/prometheus.sh

pgbouncer: ## installs PgBouncer through apt where it is missing; starts nothing
	@scripts/pgbouncer.sh

faketime: ## installs libfaketime through apt where it is missing; changes no clock of this machine
	@scripts/faketime.sh

systemd: ## installs systemd's programs through apt where they are missing; starts nothing
	@scripts/systemd.sh

chromium: ## installs Chromium through apt where it is missing, for the tests of the landing page
	@scripts/chromium.sh

# A broker named in the environment is used instead of a private one.
demo: setup $(if $(WORKER_AMQP__URL),,rabbitmq) ## shows the main job on one machine
	@$(BIN)/resolution-worker demo $(ARGS)

services: setup rabbitmq ## runs a private PostgreSQL and RabbitMQ until Ctrl-C
	@$(BIN)/python -m worker.lab.servers $(ARGS)

landing: setup rabbitmq ## runs the landing page beside a stand-in for AWS Marketplace until Ctrl-C
	@$(BIN)/python -m harness.landing $(ARGS)

screenshots: setup rabbitmq node chromium ## takes the pictures of docs/landing-page.md
	LANDING_PICTURES=docs/landing-page $(BIN)/pytest -k every_page tests/acceptance/landing_browser $(ARGS)
	@scripts/pictures.sh docs/landing-page/*.png

test: lint rabbitmq awscli awscli-v2 tools node prometheus pgbouncer faketime systemd chromium ## checks everything that CI checks, in less than 15 minutes
	$(BIN)/pytest --numprocesses=3 --dist=worksteal $(ARGS)

test-unit: setup ## runs the tests that need no server
	$(BIN)/pytest tests/unit $(ARGS)

test-long: setup rabbitmq rabbitmq-4 awscli awscli-v2 tools node prometheus pgbouncer faketime systemd chromium ## runs what `make test` leaves out of the same tests
	$(BIN)/pytest -m long --numprocesses=3 --dist=worksteal $(ARGS)

test-crash: setup rabbitmq ## kills workers at random moments, with ten seeds
	CRASH_SEEDS=10 $(BIN)/pytest -m crash --numprocesses=3 $(ARGS)

test-faults: setup rabbitmq rabbitmq-4 ## breaks all that is around a worker, with three seeds
	@report=$$(mktemp); FAULT_SEEDS=3 FAULT_REPORT=$$report \
		$(BIN)/pytest -m faults --numprocesses=3 --dist=worksteal $(ARGS); \
		code=$$?; sort $$report; rm $$report; exit $$code

test-compose: setup ## runs deploy/compose.yaml on this machine's Docker engine, in about ten minutes
	@report=$$(mktemp); COMPOSE_REPORT=$$report $(BIN)/pytest -m compose $(ARGS); \
		code=$$?; cat $$report; rm $$report; exit $$code

test-neighbours: setup rabbitmq rabbitmq-4 faketime ## puts bad neighbours beside honest buyers, in about 20 minutes
	@report=$$(mktemp); NEIGHBOUR_REPORT=$$report $(BIN)/pytest -m neighbours $(ARGS); \
		code=$$?; cat $$report; rm $$report; exit $$code

nights: setup rabbitmq prometheus ## breaks one thing after the other, and prints whom the alerts wake and what mends it, in about twenty minutes; ARGS=words of some
	@$(BIN)/python -m harness.nights $(ARGS)

judge-rate: setup ## judges the law of the rate on a hundred fresh seeds a scenario, in about eight minutes; ARGS=--edges for its constants
	@$(BIN)/python -m tests.simulation $(ARGS)

test-all: ## runs test, test-long, test-crash, test-faults, test-compose, test-neighbours and judge-rate; says how long each took
	@MAKE="$(MAKE)" scripts/test-all.sh

lint: setup ## checks style, types and the floors' imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup rabbitmq ## measures CPU a token beside other workers, with frameworks from .venv-bench
	@scripts/environment.sh .venv-bench requirements/bench.txt || true
	@$(BIN)/python -m benchmarks.price $(ARGS)

bench-cli: setup awscli awscli-v2 ## measures `resolve-customer` beside both AWS CLIs
	@$(BIN)/python benchmarks/cli.py $(ARGS)

bench-client: setup rabbitmq ## measures what the client adds, in CPU and in waits, beside plain AMQP
	@PYTHONPATH=clients/python $(BIN)/python -m benchmarks.client $(ARGS)

bench-memory: setup rabbitmq ## measures resident memory with 200,000 tokens waiting
	@$(BIN)/python benchmarks/memory.py $(ARGS)

bench-quota: setup rabbitmq ## measures how replicas share a hidden quota; ARGS='--only 1,3'
	@$(BIN)/python -m benchmarks.quota $(ARGS)

bench-million: setup rabbitmq ## settles a million tokens while workers are killed, and balances the books
	@$(BIN)/python -m benchmarks.million $(ARGS)

bench-letters: setup ## measures what on-call asks about 100,000 dead letters
	@$(BIN)/python -m benchmarks.letters $(ARGS)

bench-replay: setup rabbitmq ## measures replays: speed, live traffic beside one, kills; ARGS='--only speed'
	@$(BIN)/python -m benchmarks.replay $(ARGS)

soak: setup rabbitmq ## breaks things at random moments under load; MINUTES=20
	@$(BIN)/python -m benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

fuzz: setup rabbitmq ## sends fuzzed messages through the parser and a running worker
	@$(BIN)/python -m benchmarks.fuzz $(ARGS)

schemas: setup ## writes docs/schemas from the types of the messages
	@$(BIN)/python -m harness.schemas

pages: setup ## writes docs/metrics.md, docs/log-events.md and the dashboards from the code
	@$(BIN)/python -m harness.metrics_page
	@$(BIN)/python -m harness.log_events_page
	@$(BIN)/python -m harness.dashboards

lock: setup node ## makes requirements/*.txt anew; LOCK_OPTIONS=--upgrade for newer versions
	@scripts/lock.sh

clean: ## removes the environments and caches
	rm -rf .venv .venv-awscli .venv-bench .venv-tools .prometheus .rabbitmq-4 .mypy_cache .ruff_cache \
		.pytest_cache .import_linter_cache .hypothesis dist build
	rm -rf requirements/asyncapi/node_modules requirements/axe/node_modules requirements/grafana/node_modules docs/examples/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
