package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"keyhole/internal/testkit"
	"keyhole/push/client"
)

// TestPushChaosCluster kills a NATS node, a pushd node or the edge at random moments while publishers publish. No
// message that a publisher was answered for is lost, none reaches another token, and each is handed to the app once.
//
// It is over after some kills; with make soak SOAKTIME=10m after that time. A run is repeated, as far as the moments are
// chance, by its KEYHOLE_SEED, which the log has.
func TestPushChaosCluster(t *testing.T) {
	s, nodes, stores := clusterFor(t, 2, "limits: {login_per_minute: 10000}")
	c := newChaos(t, s)
	for i, n := range stores {
		c.victims = append(c.victims, victim{fmt.Sprintf("NATS node %d", i), func() { n.Stop() }, n.start})
	}
	for i, n := range nodes {
		c.victims = append(c.victims, victim{fmt.Sprintf("pushd node %d", i), func() { n.Stop() }, n.start})
	}
	c.run()
}

// TestPushChaosAlone does the same to a pushd with the store inside.
func TestPushChaosAlone(t *testing.T) {
	s := pushSiteFor(t, "limits: {login_per_minute: 10000}")
	c := newChaos(t, s)
	c.victims = append(c.victims, victim{"pushd", func() { s.node.Stop() }, s.node.start})
	c.run()
}

// A victim is killed without a warning, and started again.
type victim struct {
	name        string
	kill, start func()
}

// A chaos is one run.
type chaos struct {
	*testing.T
	site    *pushSite
	soak    time.Duration // at least, how long it goes on
	random  *rand.Rand
	victims []victim
	key     string
	phones  []*chaosPhone

	mu     sync.Mutex
	acked  map[string]string // text of each message that a publisher was answered for, and its id
	enough chan struct{}     // closed when enough of them are there
}

// The events that a run must have, at least.
const (
	chaosKills = 4
	chaosAcked = 100 // messages that a publisher was answered for
)

// A chaosPhone is a terminal and what it was handed.
type chaosPhone struct {
	*phone
	name string

	mu   sync.Mutex
	got  map[string]string // text -> id
	odd  []string          // what must not be
	more chan struct{}     // has a token after a message
}

func newChaos(t *testing.T, s *pushSite) *chaos {
	c := &chaos{T: t, site: s, acked: map[string]string{}, enough: make(chan struct{})}
	if v := os.Getenv("KEYHOLE_SOAK"); v != "" {
		var err error
		if c.soak, err = time.ParseDuration(v); err != nil {
			t.Fatalf("KEYHOLE_SOAK: %v", err)
		}
	}
	seed, err := strconv.ParseUint(os.Getenv("KEYHOLE_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("KEYHOLE_SEED=%d", seed)
	c.random = rand.New(rand.NewPCG(seed, seed))
	c.victims = append(c.victims, victim{"edge", func() { s.edge.Stop() }, s.startEdge})
	c.key = s.node.publisher("newsroom")
	for i := range 3 {
		s.node.user(fmt.Sprintf("user%d", i))
	}
	for i := range 12 {
		c.phones = append(c.phones, c.phone(fmt.Sprintf("user%d", i%3), fmt.Sprintf("device%d", i)))
	}
	for _, p := range c.phones {
		p.until(client.Listening)
	}
	return c
}

func (c *chaos) phone(user, device string) *chaosPhone {
	p := &chaosPhone{name: user + "/" + device, got: map[string]string{}, more: make(chan struct{}, 1)}
	config := c.site.config(user, device, "news")
	config.MinBackoff, config.MaxBackoff = 50*time.Millisecond, 500*time.Millisecond
	config.OnMessage = func(_ context.Context, m client.Message) error { p.take(m); return nil }
	p.phone = c.site.phone(config)
	return p
}

func (p *chaosPhone) take(m client.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := string(m.Data)
	if id, again := p.got[text]; again {
		p.odd = append(p.odd, fmt.Sprintf("%q was handed over twice, with the ids %s and %s", text, id, m.ID))
	}
	p.got[text] = m.ID
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// run publishes while victims die, and then counts.
func (c *chaos) run() {
	ctx, end := context.WithCancel(c.Context())
	defer end()
	var publishers sync.WaitGroup
	for i := range 4 {
		publishers.Go(func() { c.publish(ctx, i) })
	}
	given := make(chan struct{})
	go func() { publishers.Wait(); close(given) }()
	c.kill()
	select {
	case <-c.enough:
	case <-given: // they have failed the test
	}
	end()
	<-given
	c.Logf("%d messages were acknowledged", len(c.acked))
	for _, p := range c.phones {
		c.check(p)
	}
}

// kill ends one victim after the other at random moments, and starts each again before the next.
func (c *chaos) kill() {
	pause := func(most time.Duration) {
		<-time.After(time.Duration(c.random.Int64N(int64(most)))) // the moments are what the test is about
	}
	start := time.Now()
	for n := 0; n < chaosKills || time.Since(start) < c.soak; n++ {
		pause(time.Second)
		v := c.victims[c.random.IntN(len(c.victims))]
		v.kill()
		c.Logf("killed %s", v.name)
		pause(time.Second)
		v.start()
	}
}

// publish publishes one message after the other, to a terminal or to all. A message whose answer is lost is published
// again with its id until it is answered, after ctx too: what was tried is settled.
func (c *chaos) publish(ctx context.Context, publisher int) {
	sender := client.Publisher{URL: c.site.url(), Key: c.key, HTTP: c.site.http()}
	for n := 0; ctx.Err() == nil; n++ {
		id := fmt.Sprintf("%d-%d", publisher, n)
		m := client.Publication{ID: id}
		to := "all"
		if n%8 == 7 {
			m.App, m.Version = "news", "1.0"
		} else {
			p := c.phones[(n*7+publisher)%len(c.phones)]
			m.Token, to = p.Token(), p.name
		}
		text := to + " " + id
		m.Data = []byte(text)
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*testkit.Patience)
		receipt, err := sender.Publish(patient, m)
		cancel()
		if err != nil {
			c.Errorf("publish %q: %v", text, err)
			return
		}
		c.mu.Lock()
		if c.acked[text] = receipt.ID; len(c.acked) == chaosAcked {
			close(c.enough)
		}
		c.mu.Unlock()
	}
}

// check waits until a terminal has everything that is for it, and wants nothing else.
func (c *chaos) check(p *chaosPhone) {
	want := map[string]string{}
	for text, id := range c.acked {
		if to, _, _ := strings.Cut(text, " "); to == p.name || to == "all" {
			want[text] = id
		}
	}
	end := time.After(testkit.Patience)
	for {
		missing := p.missing(want)
		if missing == "" {
			break
		}
		select {
		case <-p.more:
		case <-end:
			c.Errorf("%s has not got %s, which a publisher was answered for", p.name, missing)
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, odd := range p.odd {
		c.Errorf("%s: %s", p.name, odd)
	}
	for text, id := range p.got {
		switch acked, ok := want[text]; {
		case !ok:
			c.Errorf("%s has got %q (%s), which is not for it", p.name, text, id)
		case acked != id:
			c.Errorf("%s has got %q with the id %s, the publisher was told %s", p.name, text, id, acked)
		}
	}
}

// missing names one of the messages that have not come.
func (p *chaosPhone) missing(want map[string]string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for text, id := range want {
		if _, ok := p.got[text]; !ok {
			return fmt.Sprintf("%q (%s)", text, id)
		}
	}
	return ""
}
