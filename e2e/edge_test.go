package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// An edge is a `keyhole run` of its own.
type edge struct {
	*testkit.Program
	address string // that it listens on, "127.0.0.1:PORT"
	port    string
	records *recordLog
}

// A setup is what an edge is configured with.
type setup struct {
	origins []*origin         // each with all names of its domain
	more    []string          // further servers of the first origin's backend
	routes  map[string]string // further names, and the origins' kinds
	others  string            // the origin's kind for all other names; empty: an alert
	drain   time.Duration     // 0: as the edge has it
	listen  string            // empty: any free port
	config  string            // the whole configuration file, in the place of all that
	through []string          // a command that runs the edge's, which follows its words; nil: none
}

// yaml is the configuration file.
func (s setup) yaml() string {
	if s.config != "" {
		return s.config
	}
	var b strings.Builder
	fmt.Fprintf(&b, "listen: [{address: %q}]\nlog: {format: json, access: stdout}\n", cmp.Or(s.listen, "127.0.0.1:0"))
	if s.drain > 0 {
		fmt.Fprintf(&b, "timeouts: {drain: %s}\n", s.drain)
	}
	b.WriteString("backends:\n")
	for i, o := range s.origins {
		servers := []string{o.address}
		if i == 0 {
			servers = append(servers, s.more...)
		}
		fmt.Fprintf(&b, "  %s: {servers: [\"%s\"]}\n", o.kind, strings.Join(servers, `", "`))
	}
	b.WriteString("routes:\n")
	for _, o := range s.origins {
		fmt.Fprintf(&b, "  - {sni: %q, backend: %s}\n", "*."+o.domain, o.kind)
	}
	for name, kind := range s.routes {
		fmt.Fprintf(&b, "  - {sni: %q, backend: %s}\n", name, kind)
	}
	if s.others != "" {
		fmt.Fprintf(&b, "default: {backend: %s}\n", s.others)
	}
	return b.String()
}

var listening = regexp.MustCompile(`"msg":"listening","address":"([^"]*)"`)

// startEdge starts an edge and returns once it listens.
func (w *world) startEdge(s setup) (*edge, error) {
	dir, err := os.MkdirTemp(w.dir, "edge-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "keyhole.yaml")
	if err := os.WriteFile(file, []byte(s.yaml()), 0o600); err != nil {
		return nil, err
	}
	e := &edge{records: &recordLog{more: make(chan struct{})}}
	command := slices.Concat(s.through, []string{w.keyhole, "run", "--config", file})
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	cmd.Stdout = e.records
	if e.Program, err = testkit.Launch(cmd); err != nil {
		return nil, err
	}
	m, err := e.Await(listening)
	if err != nil {
		e.Stop()
		return nil, err
	}
	e.address = m[1]
	_, e.port, err = net.SplitHostPort(e.address)
	return e, err
}

// edgeFor starts an edge for one test alone.
func edgeFor(t *testing.T, s setup) *edge {
	t.Helper()
	e, err := shared.startEdge(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// A record is what the edge writes of one connection.
type record struct {
	Client   string
	Peer     string
	ID       string
	SNI      string
	ALPN     string
	Route    string
	Backend  string
	Server   string
	Attempts int // dials
	Reason   string
	Phase    string
	Up       int64
	Down     int64
	Error    string
	Dial     float64 `json:"dial_ms"`
	Total    float64 `json:"total_ms"`
}

// A recordLog takes the edge's records.
type recordLog struct {
	mu      sync.Mutex
	partial []byte
	all     []record
	err     error
	more    chan struct{} // closed at the next write
}

func (l *recordLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, b...)
	for {
		line, rest, whole := strings.Cut(string(l.partial), "\n")
		if !whole {
			break
		}
		l.partial = []byte(rest)
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			l.err = fmt.Errorf("record %q: %w", line, err)
		}
		l.all = append(l.all, r)
	}
	close(l.more)
	l.more = make(chan struct{})
	return len(b), nil
}

// take removes and returns the records of a server name, if there are n or more; else it only returns them. The
// channel is closed when there is more.
func (l *recordLog) take(name string, n int) (found []record, more <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var others []record
	for _, r := range l.all {
		if r.SNI == name {
			found = append(found, r)
		} else {
			others = append(others, r)
		}
	}
	if len(found) >= n {
		l.all = others
	}
	return found, l.more, l.err
}

// atLeast returns the records of the connections for a server name, as the client sent it, once there are n. It takes
// them from the log: a test that is repeated finds its own.
func (e *edge) atLeast(t *testing.T, name string, n int) []record {
	t.Helper()
	if err := watchSources(); err != nil {
		t.Fatal(err)
	}
	late := time.After(testkit.Patience)
	for {
		found, more, err := e.records.take(name, n)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) >= n {
			return found
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%d records for %q, want %d: %+v", len(found), name, n, found)
		}
	}
}

// expect is atLeast for a client whose connections are counted: more than n are a failure.
func (e *edge) expect(t *testing.T, name string, n int) []record {
	t.Helper()
	found := e.atLeast(t, name, n)
	if len(found) > n {
		t.Fatalf("%d records for %q, want %d: %+v", len(found), name, n, found)
	}
	return found
}

// peaceful are the reasons of a connection whose two ends had said all that they wanted. The resets are among them: an
// end that has closed before it read the other's close_notify has its kernel answer that with a reset.
var peaceful = []string{"client_closed", "origin_closed", "client_reset", "origin_reset"}

// expectRelayed is expect for connections that reached the origin, and that one of the two ends ended.
func (e *edge) expectRelayed(t *testing.T, o *origin, name string, n int) []record {
	t.Helper()
	found := e.expect(t, name, n)
	for _, r := range found {
		if r.Backend != o.kind || r.Server != o.address || r.Phase != "relay" || r.Error != "" {
			t.Errorf("record %+v, want backend %s, server %s, phase relay and no error", r, o.kind, o.address)
		}
		if !slices.Contains(peaceful, r.Reason) {
			t.Errorf("record %+v, want one of the reasons %v", r, peaceful)
		}
		if r.Up == 0 || r.Down == 0 {
			t.Errorf("record %+v, want bytes both ways", r)
		}
	}
	return found
}

// expectRejected is expect for one connection that the edge turned away.
func (e *edge) expectRejected(t *testing.T, name, reason string) {
	t.Helper()
	r := e.expect(t, name, 1)[0]
	if r.Reason != reason || r.Phase != "decide" || r.Backend != "" || r.Server != "" {
		t.Errorf("record %+v, want reason %s, phase decide and no backend", r, reason)
	}
}
