package proxy

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"keyhole/backend"
	"keyhole/internal/testkit"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// An edge is a server under test, and the records that it has written.
type edge struct {
	*Server
	t    testing.TB
	addr string
	log  *recordLog
}

// A setup is what an edge is made from. Each backend is a pool; a route names
// it by its place.
type setup struct {
	Config
	routes    []routes.Route
	otherwise routes.Route
	noName    *routes.Route
	own       []routes.Own // of Config.Listeners
	ja4       *routes.Fingerprints
	backends  []backend.Config
}

func (s setup) config(t testing.TB) *Config {
	t.Helper()
	c := s.Config
	var err error
	if c.Table, err = routes.New(routes.Config{Routes: s.routes, Default: &s.otherwise, NoName: s.noName, Listeners: s.own, JA4: s.ja4}); err != nil {
		t.Fatal(err)
	}
	for _, b := range s.backends {
		b.Name = "pool"
		p, err := backend.New(b)
		if err != nil {
			t.Fatal(err)
		}
		c.Pools = append(c.Pools, p)
	}
	return &c
}

// serve starts an edge; at its end every connection must have its record.
func serve(t testing.TB, s setup) *edge {
	t.Helper()
	e := &edge{t: t, log: &recordLog{}}
	access := NewAccessLog(e.log, LogOptions{Format: JSON}, slog.New(slog.DiscardHandler))
	var err error
	if e.Server, err = New(s.config(t), access, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		access.Close()
		if n := e.log.count(); uint64(n)+access.Dropped() != e.Accepted() {
			t.Errorf("%d records and %d dropped for %d connections", n, access.Dropped(), e.Accepted())
		}
	})
	at, err := e.Listen(anyPort, ListenOptions{Name: "main"})
	if err != nil {
		t.Fatal(err)
	}
	e.addr = at.Addr().String()
	e.Start()
	return e
}

// one is the setup of one route to one server.
func one(name string, servers ...string) setup {
	s := setup{
		routes:    []routes.Route{{SNI: []string{name}}},
		otherwise: routes.Route{Backend: -1},
		backends:  []backend.Config{{Retries: len(servers)}},
	}
	for _, a := range servers {
		s.backends[0].Servers = append(s.backends[0].Servers, backend.ServerConfig{Address: a})
	}
	return s
}

// jsonRecord is a record as a reader of the log sees it.
type jsonRecord struct {
	Time     time.Time      `json:"time"`
	Client   netip.AddrPort `json:"client"`
	Peer     netip.AddrPort `json:"peer"`
	Listen   string         `json:"listen"`
	SNI      string         `json:"sni"`
	ALPN     string         `json:"alpn"`
	JA4      string         `json:"ja4"`
	Route    string         `json:"route"`
	Backend  string         `json:"backend"`
	Server   string         `json:"server"`
	Attempts int            `json:"attempts"`
	ID       string         `json:"id"`
	Reason   string         `json:"reason"`
	Phase    string         `json:"phase"`
	Up       uint64         `json:"up"`
	Down     uint64         `json:"down"`
	Hello    *float64       `json:"hello_ms"`
	Dial     *float64       `json:"dial_ms"`
	Total    *float64       `json:"total_ms"`
	Error    string         `json:"error"`
}

// A recordLog is what the access log writes to.
type recordLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *recordLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *recordLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.text.Bytes(), []byte("\n"))
}

// records parses every line.
func (l *recordLog) records(t testing.TB) []jsonRecord {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []jsonRecord
	for line := range bytes.Lines(l.text.Bytes()) {
		var r jsonRecord
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatalf("record %q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

// record waits for the n-th record.
func (e *edge) record(n int) jsonRecord {
	e.t.Helper()
	testkit.Eventually(e.t, "the record is written", func() bool { return e.log.count() >= n })
	return e.log.records(e.t)[n-1]
}

// wantRecord waits for the n-th record and compares how it ended.
func (e *edge) wantRecord(n int, reason Reason, phase relay.Phase) jsonRecord {
	e.t.Helper()
	r := e.record(n)
	if r.Reason != reason.String() || r.Phase != phase.String() {
		e.t.Errorf("record says %q in phase %q, want %q in %q", r.Reason, r.Phase, reason, phase)
	}
	return r
}

// dial connects a client.
func (e *edge) dial() *testkit.Peer {
	e.t.Helper()
	return testkit.Dial(e.t, e.addr)
}

// readAll reads to the end, which may be a reset.
func readAll(c net.Conn) ([]byte, error) { return io.ReadAll(c) }

// clientEnds closes a connection from its client's side.
func clientEnds(client, server net.Conn) {
	client.Close()
	io.Copy(io.Discard, server)
	server.Close()
}

// refusing is the address of a server that refuses each dial.
func refusing(t testing.TB) string {
	t.Helper()
	return testkit.Refusing(t).String()
}

// anyPort is a listener's address whose port the kernel chooses.
var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

// TestMain leaves the tests Ps beside the loops', as the program does.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	os.Exit(m.Run())
}

// access lets in only those networks.
func access(t testing.TB, allow []netip.Prefix) *routes.Access {
	t.Helper()
	a, err := routes.NewAccess(allow, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
