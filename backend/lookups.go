package backend

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	lookupsAtOnce  = 64   // each may hold two sockets
	lookupsWaiting = 1024 // for one of these
	clientLookup   = 5 * time.Second
)

// The errors of Pool.Find, Pool.Ask and Wait.Result, beside those of a Lookups.Lookup, which they wrap.
var (
	ErrNoAddress     = errors.New("the name has no address")
	ErrDenied        = errors.New("the name has no address that a client may be sent to")
	ErrLookupFailed  = errors.New("the name was not resolved")
	ErrLookupTimeout = errors.New("the name was not resolved in time")
	ErrLookups       = errors.New("too many names are being resolved")

	ErrUnknown = errors.New("the name has not been resolved") // of Find alone
)

// LookupDescriptors is how many descriptors the look-ups of a Lookups hold at most.
const LookupDescriptors = 2 * lookupsAtOnce

// An Answer is the addresses of a name, and for how long they may be kept.
type Answer struct {
	Addrs []netip.Addr
	TTL   time.Duration
}

// Lookups resolves the names that clients ask for, a bounded number at once, on goroutines of its
// own that end when there is nothing to do. Pools of several configurations may share one. Set the
// fields before the first use; Close ends it. The zero value works.
type Lookups struct {
	// Lookup returns the addresses of a fully qualified name without its final dot. It must return
	// when ctx ends. ErrNoAddress says that there is none, any other error that nobody knows. Nil: a
	// DNS asks.
	Lookup func(ctx context.Context, host string, f Family) (Answer, error)

	// Route is as in Resolver.
	Route func(netip.Addr) error

	// Own reports the addresses of this machine, which are not public; Forbidden is as in Resolver.
	// Nil: none.
	Own       func(netip.Addr) bool
	Forbidden func(netip.AddrPort) bool

	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // taken after that of a pool's names
	running int
	waiting []*question
}

func (l *Lookups) init() {
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if l.Lookup == nil {
		l.Lookup = new(DNS).Lookup
	}
	if l.Route == nil {
		l.Route = kernelRoute
	}
}

// Close cuts the look-ups short and waits for them. Those that come later fail.
func (l *Lookups) Close() {
	l.once.Do(l.init)
	l.mu.Lock()
	l.cancel()
	l.mu.Unlock()
	l.wg.Wait()
}

// Run waits until ctx ends, and then closes. It returns ctx.Err().
func (l *Lookups) Run(ctx context.Context) error {
	<-ctx.Done()
	l.Close()
	return ctx.Err()
}

// add has a question answered, soon. It reports false when too many are.
func (l *Lookups) add(q *question) bool {
	l.once.Do(l.init)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ctx.Err() != nil:
		return false
	case l.running < lookupsAtOnce:
		l.running++
		l.wg.Go(func() { l.work(q) })
	case len(l.waiting) < lookupsWaiting:
		l.waiting = append(l.waiting, q)
	default:
		return false
	}
	return true
}

// drop takes back a question that nobody waits for any more. It reports false when the question is
// being answered.
func (l *Lookups) drop(q *question) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.waiting, q)
	if i < 0 {
		return false
	}
	l.waiting = slices.Delete(l.waiting, i, i+1)
	return true
}

// work answers q and then the questions that wait.
func (l *Lookups) work(q *question) {
	for ; q != nil; q = l.next() {
		a, err := l.lookup(q.of.host(q), q.of.family)
		q.answer(a, err)
	}
}

func (l *Lookups) next() *question {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.running--
		return nil
	}
	q := l.waiting[0]
	l.waiting = slices.Delete(l.waiting, 0, 1)
	return q
}

// lookup resolves a host. The error is ErrNoAddress, or wraps ErrLookupFailed or ErrLookupTimeout.
func (l *Lookups) lookup(host string, f Family) (Answer, error) {
	if len(host) > maxHost {
		return Answer{}, ErrNoAddress
	}
	ctx, cancel := context.WithTimeout(l.ctx, clientLookup)
	defer cancel()
	a, err := l.Lookup(ctx, host, f)
	slow, _ := errors.AsType[net.Error](err) // also an end of ctx
	switch {
	case err == nil && len(a.Addrs) == 0, errors.Is(err, ErrNoAddress):
		return a, ErrNoAddress
	case slow != nil && slow.Timeout():
		return a, ErrLookupTimeout
	case err != nil:
		return a, &lookupError{err}
	}
	return a, nil
}

// maxHost is the length of the longest host name (RFC 1035 section 2.3.4). A suffix behind the
// client's name may make it longer.
const maxHost = 253

// A lookupError is ErrLookupFailed with its cause.
type lookupError struct{ cause error }

func (e *lookupError) Error() string        { return ErrLookupFailed.Error() + ": " + e.cause.Error() }
func (e *lookupError) Is(target error) bool { return target == ErrLookupFailed }
func (e *lookupError) Unwrap() error        { return e.cause }
