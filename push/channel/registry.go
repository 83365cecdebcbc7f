package channel

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// readers is how many channels read from the store at once: when every
// terminal comes back together, the rest wait in line and not in memory.
const readers = 64

// stopping is said to terminals while the registry closes.
const stopping = "this server is stopping; connect again"

// A Registry knows the channels of one node. It is the store.Handler of the
// node's subscription. Make one with New; its methods may be called at once.
type Registry struct {
	c       Config
	tail    atomic.Pointer[Tail]
	journal *journal
	reads   chan struct{}
	trouble trouble
	parsed  atomic.Pointer[parsed]
	tasks   sync.WaitGroup // pumps, and calls of Sink.Close

	// mu comes before the mu of a channel, and that before the journal's.
	mu      sync.RWMutex
	closed  bool
	count   int
	users   map[string][]*Channel
	tokens  map[string]*Channel // those that listen
	groups  map[audience]*group
	revoked revocations
}

// New returns a registry without channels. Listen refuses until Follow is
// called. Close it.
func New(c Config) *Registry {
	r := &Registry{
		c:      c.withDefaults(),
		reads:  make(chan struct{}, readers),
		users:  map[string][]*Channel{},
		tokens: map[string]*Channel{},
		groups: map[audience]*group{},
	}
	r.journal = newJournal(r.c.Store.PutTerminal, r.complain)
	return r
}

// Follow tells r the subscription whose Handler it is.
func (r *Registry) Follow(t Tail) { r.tail.Store(&t) }

// Last is how far the subscription has come; 0 before Follow.
func (r *Registry) Last() uint64 {
	if t := r.tail.Load(); t != nil {
		return (*t).Last()
	}
	return 0
}

// Register makes the channel of a connection whose session was proved (P2). It
// delivers nothing yet: that is for Listen. An error wraps
// wire.TooManyConnections; wire.SessionRevoked or wire.AccountDisabled when
// that happened after a.Since; or wire.Draining.
func (r *Registry) Register(ctx context.Context, a Attributes, sink Sink) (*Channel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	a.Node, a.Token = r.c.Node, ""
	if a.Since.IsZero() {
		a.Since = r.c.Now()
	}
	c := &Channel{r: r, sink: sink, attributes: a}
	if err := r.add(c); err != nil {
		return nil, err
	}
	r.c.Log.Debug("terminal connected", "conn", a.Conn, "user", a.User, "device", a.Device, "app", a.App)
	return c, nil
}

func (r *Registry) add(c *Channel) error {
	a := &c.attributes
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return &ending{wire.Draining, stopping}
	}
	if r.revoked.since(store.SessionRevoked, a.Session, a.Since) {
		return fmt.Errorf("%w: while the connection was being made", wire.SessionRevoked)
	}
	if r.revoked.since(store.UserDisabled, a.User, a.Since) {
		return fmt.Errorf("%w: while the connection was being made", wire.AccountDisabled)
	}
	if err := r.makeRoomLocked(a); err != nil {
		return err
	}
	r.users[a.User] = append(r.users[a.User], c)
	r.count++
	return nil
}

// makeRoomLocked applies PerAccount. A terminal that connects again replaces its
// former connection, which may be dead and not known to be: the limit would lock
// the terminal out for the time of a heartbeat.
func (r *Registry) makeRoomLocked(a *Attributes) error {
	own := r.users[a.User]
	if r.c.PerAccount <= 0 || len(own) < r.c.PerAccount {
		return nil
	}
	for _, c := range own {
		if c.attributes.Device == a.Device && c.attributes.App == a.App {
			r.endLocked(c, wire.Replaced, "the terminal has connected again", true)
			return nil
		}
	}
	return fmt.Errorf("%w: account %q has %d already, which is the limit; close one",
		wire.TooManyConnections, a.User, len(own))
}

// claim makes c the channel that messages to a token are offered to, in place
// of an older one. That one has ended, and its record is with the journal,
// when claim returns.
func (r *Registry) claim(c *Channel, token string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tail.Load() == nil {
		return fmt.Errorf("%w: the subscription has not begun", wire.StoreUnavailable)
	}
	if r.revoked.since(store.TokenRevoked, token, c.attributes.Since) {
		return fmt.Errorf("%w: while the connection was being made", wire.TokenRevoked)
	}
	if err := c.claim(token, r.c.Now()); err != nil {
		return err
	}
	if old := r.tokens[token]; old != nil {
		r.endLocked(old, wire.Replaced, "the terminal has connected again", true)
	}
	r.tokens[token] = c
	return nil
}

// unclaim takes back what claim did, but for ending the older channel.
func (r *Registry) unclaim(c *Channel) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if token := c.attributes.Token; r.tokens[token] == c {
		delete(r.tokens, token)
	}
	c.claimed, c.attributes.Token = false, ""
}

// endLocked takes c out of the registry, once, and tells its sink why when
// tell is set.
func (r *Registry) endLocked(c *Channel, code wire.Code, text string, tell bool) {
	if !c.stop(&ending{code, text}) {
		return
	}
	user := c.attributes.User
	r.users[user] = slices.DeleteFunc(r.users[user], func(o *Channel) bool { return o == c })
	if len(r.users[user]) == 0 {
		delete(r.users, user)
	}
	if c.attributes.Token != "" {
		delete(r.tokens, c.attributes.Token)
	}
	for i := range c.feeds {
		r.leaveLocked(c, &c.feeds[i])
	}
	r.count--
	r.c.Log.Debug("terminal gone", "conn", c.attributes.Conn, "user", user, "code", code, "reason", text)
	if tell {
		r.tasks.Go(func() { c.sink.Close(code, text) })
	}
}

// end is endLocked for who does not hold the lock.
func (r *Registry) end(c *Channel, code wire.Code, text string, tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(c, code, text, tell)
}

// Len returns the number of channels.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.count
}

// Channels returns what there is to say of every channel, the oldest first.
func (r *Registry) Channels() []Info {
	r.mu.RLock()
	all := make([]Info, 0, r.count)
	for _, own := range r.users {
		for _, c := range own {
			all = append(all, c.info())
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Conn, b.Conn))
	})
	return all
}

// Close ends every channel with wire.Draining, waits for what they have begun,
// writes the records that are not written, and returns the first error of that
// or ctx's. The store must still be open.
func (r *Registry) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	for _, own := range r.users {
		for _, c := range slices.Clone(own) {
			r.endLocked(c, wire.Draining, stopping, true)
		}
	}
	r.mu.Unlock()
	done := make(chan struct{})
	go func() { r.tasks.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("channels to end: %w", context.Cause(ctx))
	}
	return cmp.Or(err, r.journal.close(ctx))
}

// Message offers m to the channels that it is for; a store.Handler's method.
func (r *Registry) Message(m *store.Message) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if m.Token != "" {
		if c := r.tokens[m.Token]; c != nil {
			c.offer(m)
		}
		return
	}
	if g := r.groups[audience{m.App, m.Version}]; g != nil {
		for c := range g.members {
			c.offer(m)
		}
	}
}

// trouble is when an error of the store was last logged.
type trouble struct{ at atomic.Int64 }

// complain logs an error of the store, at most one in ten seconds: when it does
// not answer, every channel finds out.
func (r *Registry) complain(err error) {
	now, before := r.c.Now().UnixNano(), r.trouble.at.Load()
	if now-before >= int64(10*time.Second) && r.trouble.at.CompareAndSwap(before, now) {
		r.c.Log.Warn("messages wait", "error", err)
	}
}
