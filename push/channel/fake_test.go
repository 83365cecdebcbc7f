package channel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// A world is a store in memory that several registries share. Messages go to
// a registry when the test says so: a subscription may lag.
type world struct {
	mu        sync.Mutex
	before    func(op string) error
	last      uint64
	messages  []store.Message // stored, by sequence
	log       []store.Message // published, those that are deleted too
	appLast   map[string]uint64
	terminals map[string]store.Terminal
	events    []store.Event // announced
	puts      int
}

func newWorld() *world {
	return &world{appLast: map[string]uint64{}, terminals: map[string]store.Terminal{}}
}

// hook has f run ahead of each operation, outside the lock: it may block, and
// its error is the operation's. f is nil for no hook.
func (w *world) hook(f func(op string) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = f
}

// fail has one operation fail.
func (w *world) fail(op string) {
	w.hook(func(o string) error {
		if o == op {
			return errors.New("no leader")
		}
		return nil
	})
}

func (w *world) op(name string) error {
	w.mu.Lock()
	f := w.before
	w.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(name)
}

// record returns the stored record of a terminal.
func (w *world) record(token string) store.Terminal {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cloneTerminal(w.terminals[token])
}

// writes returns how many records were written.
func (w *world) writes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.puts
}

// filterOf is the subject that a channel asks for m by.
func filterOf(m *store.Message) string {
	if m.Token != "" {
		return store.TokenFilter(m.Token)
	}
	return subjectOf(audience{m.App, m.Version})
}

// publish stores m and returns its sequence. No registry knows of it yet.
func (w *world) publish(m store.Message) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	m.Seq = w.last
	if m.ID == "" {
		m.ID = fmt.Sprintf("m%d", m.Seq)
	}
	if m.Published.IsZero() {
		m.Published = time.Now()
	}
	w.messages, w.log = append(w.messages, m), append(w.log, m)
	return m.Seq
}

func (w *world) Backlog(ctx context.Context, subject string, after, upTo uint64, max int) ([]store.Message, error) {
	if err := errors.Join(w.op("backlog"), ctx.Err()); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []store.Message
	for _, m := range w.messages {
		if m.Seq > after && m.Seq <= upTo && filterOf(&m) == subject && len(found) < max {
			found = append(found, m)
		}
	}
	return found, nil
}

