# Mailgrant. 'make' alone lists what can be made.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Where git cannot read the checkout (another owner, an unpacked archive) the binary is built without its revision.
VCS      := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)
# The folders that hold Go source, for tools that take paths rather than packages.
SOURCES  := $(wildcard cmd internal sandbox client bench)
ASSETS   := internal/web/assets/vendor
NPM      := npm ci --no-progress

ARGS     ?=
KILLS    ?= 500
FUZZTIME ?= 30s
BENCH    ?= .
LONG     ?=
PROFILE  ?=
TIMEOUT  ?= 40m

.PHONY: help
help: ## list the targets (default)
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## build, then run the story on your own machine: nothing to configure (ARGS=--check plays it alone)
	@./mailgrant demo $(ARGS)

.PHONY: build
build: assets ## build ./mailgrant with its pages
	CGO_ENABLED=0 go build $(VCS) -trimpath -o mailgrant ./cmd/mailgrant

.PHONY: test
test: servers assets lint ## everything, as CI runs it: installs the test servers (root), lint, tests under the race detector
	@[ "$$(id -u)" -eq 0 ] || echo 'not root: the tests that need Postfix are left out'
	go test -race -timeout $(TIMEOUT) ./...

.PHONY: check
check: assets ## the inner loop: every test that needs neither installing nor a browser
	go vet ./...
	go test -short -timeout $(TIMEOUT) ./...

.PHONY: lint
lint: ## vet, staticcheck, gofumpt; generated pages agree with their templates
	go vet ./...
	go tool staticcheck ./...
	@unformatted=$$(go tool gofumpt -l $(SOURCES)); \
	if [ -n "$$unformatted" ]; then printf 'not formatted; run "go tool gofumpt -w" on:\n%s\n' "$$unformatted"; exit 1; fi
	@./scripts/verify-generated

.PHONY: generate
generate: ## make Go from the page templates, and the pages of docs/ that are made from the code
	go tool templ generate
	MAILGRANT_TEST_UPDATE=1 go test -count=1 -run 'UpToDate$$' ./internal/config ./internal/arch ./internal/cli

.PHONY: bench
bench: servers assets ## measure the goals beside the direct ways (BENCH=regexp picks; LONG=1 adds the large sizes; PROFILE=folder)
	BENCH_ROWS='$(BENCH)' BENCH_LONG='$(LONG)' BENCH_PROFILE='$(PROFILE)' go test -count=1 -v -timeout 2h -run '^TestBench$$' ./bench

.PHONY: crash
crash: ## kill -9 campaign: refresh, fetch, send and deliver on both databases (KILLS=500 of each, at random points)
	MAILGRANT_KILLS=$(KILLS) go test -count=1 -v -timeout 6h ./internal/crash -run Campaign

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME=30s
	@FUZZTIME=$(FUZZTIME) ./scripts/fuzz

.PHONY: assets
assets: $(ASSETS)/tabler.min.css $(ASSETS)/htmx.min.js $(ASSETS)/htmx.LICENSE.txt ## fetch the pages' style and script by npm

node_modules/.package-lock.json: package.json package-lock.json .npmrc
	@command -v npm >/dev/null || { echo 'npm is missing: install Node.js 20 or newer'; exit 1; }
	$(NPM)
	@touch $@

$(ASSETS)/tabler.min.css: node_modules/.package-lock.json
	@install -D -m 0644 node_modules/@tabler/core/dist/css/tabler.min.css $@
	@sed -i 's|/\*# sourceMappingURL=.*\*/||' $@

$(ASSETS)/htmx.min.js: node_modules/.package-lock.json
	@install -D -m 0644 node_modules/htmx.org/dist/htmx.min.js $@
	@sed -i 's|^//# sourceMappingURL=.*||' $@

$(ASSETS)/htmx.LICENSE.txt: node_modules/.package-lock.json
	@install -D -m 0644 node_modules/htmx.org/LICENSE $@

.PHONY: servers
servers: $(patsubst %/package-lock.json,%/node_modules/.package-lock.json,$(wildcard internal/testbed/*/package-lock.json)) ## install the servers and the browser that the tests run against (Debian; root)
	@./scripts/install-test-servers

internal/testbed/%/node_modules/.package-lock.json: internal/testbed/%/package-lock.json
	cd internal/testbed/$* && $(NPM)
	@touch $@

.PHONY: clean
clean: ## remove everything that was made, and nothing else
	rm -rf mailgrant bin node_modules internal/testbed/*/node_modules $(ASSETS)
