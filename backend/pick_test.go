package backend

import (
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"testing"
)

// sequence picks n times, releasing at once, and returns the last octets of the addresses.
func sequence(p *Pool, n int) string {
	var b strings.Builder
	for range n {
		e := p.Pick(client, nil)
		fmt.Fprint(&b, e.AddrPort.Addr().As4()[3])
		e.Release()
	}
	return b.String()
}

// weights lists servers 10.0.0.1:443 and on with those weights.
func weights(ws ...int) []ServerConfig {
	var list []ServerConfig
	for i, w := range ws {
		list = append(list, ServerConfig{Address: fmt.Sprintf("10.0.0.%d:443", i+1), Weight: w})
	}
	return list
}

func TestRoundRobinSpreadsTurns(t *testing.T) {
	for _, tc := range []struct {
		weights []int
		want    string // two rounds
	}{
		{[]int{1}, "11"},
		{[]int{0, 1, 1}, "123123"},
		{[]int{64, 64}, "1212"},
		{[]int{2, 1}, "112112"},
		{[]int{4, 2}, "112112"},
		{[]int{2, 2, 1}, "1212312123"},
		{[]int{5, 1, 1}, "11121131112113"},
	} {
		p := newPool(t, Config{Servers: weights(tc.weights...)})
		if got := sequence(p, len(tc.want)); got != tc.want {
			t.Errorf("weights %v are picked %s, want %s", tc.weights, got, tc.want)
		}
	}
}

func TestRoundRobinCountsAreExact(t *testing.T) {
	c := Config{Servers: append(weights(256, 255, 1), ServerConfig{Address: "origin.internal:443", Weight: 3})}
	p := newPool(t, c)
	p.turns[0].Store(123456789) // a round may begin anywhere
	answer(t, p, "origin.internal", "10.0.1.1", "10.0.1.2")
	got := counts(p, 2*(256+255+1+3))
	want := map[string]int{"10.0.0.1": 512, "10.0.0.2": 510, "10.0.0.3": 2, "10.0.1.1": 3, "10.0.1.2": 3}
	if !maps.Equal(got, want) {
		t.Errorf("two rounds are %v, want %v", got, want)
	}
}

func TestRoundRobinStartsDiffer(t *testing.T) {
	starts := make(map[uint64]bool)
	for range 20 {
		p, err := New(Config{Servers: weights(1, 1)})
		if err != nil {
			t.Fatal(err)
		}
		starts[p.turns[0].Load()] = true
	}
	if len(starts) < 2 {
		t.Errorf("20 pools begin at %d turns, want several", len(starts))
	}
}

// counts picks n times, releasing at once, and counts by address.
func counts(p *Pool, n int) map[string]int {
	got := make(map[string]int)
	for range n {
		e := p.Pick(client, nil)
		got[e.AddrPort.Addr().String()]++
		e.Release()
	}
	return got
}

func TestRoundRobinSharesTheLoadOfFullServer(t *testing.T) {
	p := newPool(t, Config{Servers: weights(1, 1, 1), MaxConnections: 1})
	full := wantPick(t, p, nil, "10.0.0.1:443")
	if got := sequence(p, 6); got != "232323" {
		t.Errorf("with 1 full the sequence is %s, want 232323", got)
	}
	full.Release()
}

func TestRoundRobinFindsTheLastOpen(t *testing.T) {
	c := Config{Servers: weights(256, 1, 1), MaxConnections: 1}
	p := newPool(t, c)
	wantPick(t, p, nil, "10.0.0.1:443")
	one, two := p.Pick(client, nil), p.Pick(client, nil)
	if one == nil || two == nil || one == two {
		t.Errorf("Pick with the heaviest full = %v, %v, want the two others", one, two)
	}
	wantPick(t, p, nil, "")
}

func TestRoundRobinSpreadsWhatIsLeft(t *testing.T) {
	p := newPool(t, Config{Servers: weights(256, 1, 1), MaxConnections: 1})
	wantPick(t, p, nil, "10.0.0.1:443")
	got := counts(p, 300)
	if got["10.0.0.2"] < 75 || got["10.0.0.3"] < 75 {
		t.Errorf("with 1 full 300 picks are %v, want 75 or more of each", got)
	}
}

