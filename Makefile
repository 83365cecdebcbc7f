# The commands of this repository. A fresh machine needs Go, gcc (for the race
# detector) and make; `make test` installs the clients that the tests in e2e/
# run where it can, and says what to install where it cannot.

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    = 10s
SOAKTIME    = 1m

# The tests that run whole programs and real clients. The race detector would see
# little there and cost much; make soak has it in the programs.
PROGRAMS = ./e2e ./push/web ./cmd/pushd ./bench/push

# What is quick enough under the race detector: all the rest.
FAST = $$(go list ./... | grep -vxE 'keyhole/(e2e|push/web|cmd/pushd|bench/push)')

# The packages of tests that hold only without the race detector, as of memory.
PLAIN = ./proxy/... ./push/wire

# A test that hangs ends with this; a busy machine does not come near it. `make
# vet` has vetted what go test would vet again.
GOTEST = go test -vet=off -timeout 30m

.PHONY: build test soak clients vet gofmt staticcheck lint fuzz bench clean

build:
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/keyhole ./cmd/pushd

test: clients vet
	$(GOTEST) -race $(FAST)
	$(GOTEST) $(PROGRAMS)
	$(GOTEST) -short $(PLAIN)
	$(GOTEST) -run Memory ./push/server

# The long tests, small parts of which make test runs too: they kill servers and
# play random histories, each for $(SOAKTIME), and move a gigabyte through the
# relay. The programs have the race detector.
soak: export KEYHOLE_SOAK = $(SOAKTIME)
soak: clients
	$(GOTEST) -count 1 -race -run 'P6Model|P6NothingIsLost' ./push/channel ./push/store
	$(GOTEST) -count 1 -run Memory ./push/server
	$(GOTEST) -count 1 $(PLAIN)
	KEYHOLE_BUILD_FLAGS=-race $(GOTEST) -count 1 -run Chaos ./e2e
	$(GOTEST) -count 1 -race ./cmd/pushd

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
