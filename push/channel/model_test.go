package channel

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"keyhole/push/condition"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// Rarer histories are found by: go test -run Model ./push/channel -schedules 5000
var schedules = flag.Uint64("schedules", 10, "how many random histories TestP6Model plays; more while make soak has time")

// TestP6Model plays random histories of publishing, connecting, losing the
// connection, acknowledging and reporting states, on one or two nodes, with
// a store and sinks that take their time and fail, and compares what terminals
// are sent with what they ought to be.
func TestP6Model(t *testing.T) {
	end := time.Now().Add(soakTime(t))
	for seed := uint64(0); seed < *schedules || time.Now().Before(end); seed++ {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, seed)
			m.play()
			m.finish()
			m.check()
			if t.Failed() {
				t.Logf("history of seed %d: %+v", seed, m.config)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// soakTime is for how long make soak has a test go on; 0: it is not make soak.
func soakTime(t *testing.T) time.Duration {
	text := os.Getenv("KEYHOLE_SOAK")
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("KEYHOLE_SOAK: %v", err)
	}
	return d
}

// A model is one history, and what is known to be true of it.
type model struct {
	t      *testing.T
	w      *world
	nodes  []*node
	phones []*modelPhone
	config Config

	mu    sync.Mutex
	rng   *rand.Rand
	calm  bool // nothing takes time or fails
	files map[uint64]store.Message
}

// A modelPhone is one terminal over all its connections.
type modelPhone struct {
	m     *model
	a     Attributes
	token string
	conn  *modelConn // nil: none
	conns int

	sent  map[uint64]int  // by sequence: on how many connections
	acked map[uint64]bool // and taken as acknowledged
}

// A modelConn is one connection, and its sink.
type modelConn struct {
	p      *modelPhone
	c      *Channel
	node   *node
	first  bool // the terminal was never here before
	got    []uint64
	acked  []uint64
	unique map[uint64]bool
	last   map[string]uint64   // by feed, of messages without a condition
	states []map[string]string // that it had so far, the one to come among them
	closed []wire.Code
}

var (
	versions   = []string{"1", "2"}
	networks   = []string{"wifi", "cellular", ""}
	conditions = []string{"", "", "", "network=wifi", "network=cellular", "!network", "app_version>=2"}
)

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, w: newWorld(), rng: rand.New(rand.NewPCG(seed, 1)), files: map[uint64]store.Message{}}
	m.config = Config{Window: 1 + m.rng.IntN(5), HoldMax: 1 + m.rng.IntN(4)}
	for i := range 1 + m.rng.IntN(2) {
		c := m.config
		c.Node = string(rune('a' + i))
		m.nodes = append(m.nodes, m.w.node(c))
	}
	for i, app := range []string{"mail", "mail", "chat"} {
		m.phones = append(m.phones, &modelPhone{
			m: m, token: fmt.Sprint("tok", i),
			a:    Attributes{User: fmt.Sprint("user", i%2), Device: fmt.Sprint("d", i), App: app, Version: "1", Session: "s"},
			sent: map[uint64]int{}, acked: map[uint64]bool{},
		})
	}
	m.w.hook(m.trouble)
	return m
}

func (m *model) n(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rng.IntN(n)
}

// dawdle takes some time, and reports whether something is to fail.
func (m *model) dawdle() bool {
	m.mu.Lock()
	calm, d, fails := m.calm, time.Duration(m.rng.IntN(3000))*time.Microsecond, m.rng.IntN(20) == 0
	m.mu.Unlock()
	if calm {
		return false
	}
	time.Sleep(d)
	return fails
}

func (m *model) trouble(op string) error {
	// The store deletes later, and never fails to for long.
	if op != "delete" && m.dawdle() {
		return errors.New(op + " fails")
	}
	return nil
}

// play is the history: every actor acts at times of its own.
func (m *model) play() {
	var actors sync.WaitGroup
	actors.Go(func() { m.act(120, m.publish) })
	for _, n := range m.nodes {
		actors.Go(func() { m.act(150, func() { n.hand(m.n(4)); n.hear() }) })
	}
	for _, p := range m.phones {
		actors.Go(func() { m.act(60, p.step) })
	}
	actors.Wait()
}