func TestLeastConnections(t *testing.T) {
	p := newPool(t, Config{Servers: weights(3, 1), Balance: LeastConnections})
	for range 32 {
		p.Pick(client, nil)
	}
	a := endpoint(t, p, "10.0.0.1:443")
	wantActive(t, a, 24)
	wantActive(t, endpoint(t, p, "10.0.0.2:443"), 8)
	for range 5 {
		a.Release()
	}
	for range 4 {
		wantPick(t, p, nil, "10.0.0.1:443")
	}
}

func TestLeastConnectionsSharesWeightOverAddresses(t *testing.T) {
	p := newPool(t, Config{Servers: servers("origin.internal:443", "10.0.0.1:443"), Balance: LeastConnections})
	answer(t, p, "origin.internal", "10.0.1.1", "10.0.1.2", "10.0.1.3")
	for range 60 {
		p.Pick(client, nil)
	}
	wantActive(t, endpoint(t, p, "10.0.0.1:443"), 30)
	for i := 1; i <= 3; i++ {
		wantActive(t, endpoint(t, p, fmt.Sprintf("origin.internal:443 (10.0.1.%d:443)", i)), 10)
	}
}

func TestLeastConnectionsBreaksTiesFairly(t *testing.T) {
	const n = 9000
	p := newPool(t, Config{Servers: weights(1, 1, 1, 1, 1, 1, 1, 1, 1), Balance: LeastConnections})
	endpoint(t, p, "10.0.0.5:443").acquire(0)
	got := counts(p, n)
	for _, tc := range []int{1, 2, 3, 4, 6, 7, 8, 9} {
		a := fmt.Sprintf("10.0.0.%d", tc)
		wantAbout(t, a, got[a], n/8)
	}
	if got["10.0.0.5"] != 0 {
		t.Errorf("the one loaded server is picked %d times, want 0", got["10.0.0.5"])
	}
}

// wantAbout allows a fifth more or less. The random numbers are the same in every run.
func wantAbout(t *testing.T, what string, got, want int) {
	t.Helper()
	if got < want*4/5 || got > want*6/5 {
		t.Errorf("%s is picked %d times, want %d give or take a fifth", what, got, want)
	}
}

func TestRandomTwoTakesTheLessLoaded(t *testing.T) {
	p := newPool(t, Config{Servers: weights(1, 1, 1), Balance: RandomTwo})
	busy := endpoint(t, p, "10.0.0.2:443")
	busy.acquire(0)
	got := counts(p, 3000)
	if got["10.0.0.2"] != 0 {
		t.Errorf("the most loaded of three is picked %d times, want 0: one of two different ones is less loaded", got["10.0.0.2"])
	}
	wantAbout(t, "10.0.0.1", got["10.0.0.1"], 1500)
	wantAbout(t, "10.0.0.3", got["10.0.0.3"], 1500)
}

func TestRandomTwoLevels(t *testing.T) {
	p := newPool(t, Config{Servers: weights(1, 1, 2), Balance: RandomTwo})
	for range 400 {
		p.Pick(client, nil)
	}
	for i, want := range []int64{100, 100, 200} {
		e := endpoint(t, p, fmt.Sprintf("10.0.0.%d:443", i+1))
		if got := e.active.Load(); got < want-5 || got > want+5 {
			t.Errorf("%s has %d connections of 400, want %d give or take 5", e, got, want)
		}
	}
}

func TestDrawFollowsWeights(t *testing.T) {
	p := newPool(t, Config{Servers: weights(1, 2, 5), Balance: RandomTwo})
	tier := &(*p.current.Load())[0]
	got := make(map[string]int)
	for range 8000 {
		d := p.roll()
		got[p.draw(tier, &d, &filter{}, nil).String()]++
	}
	wantAbout(t, "weight 1", got["10.0.0.1:443"], 1000)
	wantAbout(t, "weight 2", got["10.0.0.2:443"], 2000)
	wantAbout(t, "weight 5", got["10.0.0.3:443"], 5000)
}

func TestTriedIsPassedOver(t *testing.T) {
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			p := newPool(t, Config{Servers: weights(1, 7, 256, 1), Balance: b})
			seen := make(map[*Endpoint]bool)
			var tried []*Endpoint
			for range 4 {
				e := p.Pick(client, tried)
				if e == nil || seen[e] {
					t.Fatalf("Pick(%v, %v) = %v, want one not tried", client, tried, e)
				}
				seen[e] = true
				tried = append(tried, e)
			}
			wantPick(t, p, tried, "")
			for _, e := range tried {
				wantActive(t, e, 1)
				e.Release()
				wantActive(t, e, 0)
			}
		})
	}
}

