package channel

import (
	"context"
	"log/slog"
	"time"

	"keyhole/push/store"
	"keyhole/push/wire"
)

// Attributes say whose connection a channel is.
type Attributes struct {
	Node    string    // this server's name; Register fills it in
	Conn    string    // names the connection on its node
	User    string    // the account
	Session string    // the id of the session that was proved
	Device  string    // of the session
	App     string    // of the session
	Version string    // of the app: of the hello, later of the state
	Token   string    // hash of the message token; empty until Listen
	Since   time.Time // when the connection was accepted, before its session was looked up; zero: now
}

// A Config holds what a Registry works with. Only Store is needed. A number
// below zero is as zero.
type Config struct {
	Store      Source
	Node       string           // unique among the servers of one store; "": "pushd"
	Window     int              // messages on their way to one terminal, not yet acknowledged; 0: 64
	HoldMax    int              // held messages that a channel keeps in memory; 0: 1000
	PerAccount int              // channels of one account on this node; 0: no limit
	StateKeys  int              // keys of one state; 0: 64
	Metrics    Metrics          // nil: nothing is counted
	Log        *slog.Logger     // nil: nothing is logged
	Now        func() time.Time // nil: time.Now
}

// A Source is what the registry needs of a store.Store, whose methods say what
// these do.
type Source interface {
	// Backlog returns fewer than max messages only where there are no more.
	Backlog(ctx context.Context, subject string, after, upTo uint64, max int) ([]store.Message, error)
	Message(ctx context.Context, seq uint64) (store.Message, error)
	Delete(seqs ...uint64)
	AppLast(subject string) uint64
	Terminal(ctx context.Context, hash string) (store.Terminal, error)
	PutTerminal(ctx context.Context, hash string, t store.Terminal) error
	Announce(ctx context.Context, e store.Event) error
}

// A Tail says how far a subscription has come, as store.Subscription does.
type Tail interface {
	// Last is the sequence of the last message handed to the Registry. It is
	// set before the message is, and called under locks that Message takes.
	Last() uint64
}

// A Sink is the writing end of one connection.
type Sink interface {
	// Send writes one message. It is called by one goroutine at a time and may
	// block for as long as one write may take; an error ends the channel. The
	// first call may come before Listen has returned. Data is shared with other
	// channels: it must not be written into.
	Send(*wire.Message) error

	// Close ends the connection for a reason that the registry has. It is
	// called at most once, on a goroutine of its own. An empty code says that
	// Send has failed with an error that has none: there is nobody to tell.
	Close(code wire.Code, text string)
}

// Metrics counts what happens to messages. Its methods must not block.
type Metrics interface {
	Delivered(latency time.Duration) // one was sent that was published while the terminal was there, this long after
	Replayed()                       // one was sent that had waited in the store for the terminal or for its condition
	Held(delta int)                  // so many more are held back by their condition
	Acknowledged(n int)
}

type noMetrics struct{}

func (noMetrics) Delivered(time.Duration) {}
func (noMetrics) Replayed()               {}
func (noMetrics) Held(int)                {}
func (noMetrics) Acknowledged(int)        {}

// withDefaults returns c with every zero that stands for a default replaced.
func (c Config) withDefaults() Config {
	c.Window = positive(c.Window, 64)
	c.HoldMax = positive(c.HoldMax, 1000)
	c.StateKeys = positive(c.StateKeys, 64)
	// Never empty: a record without a node is one whose connection has ended.
	if c.Node == "" {
		c.Node = "pushd"
	}
	if c.Metrics == nil {
		c.Metrics = noMetrics{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func positive(value, fallback int) int {
	if value > 0 {
		return value
	}
	return fallback
}
