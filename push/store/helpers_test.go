package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// childVariable names what a test binary that a test starts is to be.
const childVariable = "KEYHOLE_STORE_TEST"

func TestMain(m *testing.M) {
	children := map[string]func() error{"nats": natsChild, "publisher": publisherChild, "full disk": fullDiskChild}
	role := os.Getenv(childVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := children[role](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// child is this test binary in another role. It does not outlive the test.
func child(t *testing.T, role string, command ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command = append(command, exe)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), childVariable+"="+role)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

var quiet = slog.New(slog.DiscardHandler)

// open returns a store in a folder of its own, or in c's.
func open(t testing.TB, c Config) *Store {
	t.Helper()
	if c.Dir == "" && c.URL == "" {
		c.Dir = t.TempDir()
	}
	if c.Log == nil {
		c.Log = quiet
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// patience bounds the wait for what has to come. It is not what a busy machine
// takes, but when to believe that it never will.
const patience = testkit.Patience

// soakTime is for how long make soak has a test go on; 0: it is not make soak.
func soakTime(t testing.TB) time.Duration {
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

// within is a context for one call.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), d)
	t.Cleanup(cancel)
	return ctx
}

var eventually = testkit.Eventually

// A recorder is a Handler that keeps what it is told.
type recorder struct {
	mu       sync.Mutex
	messages []Message
	events   []Event
	onSeq    func(uint64) // called with each message's sequence
}

func (r *recorder) Message(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, *m)
	if r.onSeq != nil {
		r.onSeq(m.Seq)
	}
}

func (r *recorder) Event(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) seqs() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return seqs(r.messages)
}

func (r *recorder) has(e Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, got := range r.events {
		if got == e {
			return true
		}
	}
	return false
}

func seqs(messages []Message) []uint64 {
	list := make([]uint64, 0, len(messages))
	for _, m := range messages {
		list = append(list, m.Seq)
	}
	return list
}

// hash is the hash of some token.
func hash(n int) string { return TokenHash("token " + strconv.Itoa(n)) }

func publish(t testing.TB, s *Store, m Message) uint64 {
	t.Helper()
	seq, _, err := s.Publish(within(t, patience), m)
	if err != nil {
		t.Fatalf("Publish(%q): %v", m.ID, err)
	}
	return seq
}

func subscribe(t testing.TB, s *Store, h Handler) *Subscription {
	t.Helper()
	sub, err := s.Subscribe(within(t, patience), h)
	if err != nil {
		t.Fatalf("Subscribe: %v", err)
	}
	return sub
}