func TestBackups(t *testing.T) {
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			list := append(servers("origin.internal:443"), ServerConfig{Address: "10.9.0.1:443", Backup: 1})
			p := newPool(t, Config{Servers: list, Balance: b, MaxConnections: 1})
			wantPick(t, p, nil, "10.9.0.1:443").Release() // no primary is resolved
			answer(t, p, "origin.internal", "10.0.0.1")
			primary := wantPick(t, p, nil, "origin.internal:443 (10.0.0.1:443)")
			wantPick(t, p, nil, "10.9.0.1:443").Release() // it is full
			primary.Release()
			wantPick(t, p, []*Endpoint{primary}, "10.9.0.1:443").Release() // it was tried
			wantPick(t, p, nil, primary.String()).Release()
		})
	}
}

func TestBackupsTakeTurns(t *testing.T) {
	list := weights(1, 1, 1)
	list[1].Backup, list[2].Backup = 1, 1
	p := newPool(t, Config{Servers: list, MaxConnections: 1})
	wantPick(t, p, nil, "10.0.0.1:443")
	if got := sequence(p, 6); got != "232323" {
		t.Errorf("the backups are picked %s, want 232323", got)
	}
}

// TestRanks fills the servers of a pool one by one: each goes before those of a higher rank, however
// far apart the ranks are and in whatever order they are listed.
func TestRanks(t *testing.T) {
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			list := weights(1, 1, 1, 1)
			list[0].Backup, list[1].Backup, list[3].Backup = MaxBackup, 2, 7
			p := newPool(t, Config{Servers: list, Balance: b, MaxConnections: 1})
			for _, want := range []string{"10.0.0.3:443", "10.0.0.2:443", "10.0.0.4:443", "10.0.0.1:443", ""} {
				wantPick(t, p, nil, want)
			}
			endpoint(t, p, "10.0.0.4:443").Release()
			endpoint(t, p, "10.0.0.2:443").Release()
			wantPick(t, p, nil, "10.0.0.2:443")
		})
	}
}

func TestServersOfOneRankShare(t *testing.T) {
	list := weights(1, 3, 1, 2, 1)
	list[1].Backup, list[2].Backup, list[3].Backup, list[4].Backup = 4, 4, 2, 2
	p := newPool(t, Config{Servers: list, MaxConnections: 1})
	wantPick(t, p, nil, "10.0.0.1:443")
	if got := sequence(p, 6); got != "445445" {
		t.Errorf("rank 2 is picked %s, want 445445", got)
	}
	wantPick(t, p, nil, "10.0.0.4:443")
	wantPick(t, p, nil, "10.0.0.5:443")
	if got := sequence(p, 8); got != "22232223" {
		t.Errorf("rank 4 is picked %s, want 22232223", got)
	}
}

func TestRankOutOfRange(t *testing.T) {
	for _, rank := range []int{-1, MaxBackup + 1} {
		if _, err := New(Config{Servers: []ServerConfig{{Address: "10.0.0.1:443", Backup: rank}}}); err == nil {
			t.Errorf("New of a server with backup %d = nil error, want one", rank)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			p := newPool(t, Config{Servers: servers("10.0.0.1:443", "unix:/run/x.sock"), Balance: b, MaxConnections: 3})
			var last *Endpoint
			for range 6 {
				if last = p.Pick(client, nil); last == nil {
					t.Fatal("Pick = nil within the limits, want an endpoint")
				}
			}
			wantPick(t, p, nil, "")
			last.Release()
			wantPick(t, p, nil, last.String())
		})
	}
}

func TestNoAddressYet(t *testing.T) {
	p := newPool(t, Config{Servers: servers("origin.internal:443")})
	wantPick(t, p, nil, "")
}

func TestPickDoesNotAllocate(t *testing.T) {
	for _, b := range allBalances {
		t.Run(b.String(), func(t *testing.T) {
			list := append(weights(1, 2, 3), ServerConfig{Address: "unix:/run/x.sock", Backup: 1})
			p := newPool(t, Config{Servers: list, Balance: b, MaxConnections: 1000})
			first := p.Pick(client, nil)
			tried := []*Endpoint{first}
			if n := testing.AllocsPerRun(100, func() {
				p.Pick(client, tried).Release()
				p.Pick(netip.Addr{}, nil).Release()
				_ = first.String()
			}); n != 0 {
				t.Errorf("Pick and Release allocate %v times, want 0", n)
			}
		})
	}
}
