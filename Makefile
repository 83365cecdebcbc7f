# The commands of this repository. A fresh machine needs Go, gcc (for the race
# detector) and make; `make test` installs the clients that the tests in e2e/
# run where it can, and says what to install where it cannot.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    = 10s

# What is quick enough under the race detector: all but the real clients.
FAST = $$(go list ./... | grep -v '/e2e$$')

.PHONY: build test clients vet gofmt staticcheck lint fuzz bench clean

build:
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/keyhole ./cmd/pushd

test: clients vet
	go test -race $(FAST)
	go test ./...

# Installs with apt-get, as root; anybody else is told what to install.
clients:
	@if line=$$(sh .ci/install-clients --check); then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then sh .ci/install-clients; \
	else \
		echo "The tests in e2e/ run real clients, and some are missing. Install them first, as root;"; \
		echo "on Debian by:"; \
		echo; \
		echo "    $$line"; \
		echo; \
		echo "Everything else is tested without them by: go test \$$(go list ./... | grep -v /e2e)"; \
		exit 1; \
	fi >&2

vet:
	go vet ./...

gofmt:
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then \
		echo "not formatted; run gofmt -w on:"; echo "$$files"; exit 1; fi >&2

staticcheck:
	go run $(STATICCHECK) ./...

lint: gofmt vet staticcheck

# Each fuzz target for $(FUZZTIME); make fuzz FUZZTIME=10m
fuzz:
	sh .ci/fuzz $(FUZZTIME)

# Keyhole, HAProxy and nginx side by side; some minutes. See bench/ for its flags.
bench:
	go run ./bench

clean:
	rm -rf bin