func (m *model) act(times int, step func()) {
	for range times {
		step()
		time.Sleep(time.Duration(m.n(4000)) * time.Microsecond)
	}
}

func (m *model) publish() {
	msg := store.Message{Condition: conditions[m.n(len(conditions))]}
	switch m.n(4) {
	case 0:
		msg.App, msg.Version = "mail", versions[m.n(2)]
	case 1:
		msg.App, msg.Version = "mail", "*"
	default:
		msg.Token = m.phones[m.n(len(m.phones))].token
	}
	if m.n(10) == 0 {
		msg.Expires = time.Now().Add(time.Duration(m.n(100)) * time.Millisecond)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	msg.Seq = m.w.publish(msg)
	m.files[msg.Seq] = msg
}

// step is one thing that a terminal does.
func (p *modelPhone) step() {
	if p.conn == nil || p.conn.gone() {
		p.connect(map[string]string{"network": networks[p.m.n(2)]})
		return
	}
	switch p.m.n(12) {
	case 0:
		p.leave()
	case 1:
		p.conn = nil // and come back before the server knows
	case 2, 3, 4:
		p.conn.report(networks[p.m.n(3)], versions[p.m.n(2)])
	default:
		p.conn.ack(p.m.n(4) == 0)
	}
}

func (p *modelPhone) leave() {
	p.conn.c.Close("gone")
	p.conn = nil
}

func (p *modelPhone) connect(state map[string]string) {
	c := &modelConn{p: p, node: p.m.nodes[p.m.n(len(p.m.nodes))], unique: map[uint64]bool{}, last: map[string]uint64{}}
	p.m.mu.Lock()
	c.first = p.conns == 0
	p.conns++
	a := p.a
	a.Conn = fmt.Sprint(p.token, " ", p.conns)
	c.states = append(c.states, stateOf(state["network"], a.Version))
	p.m.mu.Unlock()
	var err error
	if c.c, err = c.node.Register(p.m.t.Context(), a, c); err != nil {
		p.m.t.Errorf("Register: %v", err)
		return
	}
	p.conn = c
	if err := c.c.Listen(p.m.t.Context(), p.token, state); err != nil {
		if !errors.Is(err, wire.StoreUnavailable) && !c.gone() {
			p.m.t.Errorf("Listen: %v", err)
		}
		p.leave()
	}
}

func stateOf(network, version string) map[string]string {
	s := map[string]string{"app_version": version}
	if network != "" {
		s["network"] = network
	}
	return s
}

// gone reports whether the registry has closed c.
func (c *modelConn) gone() bool {
	c.p.m.mu.Lock()
	defer c.p.m.mu.Unlock()
	return len(c.closed) > 0
}

func (c *modelConn) Close(code wire.Code, text string) {
	c.p.m.mu.Lock()
	defer c.p.m.mu.Unlock()
	c.closed = append(c.closed, code)
}

// report changes the state.
func (c *modelConn) report(network, version string) {
	state := stateOf(network, version)
	c.p.m.mu.Lock()
	c.states = append(c.states, state)
	c.p.m.mu.Unlock()
	set, unset := maps.Clone(state), []string(nil)
	if network == "" {
		unset = []string{"network"}
	}
	if err := c.c.SetState(set, unset); err != nil && !errors.Is(err, wire.Replaced) && !errors.Is(err, wire.SlowTerminal) {
		c.p.m.t.Errorf("SetState(%v, %v) = %v", set, unset, err)
	}
}

// ack acknowledges some of what came on this connection, or all of it.
func (c *modelConn) ack(all bool) {
	m := c.p.m
	m.mu.Lock()
	var seqs []uint64
	for _, seq := range c.got {
		again := slices.Contains(c.acked[max(0, len(c.acked)-m.config.Window):], seq)
		if new := !slices.Contains(c.acked, seq); new && all || (new || again) && m.rng.IntN(3) == 0 {
			seqs = append(seqs, seq)
		}
	}
	m.mu.Unlock()
	if err := c.c.Ack(seqs); err != nil {
		if !errors.Is(err, wire.Replaced) && !errors.Is(err, wire.SlowTerminal) {
			m.t.Errorf("Ack(%v) of %v = %v", seqs, c.got, err)
		}
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, seq := range seqs {
		c.p.acked[seq] = true
		if !slices.Contains(c.acked, seq) {
			c.acked = append(c.acked, seq)
		}
	}
}

// Send checks one message against everything that is known.
func (c *modelConn) Send(got *wire.Message) error {
	p, m := c.p, c.p.m
	m.mu.Lock()
	// An acknowledgement may come as soon as this message is on its way.
	c.got = append(c.got, got.Seq)
	c.verify(got)
	c.unique[got.Seq] = true
	p.sent[got.Seq]++
	m.mu.Unlock()
	if m.dawdle() {
		return fmt.Errorf("%w: in the model", wire.SlowTerminal)
	}
	return nil
}

func (c *modelConn) verify(got *wire.Message) {
	p, m := c.p, c.p.m
	msg, ok := m.files[got.Seq]
	complain := func(format string, args ...any) {
		m.t.Errorf("%s, message %d %+v: %s", c.c.attributes.Conn, got.Seq, msg, fmt.Sprintf(format, args...))
	}
	switch {
	case !ok:
		complain("never published")
	case msg.Token != "" && msg.Token != p.token, msg.Token == "" && msg.App != p.a.App:
		complain("sent to %s of app %s", p.token, p.a.App)
	case !slices.ContainsFunc(c.states, func(s map[string]string) bool { return fits(&msg, s) }):
		complain("sent in none of the states it is for: %v", c.states)
	case c.unique[got.Seq]:
		complain("sent twice on one connection")
	case len(m.nodes) == 1 && p.acked[got.Seq]:
		complain("sent after it was acknowledged")
	case len(m.nodes) == 1 && got.Redelivered != (p.sent[got.Seq] > 0) && !(got.Redelivered && !c.first):
		complain("redelivered = %v after it was sent %d times", got.Redelivered, p.sent[got.Seq])
	case !msg.Expires.IsZero() && time.Since(msg.Expires) > 10*time.Millisecond:
		complain("sent after it had expired")
	}
	if msg.Condition == "" {
		feed := filterOf(&msg)
		if got.Seq <= c.last[feed] {
			complain("sent after %d of the same feed", c.last[feed])
		}
		c.last[feed] = got.Seq
	}
}

// fits reports whether a terminal in this state is to have msg.
func fits(msg *store.Message, state map[string]string) bool {
	c, err := condition.Parse(msg.Condition)
	return err == nil && c.Match(state) &&
		(msg.Token != "" || msg.Version == "*" || msg.Version == state["app_version"])
}

// finish has every terminal come back once more, on a good day, and be in
// every state there is.
func (m *model) finish() {
	m.mu.Lock()
	m.calm = true
	m.mu.Unlock()
	time.Sleep(time.Minute) // what failed is tried again
	for _, n := range m.nodes {
		n.hand(1 << 20)
		n.hear()
	}
	for _, p := range m.phones {
		p.connect(map[string]string{})
		for _, version := range versions {
			for _, network := range networks {
				p.conn.report(network, version)
				p.conn.drain()
			}
		}
	}
}

// drain acknowledges until nothing more comes.
func (c *modelConn) drain() {
	for before := -1; ; {
		synctest.Wait()
		if len(c.got) == before {
			return
		}
		before = len(c.got)
		c.ack(true)
	}
}

// check looks for what was lost, and for what is left running.
func (m *model) check() {
	states := []map[string]string{}
	for _, version := range versions {
		for _, network := range networks {
			states = append(states, stateOf(network, version))
		}
	}
	for _, p := range m.phones {
		for seq, msg := range m.files {
			due := msg.Token == p.token || msg.Token == "" && msg.App == p.a.App
			due = due && slices.ContainsFunc(states, func(s map[string]string) bool { return fits(&msg, s) })
			if due && msg.Expires.IsZero() && p.sent[seq] == 0 {
				m.t.Errorf("message %d %+v was never sent to %s", seq, msg, p.token)
			}
		}
	}
	for _, n := range m.nodes {
		if err := n.Registry.Close(m.t.Context()); err != nil {
			m.t.Errorf("Close: %v", err)
		}
	}
	for _, msg := range m.w.messages {
		if msg.Token != "" && msg.Expires.IsZero() {
			m.t.Errorf("message %d to a token is stored still after it was acknowledged", msg.Seq)
		}
	}
}