func (w *world) Message(ctx context.Context, seq uint64) (store.Message, error) {
	if err := errors.Join(w.op("message"), ctx.Err()); err != nil {
		return store.Message{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.messages {
		if m.Seq == seq {
			return m, nil
		}
	}
	return store.Message{}, store.ErrNotFound
}

func (w *world) Delete(seqs ...uint64) {
	if w.op("delete") != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = slices.DeleteFunc(w.messages, func(m store.Message) bool { return slices.Contains(seqs, m.Seq) })
}

// stored returns the sequences that are in the store.
func (w *world) stored() []uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var seqs []uint64
	for _, m := range w.messages {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

func (w *world) AppLast(subject string) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.appLast[subject]
}

func (w *world) Terminal(ctx context.Context, hash string) (store.Terminal, error) {
	if err := errors.Join(w.op("terminal"), ctx.Err()); err != nil {
		return store.Terminal{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.terminals[hash]
	if !ok {
		return t, store.ErrNotFound
	}
	return cloneTerminal(t), nil
}

func (w *world) PutTerminal(ctx context.Context, hash string, t store.Terminal) error {
	if err := errors.Join(w.op("put"), ctx.Err()); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.terminals[hash] = cloneTerminal(t)
	w.puts++
	return nil
}

func cloneTerminal(t store.Terminal) store.Terminal {
	t.State, t.Cursors = maps.Clone(t.State), maps.Clone(t.Cursors)
	for subject, c := range t.Cursors {
		t.Cursors[subject] = store.Cursor{Floor: c.Floor, Above: slices.Clone(c.Above)}
	}
	return t
}

func (w *world) Announce(ctx context.Context, e store.Event) error {
	if err := w.op("announce"); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	return nil
}

// A node is a registry and its subscription.
type node struct {
	*Registry
	w      *world
	at     atomic.Uint64 // Tail
	handed int           // of w.log
	seen   int           // of w.events
}

func (n *node) Last() uint64 { return n.at.Load() }

func (w *world) node(c Config) *node {
	c.Store = w
	n := &node{Registry: New(c), w: w}
	n.Follow(n)
	return n
}

// hand gives the registry up to max published messages, and returns how many.
func (n *node) hand(max int) int {
	for i := range max {
		n.w.mu.Lock()
		if n.handed == len(n.w.log) {
			n.w.mu.Unlock()
			return i
		}
		m := n.w.log[n.handed]
		n.handed++
		n.w.mu.Unlock()
		n.at.Store(m.Seq)
		n.w.sawApp(&m)
		n.Message(&m)
	}
	return max
}

// sawApp moves what AppLast returns.
func (w *world) sawApp(m *store.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.Token == "" {
		w.appLast[filterOf(m)] = max(w.appLast[filterOf(m)], m.Seq)
	}
}

// hear gives the registry the events that were announced since the last call.
func (n *node) hear() {
	n.w.mu.Lock()
	events := n.w.events[n.seen:]
	n.seen = len(n.w.events)
	n.w.mu.Unlock()
	for _, e := range events {
		n.Event(e)
	}
}

// publish stores m and hands it over at once.
func (n *node) publish(m store.Message) uint64 {
	seq := n.w.publish(m)
	n.hand(1 << 30)
	return seq
}

// A terminal is a sink that keeps what it was given.
type terminal struct {
	// before runs ahead of each Send and may block; its error is Send's.
	before func(*wire.Message) error

	mu     sync.Mutex
	got    []*wire.Message
	closed []wire.Code
	change chan struct{} // closed and replaced at each change
}

func newTerminal() *terminal { return &terminal{change: make(chan struct{})} }

func (t *terminal) Send(m *wire.Message) error {
	if t.before != nil {
		if err := t.before(m); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.got = append(t.got, m)
	t.changed()
	return nil
}

func (t *terminal) Close(code wire.Code, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = append(t.closed, code)
	t.changed()
}

func (t *terminal) changed() {
	close(t.change)
	t.change = make(chan struct{})
}

// seqs returns what was sent so far.
func (t *terminal) seqs() []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	seqs := []uint64{}
	for _, m := range t.got {
		seqs = append(seqs, m.Seq)
	}
	return seqs
}

// message returns the message sent as the i-th.
func (t *terminal) message(i int) *wire.Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.got[i]
}

// has reports whether seq was sent last.
func (t *terminal) has(seq uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.got) > 0 && t.got[len(t.got)-1].Seq == seq
}

func (t *terminal) codes() []wire.Code {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.closed)
}

// patience bounds the wait for what has to come. It is not what a busy machine
// takes, but when to believe that it never will.
const patience = 5 * time.Minute

// until waits for a condition of what the terminal has seen.
func (t *terminal) until(tb testing.TB, what string, done func() bool) {
	tb.Helper()
	deadline := time.After(patience)
	for {
		t.mu.Lock()
		change := t.change
		t.mu.Unlock()
		if done() {
			return
		}
		select {
		case <-change:
		case <-deadline:
			tb.Fatalf("after %s: no %s; sent %v, closed %v", patience, what, t.seqs(), t.codes())
		}
	}
}

// phone is the attributes of the terminal that the tests use most.
func phone(conn string) Attributes {
	return Attributes{Conn: conn, User: "ann", Session: "s1", Device: "phone", App: "mail", Version: "2.0"}
}

// listen connects a terminal of phone with the token "tok".
func (n *node) listen(tb testing.TB, conn string, state map[string]string) (*Channel, *terminal) {
	tb.Helper()
	return n.listenAs(tb, phone(conn), "tok", state)
}

func (n *node) listenAs(tb testing.TB, a Attributes, token string, state map[string]string) (*Channel, *terminal) {
	tb.Helper()
	t := newTerminal()
	c, err := n.Register(tb.Context(), a, t)
	if err != nil {
		tb.Fatalf("Register(%s): %v", a.Conn, err)
	}
	if err := c.Listen(tb.Context(), token, state); err != nil {
		tb.Fatalf("Listen of %s: %v", a.Conn, err)
	}
	return c, t
}

func wantSeqs(tb testing.TB, what string, got []uint64, want ...uint64) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Fatalf("%s = %v, want %v", what, got, want)
	}
}

func wantCode(tb testing.TB, what string, err error, want wire.Code) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("%s = %v, want %s", what, err, want)
	}
}

func mustAck(tb testing.TB, c *Channel, seqs ...uint64) {
	tb.Helper()
	if err := c.Ack(seqs); err != nil {
		tb.Fatalf("Ack(%v) = %v, want nil", seqs, err)
	}
}

func mustSet(tb testing.TB, c *Channel, set map[string]string, unset ...string) {
	tb.Helper()
	if err := c.SetState(set, unset); err != nil {
		tb.Fatalf("SetState(%v, %v) = %v, want nil", set, unset, err)
	}
}

// to returns a message to the token of listen.
func to(condition string) store.Message { return store.Message{Token: "tok", Condition: condition} }

// toApp returns a message to the app of phone.
func toApp(version, condition string) store.Message {
	return store.Message{App: "mail", Version: version, Condition: condition}
}
