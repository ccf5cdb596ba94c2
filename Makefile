# make demo and make test are all that a newcomer needs; the rest is for who changes the code.
.PHONY: demo build test lint fmt generate generate-check tidy-check tree-check bench bench-postgres bench-cinema bench-aws torture fuzz release deploy-check clean

SHELL := /bin/bash
TOOLS := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/acequia/bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARGS ?=
FUZZTIME ?= 10s
SEEDS ?= 20
PLATFORMS ?=

demo: build ## builds everything and starts the video-game register at http://localhost:3006
	@exec bin/acequia demo $(ARGS)

build: ## bin/acequia, with SQL
	@scripts/needs.sh go gcc
	CGO_ENABLED=1 CGO_LDFLAGS="$$(scripts/cgo.sh)" go build -trimpath -ldflags '-s -w -X github.com/acequia-io/acequia/internal/cli.release=$(VERSION)' -o bin/acequia ./cmd/acequia

test: ## installs what it needs, runs every test, ends with a line a suite
	@scripts/test.sh

lint: ## golangci-lint, formatting included
	@scripts/tools.sh golangci-lint
	$(TOOLS)/golangci-lint run
	$(TOOLS)/golangci-lint fmt --diff

fmt: ## formats the Go code
	@scripts/tools.sh golangci-lint
	$(TOOLS)/golangci-lint fmt

generate: ## Go code from the page templates
	@scripts/tools.sh templ
	$(TOOLS)/templ generate -log-level=warn

generate-check: generate ## fails when generated code is not what its templates say
	@git diff --exit-code -- '*_templ.go'
	@test -z "$$(git ls-files --others --exclude-standard -- '*_templ.go')" || { echo 'generated files are not committed'; exit 1; }

tidy-check: ## fails when go.mod is not what the code needs; changes nothing
	go mod tidy -diff

tree-check: ## fails when a path or a host of somebody's machine is in the tree
	@scripts/tree-check.sh

bench: ## speed and memory, each as a ratio to its floor
	@scripts/needs.sh go gcc
	CGO_ENABLED=1 CGO_LDFLAGS="$$(scripts/cgo.sh)" go test -run '^$$' -bench '^Benchmark[^PA]' -skip Cinema -benchtime 1x -timeout 60m ./internal/bench/...

bench-postgres: ## backfill, following and verify of PostgreSQL beside COPY; fills its tables once (3 minutes, 6 GB)
	@scripts/needs.sh go gcc postgresql
	CGO_ENABLED=1 CGO_LDFLAGS="$$(scripts/cgo.sh)" go test -run '^$$' -bench Postgres -benchtime 1x -timeout 90m ./internal/bench/...

bench-cinema: ## MySQL beside its own client, MongoDB beside a bare cursor, items, and what the API takes for an answer beside a migration
	@scripts/needs.sh go gcc mariadb-server postgresql
	@scripts/tools.sh ferretdb
	CGO_ENABLED=1 CGO_LDFLAGS="$$(scripts/cgo.sh)" go test -run '^$$' -bench 'Cinema|API' -benchtime 1x -timeout 90m ./internal/bench/...

bench-aws: ## a lake on S3 beside one in a directory; SQS into Parquet, four processes, and items of DynamoDB beside bare loops
	@scripts/needs.sh go gcc
	CGO_ENABLED=1 CGO_LDFLAGS="$$(scripts/cgo.sh)" go test -run '^$$' -bench AWS -benchtime 1x -timeout 60m ./internal/bench/...

torture: ## the crash tests with 200 kills at random moments instead of CI's 40; the oracle of PostgreSQL, MariaDB and MongoDB with SEEDS seeds a strategy
	@scripts/needs.sh go gcc postgresql mariadb-server
	@scripts/tools.sh ferretdb
	CGO_LDFLAGS="$$(scripts/cgo.sh)" ACEQUIA_KILLS=200 ACEQUIA_TORTURE=200 go test $$(scripts/race.sh) -count=1 -timeout 3h -parallel 4 -v ./routers ./internal/cli
	CGO_LDFLAGS="$$(scripts/cgo.sh)" ACEQUIA_TORTURE=$(SEEDS) go test $$(scripts/race.sh) -count=1 -timeout 12h -parallel 4 -v ./internal/parquet ./internal/sorter ./internal/oracle

fuzz: ## every fuzz target for FUZZTIME
	@FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

release: ## dist/: an archive a platform with checksums and inventories; linux/amd64 has SQL
	@scripts/needs.sh go gcc
	@scripts/release.sh $(PLATFORMS)

deploy-check: ## reads all files of deploy/ offline: our tests, cfn-lint, helm and promtool, which are built once (some minutes)
	@scripts/tools.sh cfn-lint helm promtool
	CGO_LDFLAGS="$$(scripts/cgo.sh)" go test -count=1 ./deploy ./internal/setup
	$(TOOLS)/helm lint --strict deploy/helm/acequia
	$(TOOLS)/helm template one deploy/helm/acequia >/dev/null
	$(TOOLS)/helm template one deploy/helm/acequia --set autoscaling.enabled=true,autoscaling.queueURL=https://sqs.eu-west-1.amazonaws.com/123456789012/orders,autoscaling.region=eu-west-1,ingress.enabled=true,replicas=3,state.dsnSecret=state >/dev/null
	$(TOOLS)/promtool check rules deploy/prometheus/rules.yaml
	$(TOOLS)/promtool test rules deploy/prometheus/rules_test.yaml

clean:
	rm -rf bin dist test-output
