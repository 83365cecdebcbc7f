package channel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// A Channel is one verified connection of a terminal. Its methods may be
// called at once.
type Channel struct {
	r          *Registry
	sink       Sink
	attributes Attributes // but for Token, they do not change
	attachedAt int64      // when Listen was called, in nanoseconds of Unix time; written under the lock of r

	mu      sync.Mutex
	ended   *ending            // nil: it has not
	cancel  context.CancelFunc // of the pump
	claimed bool               // Listen was called
	started bool               // and has found the record
	running bool               // the pump runs
	behind  bool               // the feeds are read from the store; queue is empty
	reset   uint32             // how often that began

	state map[string]string // replaced, never changed
	feeds [feedCount]feed

	queue    []*store.Message // offered and not considered, in order
	inflight []flight         // sent and not acknowledged, by sequence
	recent   []uint64         // acknowledged last, oldest first
	held     []held           // by sequence
	due      int              // of held

	first    uint64                  // the subscription's last when Listen was called: later ones are live
	doubtful uint64                  // up to here, a message may have been sent on another connection
	sent     uint64                  // the last sequence sent, here or on another connection
	cursors  map[string]store.Cursor // of app subjects that are not among the feeds
}

// Info is what an operator sees of a channel.
type Info struct {
	Attributes
	State    map[string]string // must not be written into
	InFlight int               // messages sent and not acknowledged
	Held     int               // messages whose condition is false
	Behind   bool              // the channel reads from the store
}

// Attributes returns whose connection c is, with the version of the state.
func (c *Channel) Attributes() Attributes {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current()
}

func (c *Channel) current() Attributes {
	a := c.attributes
	if version, ok := c.state[appVersion]; ok {
		a.Version = version
	}
	return a
}

// State returns a copy of the state that conditions are measured against.
func (c *Channel) State() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.state)
}

func (c *Channel) info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Info{
		Attributes: c.current(), State: c.state,
		InFlight: len(c.inflight), Held: len(c.held), Behind: c.behind,
	}
}

// Close says that the connection has ended by itself. It does not call the
// Sink, and does not wait for a Send that has begun. What the channel knows
// is written soon after.
func (c *Channel) Close(reason string) {
	c.r.end(c, "", reason, false)
}

// Listen delivers what is addressed to a token, given by its hash, to its app,
// and to the app in the version that the state names, or the hello if it does
// not: first what is stored, then what is published. state is the whole of it.
// An older channel of the token is closed with wire.Replaced.
//
// It returns when the channel is registered; delivery goes on without it, and
// may have begun. An error wraps wire.StateInvalid, wire.TokenRevoked,
// wire.OutOfOrder for a second call, wire.StoreUnavailable, after which Listen
// may be called again, or the code that the channel has ended with.
func (c *Channel) Listen(ctx context.Context, token string, state map[string]string) error {
	state, err := c.r.changed(nil, state, nil, c.attributes.Version)
	if err != nil {
		return err
	}
	if err := c.r.claim(c, token); err != nil {
		return err
	}
	before, err := c.r.past(ctx, token)
	if err != nil {
		c.r.unclaim(c)
		return fmt.Errorf("%w: record of the terminal: %w", wire.StoreUnavailable, err)
	}
	if err := c.r.start(c, before, state); err != nil {
		return err
	}
	e := store.Event{Kind: store.Attached, Key: token, Node: c.r.c.Node, Conn: attachment(c.attachedAt, c.attributes.Conn)}
	if err := c.r.c.Store.Announce(ctx, e); err != nil {
		// Another node keeps the dead connection until it misses a heartbeat.
		c.r.c.Log.Debug("terminal not announced", "conn", c.attributes.Conn, "error", err)
	}
	return nil
}

// claim notes the token. The lock of the registry is held.
func (c *Channel) claim(token string, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return c.ended
	}
	if c.claimed {
		return fmt.Errorf("%w: this connection listens already", wire.OutOfOrder)
	}
	c.claimed, c.behind = true, true
	c.attributes.Token, c.attachedAt = token, now.UnixNano()
	return nil
}

// start has c deliver from where the connection before it was.
func (r *Registry) start(c *Channel, before past, state map[string]string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return c.ended
	}
	c.state = state
	c.cursors, c.recent = before.Cursors, before.recent
	c.openFeeds()
	c.first = r.Last()
	c.resume(before.Node)
	c.started = true
	c.touch()
	c.kick()
	return nil
}

// resume finds out which messages may have been sent before, by a connection
// that is on node still for all that is known.
func (c *Channel) resume(node string) {
	key := store.TokenFilter(c.attributes.Token)
	c.sent = c.cursors[key].Floor
	delete(c.cursors, key)
	c.trimCursors()
	c.doubtful = c.sent
	if node != "" {
		// It is connected there still, or the server has died and knew more
		// than the record.
		c.doubtful = c.first
	}
}

// SetState changes the state, and sends what was held and is due by it. The
// key app_version cannot be left out: unset, it goes back to what the hello
// said. An error wraps wire.StateInvalid, wire.OutOfOrder before Listen, or
// the code that the channel has ended with, and nothing has changed.
func (c *Channel) SetState(set map[string]string, unset []string) error {
	if _, ok := set[appVersion]; ok || slices.Contains(unset, appVersion) {
		// Another version is another group.
		c.r.mu.Lock()
		defer c.r.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return c.ended
	}
	if !c.started {
		return fmt.Errorf("%w: a state before listen", wire.OutOfOrder)
	}
	state, err := c.r.changed(c.state, set, unset, c.attributes.Version)
	if err != nil {
		return err
	}
	moved := state[appVersion] != c.state[appVersion]
	c.state = state
	if moved {
		c.changeVersion()
	}
	c.reconsider()
	c.touch()
	c.kick()
	return nil
}

// stop ends c for good, and reports whether it had not ended before. The lock
// of the registry is held.
func (c *Channel) stop(reason *ending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return false
	}
	c.ended = reason
	if c.cancel != nil {
		c.cancel()
	}
	if len(c.held) > 0 {
		c.r.c.Metrics.Held(-len(c.held))
	}
	c.queue = nil
	if c.started {
		c.touch()
	}
	return true
}

// touch has the record written.
func (c *Channel) touch() { c.r.journal.mark(c.attributes.Token, c) }

// An ending is why a channel has ended: an error that wraps its code, or
// net.ErrClosed if it has none.
type ending struct {
	code wire.Code
	text string
}

func (e *ending) Error() string {
	if e.code == "" {
		return "channel closed: " + e.text
	}
	return string(e.code) + ": " + e.text
}

func (e *ending) Unwrap() error {
	if e.code == "" {
		return net.ErrClosed
	}
	return e.code
}

// codeOf returns the code in err, or "".
func codeOf(err error) wire.Code {
	var code wire.Code
	errors.As(err, &code)
	return code
}
