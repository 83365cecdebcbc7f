package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/coder/websocket"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// livedAfter is how long a connection has to last, once verified, for what was
// before it to be forgiven. A server that drops terminals as soon as they are
// in would otherwise be tried without a pause.
const livedAfter = 10 * time.Second

// saveEvery bounds how often the profile is written for ids alone.
const saveEvery = time.Second

// A run is what one call of Run has. All of it is that goroutine's.
type run struct {
	*Terminal
	handing context.Context // OnMessage's
	backoff backoff
	tried   map[verdict]bool // what was tried at once since a connection lived

	inHand  bool        // a message is with OnMessage
	results chan result // has room for it, so that OnMessage's goroutine never waits
	saveAt  time.Time   // zero: the seen ids are saved

	pendingFirst bool          // the server may have the pending key
	previous     *keys.Private // the key before the last renewal; messages sealed to it may still arrive
}

// Run keeps the terminal connected until ctx ends, and returns its error then,
// or until the server refuses for good; then the error wraps the wire.Code:
// LoginFailed, AccountDisabled, BindingRequired, TokenNotYours, TokenRevoked,
// VersionUnsupported, or, when the session is lost and there is no Password, a
// session's. After TokenRevoked, another run asks for a new token, which
// publishers have to be told.
//
// Before it returns Run waits for a message in hand, acknowledges it if it
// can, closes the connection and saves the profile. A Terminal runs once at a
// time.
func (t *Terminal) Run(ctx context.Context) error {
	if t.cfg.OnMessage == nil {
		return errors.New("terminal: OnMessage is nil; there is nobody to hand messages to")
	}
	if !t.running.CompareAndSwap(false, true) {
		return errors.New("terminal: runs already")
	}
	defer t.running.Store(false)
	handing, cancel := context.WithCancel(ctx)
	r := &run{
		Terminal: t, handing: handing, results: make(chan result, 1), tried: map[verdict]bool{},
		backoff:      backoff{min: t.cfg.MinBackoff, max: t.cfg.MaxBackoff},
		pendingFirst: t.identity().pending != nil,
	}
	err := r.connections(ctx)
	cancel()
	r.finish()
	return err
}

// connections makes one after the other.
func (r *run) connections(ctx context.Context) error {
	for {
		lived, err := r.connection(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait, fatal := r.after(lived, err)
		if fatal != nil {
			return fatal
		}
		if wait == 0 {
			continue
		}
		r.cfg.OnStatus(Status{Phase: Waiting, Wait: wait, Err: err})
		if err := r.rest(ctx, wait); err != nil {
			return err
		}
	}
}

// connection is one from the dial to its end, and reports whether it lived.
func (r *run) connection(ctx context.Context) (lived bool, err error) {
	r.cfg.OnStatus(Status{Phase: Connecting})
	setup, cancel := context.WithTimeout(ctx, r.cfg.HandshakeTimeout)
	defer cancel()
	ch, err := r.open(setup)
	if err != nil {
		var code wire.Code
		if setup.Err() != nil && !errors.As(err, &code) {
			err = r.timedOut(err)
		}
		return false, err
	}
	verified := time.Now()
	err = ch.serve(ctx)
	ch.conn.close(closeStatus(err))
	return time.Since(verified) >= min(livedAfter, r.cfg.MaxBackoff), err
}

// open logs in where it has to, connects and verifies.
func (r *run) open(ctx context.Context) (*channel, error) {
	who, err := r.signedIn(ctx)
	if err != nil {
		return nil, err
	}
	c, err := r.dial(ctx)
	if err != nil {
		return nil, err
	}
	ch, err := r.verify(ctx, c, who)
	if err != nil {
		c.close(closeStatus(err))
		return nil, err
	}
	return ch, nil
}

// closeStatus is how the server is told why a connection ends.
func closeStatus(err error) (websocket.StatusCode, string) {
	var code wire.Code
	if errors.As(err, &code) {
		return websocket.StatusPolicyViolation, string(code)
	}
	return websocket.StatusNormalClosure, ""
}

// after says how long to wait before the next connection, when the last ended
// with cause, or that there is to be none.
func (r *run) after(lived bool, cause error) (wait time.Duration, fatal error) {
	if lived {
		r.backoff.failed = 0
		clear(r.tried)
	}
	who := r.identity()
	switch v := judge(cause); v {
	case giveUp:
		if isCode(cause, wire.TokenRevoked) {
			r.forgetToken(who)
		}
		return 0, cause
	case otherKey:
		if who.pending != nil && !r.tried[otherKey] {
			r.pendingFirst = !r.pendingFirst
			return r.atOnce(otherKey), nil
		}
		return r.loginAgain(who, cause)
	case loginAgain:
		return r.loginAgain(who, cause)
	case tokenAgain:
		r.forgetToken(who)
		return r.atOnce(tokenAgain), nil
	case moveOn:
		if lived {
			return 0, nil
		}
	case retrySlowly:
		r.cfg.Log.Error("the push server and this terminal do not agree", "err", cause)
		return max(r.backoff.slow(), retryAfter(cause)), nil
	}
	r.cfg.Log.Info("connection ended", "err", cause)
	if asked := retryAfter(cause); asked > 0 {
		return max(asked+rand.N(r.cfg.MinBackoff+1), r.backoff.next()), nil
	}
	return r.backoff.next(), nil
}

func (r *run) loginAgain(who *identity, cause error) (time.Duration, error) {
	if r.cfg.Password == "" {
		return 0, fmt.Errorf("%w; the session is lost, and no Password is configured to log in again", cause)
	}
	r.cfg.Log.Warn("session is lost; logging in again", "err", cause)
	r.forget(who)
	return r.atOnce(loginAgain), nil
}

// atOnce is no wait the first time, and the usual one until a connection has
// lived again.
func (r *run) atOnce(v verdict) time.Duration {
	if r.tried[v] {
		return r.backoff.next()
	}
	r.tried[v] = true
	return 0
}

// rest waits for d, and takes what OnMessage returns meanwhile.
func (r *run) rest(ctx context.Context, d time.Duration) error {
	r.saveSeen()
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case res := <-r.results:
			r.take(res)
			r.saveSeen()
		}
	}
}

// finish waits for OnMessage and leaves nothing open or unsaved.
func (r *run) finish() {
	if r.inHand {
		r.take(<-r.results)
	}
	r.saveSeen()
	r.http.CloseIdleConnections()
}

// saveSeen saves the profile, when ids were added to it since.
func (r *run) saveSeen() {
	if r.saveAt.IsZero() {
		return
	}
	r.saveAt = time.Time{}
	if err := r.save(); err != nil {
		r.cfg.Log.Error("ids of messages are not saved; after a restart, some may be handed over twice", "err", err)
	}
}
