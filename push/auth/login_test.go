package auth

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"keyhole/push/keys"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// A count is a kdf that remembers with which parameters it ran.
type count struct {
	mu   sync.Mutex
	runs []phc
	real kdf
}

// counted has a count its runs in the count that it returns.
func counted(a *Auth) *count {
	c := &count{real: a.hasher.run}
	a.hasher.run = c.run
	return c
}

func (c *count) run(password, salt []byte, time, memory uint32, threads uint8, keyLen uint32) []byte {
	c.mu.Lock()
	c.runs = append(c.runs, phc{memory: memory, time: time, threads: threads})
	c.mu.Unlock()
	return c.real(password, salt, time, memory, threads, keyLen)
}

func (c *count) n() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.runs)
}

func request(t testing.TB, user, password string) LoginRequest {
	return LoginRequest{User: user, Password: password, Device: "phone", App: "mail", Key: newKey(t).Public().String()}
}

func TestK1LoginReturnsSessionServerKeyAndTime(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.SessionLife = 48 * time.Hour })
	w.user("alice")
	r, err := a.Login(w.ctx, request(t, "alice", password))
	if err != nil {
		t.Fatalf("Login = %v, want a session", err)
	}
	now := w.clock.Now().UnixMilli()
	if r.STime != now || r.Expires != now+48*3600*1000 {
		t.Errorf("Login: s_time %d and expires %d, want %d and two days more", r.STime, r.Expires, now)
	}
	server, err := keys.ParsePublic(r.ServerKey)
	if err != nil {
		t.Fatalf("Login: server key: %v, want a public key", err)
	}
	if kid, err := keys.SessionKey(r.Session); err != nil || kid != server.KID() {
		t.Errorf("Login: the session is sealed to %s (%v), want the server key %s", kid, err, server.KID())
	}
}

func TestK1UnknownUserAndWrongPasswordAreAlike(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	a.hasher.nobody.memory, a.hasher.nobody.time = standard.memory, standard.time
	if err := a.CreateUser(w.ctx, "alice", password); err != nil {
		t.Fatal(err)
	}
	c := counted(a)
	var said [2]string
	for i, name := range []string{"alice", "nobody"} {
		w.unchanged(func() {
			_, err := a.Login(w.ctx, request(t, name, "wrong"))
			wantCode(t, "Login of "+name+" with a wrong password", err, wire.LoginFailed)
			said[i] = err.Error()
		})
	}
	if said[0] != said[1] {
		t.Errorf("a wrong password gets %q and an unknown user %q, want the same", said[0], said[1])
	}
	if len(c.runs) != 2 || c.runs[0].String() != c.runs[1].String() {
		t.Errorf("Argon2 ran as %v, want once for each with the same parameters", c.runs)
	}
}

func TestK1NobodyHasThePasswordOfAnUnknownUser(t *testing.T) {
	h := newHasher()
	h.run = func(_, _ []byte, _, _ uint32, _ uint8, n uint32) []byte { return make([]byte, n) }
	if h.nobody.matches(h.run, "") {
		t.Error("a hash of zeros matches the one that stands for nobody, want it to be random")
	}
	w := newWorld(t)
	a := w.node()
	a.hasher.run = func(_, _ []byte, _, _ uint32, _ uint8, _ uint32) []byte { return a.hasher.nobody.hash }
	_, err := a.Login(w.ctx, request(t, "nobody", "guessed"))
	wantCode(t, "Login of an unknown user whose stand-in hash matches", err, wire.LoginFailed)
}

func TestK1DisabledIsSaidOnlyToWhoKnowsThePassword(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	if err := a.DisableUser(w.ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	w.unchanged(func() {
		_, err := a.Login(w.ctx, request(t, "alice", "wrong"))
		wantCode(t, "Login with a wrong password", err, wire.LoginFailed)
		_, err = a.Login(w.ctx, request(t, "alice", password))
		wantCode(t, "Login with the password", err, wire.AccountDisabled)
	})
}

// An account may be disabled while its password is hashed: DisableUser does
// not see the session yet.
func TestK1SessionOfAnAccountDisabledMeanwhileIsRevoked(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	term := w.login(a, "alice")
	rec := w.open(a, term.session).Record
	u, err := w.store.User(w.ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	u.Disabled = true
	if err := w.store.UpdateUser(w.ctx, u); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "stillEnabled", a.stillEnabled(w.ctx, rec), wire.AccountDisabled)
	_, err = a.Open(w.ctx, term.session)
	wantCode(t, "Open", err, wire.AccountDisabled)
}

func TestK1LoginsOfAnAccountAreLimited(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.LoginPerMinute, c.Burst = 6, 3 })
	w.user("alice")
	w.user("bob")
	c := counted(a)
	for range 3 {
		_, err := a.Login(w.ctx, request(t, "alice", "wrong"))
		wantCode(t, "Login within the burst", err, wire.LoginFailed)
	}
	_, err := a.Login(w.ctx, request(t, "alice", password))
	wantCode(t, "Login past the burst", err, wire.RateLimited)
	var retry *RetryError
	if !errors.As(err, &retry) || retry.After != 10*time.Second {
		t.Errorf("Login past the burst = %v, want a RetryError of 10s", err)
	}
	if want := "rate_limited: too many logins of this account; try again in 10s"; err.Error() != want {
		t.Errorf("Login past the burst says %q, want %q", err, want)
	}
	if c.n() != 3 {
		t.Errorf("Argon2 ran %d times, want 3: not for the attempt past the burst", c.n())
	}
	w.login(a, "bob")
	for range waiting { // to whoever is past the limit it makes no difference how many wait
		a.hasher.places <- struct{}{}
	}
	_, err = a.Login(w.ctx, request(t, "alice", password))
	if !errors.As(err, &retry) || retry.After != 10*time.Second {
		t.Errorf("Login past the burst with all places taken = %v, want a RetryError of 10s", err)
	}
	for range waiting {
		<-a.hasher.places
	}
	w.clock.Advance(retry.After - time.Millisecond)
	_, err = a.Login(w.ctx, request(t, "alice", password))
	wantCode(t, "Login 1 ms too early", err, wire.RateLimited)
	w.clock.Advance(time.Millisecond)
	w.login(a, "alice")
}

func TestK1LimiterIsBounded(t *testing.T) {
	l := newLimiter(1, 1)
	now := newClock().Now()
	for i := range accounts + 1000 {
		l.take(strings.Repeat("x", i%100)+time.Duration(i).String(), now)
	}
	if n := l.full.Len(); n != accounts {
		t.Errorf("the limiter remembers %d accounts, want %d", n, accounts)
	}
	if l.wait("never seen", now); l.full.Len() != accounts || l.full.Contains(0) {
		t.Error("asking for the wait of an account has changed what the limiter remembers")
	}
}

func TestK1LimiterAtItsEdges(t *testing.T) {
	start := newClock().Now()
	for _, c := range []struct {
		name             string
		perMinute, burst int
		after            []time.Duration
		want             []time.Duration
	}{
		{"no limit", -1, 1, []time.Duration{0, 0, 0}, []time.Duration{0, 0, 0}},
		{"one", 1, 1, []time.Duration{0, 0, time.Minute}, []time.Duration{0, time.Minute, 0}},
		{"full again after long", 60, 2, []time.Duration{0, 0, 0, time.Hour, 0, 0}, []time.Duration{0, 0, time.Second, 0, 0, time.Second}},
		{"a burst past reason", 1, 1 << 62, []time.Duration{0, 0}, []time.Duration{0, 0}},
		{"a rate past reason", 1 << 62, 1, []time.Duration{0, 0}, []time.Duration{0, 0}},
	} {
		l, now := newLimiter(c.perMinute, c.burst), start
		for i := range c.after {
			now = now.Add(c.after[i])
			wait := l.wait("alice", now)
			if got := l.take("alice", now); got != c.want[i] || got != wait {
				t.Errorf("%s: attempt %d has to wait %s, and was told %s, want %s", c.name, i+1, got, wait, c.want[i])
			}
		}
	}
}

// A jam is a kdf that does not come back before it is let.
type jam struct {
	in, most atomic.Int32
	let      chan struct{}
}

func jammed(a *Auth) *jam {
	j := &jam{let: make(chan struct{})}
	a.hasher.run = func(_, _ []byte, _, _ uint32, _ uint8, n uint32) []byte {
		now := j.in.Add(1)
		defer j.in.Add(-1)
		for most := j.most.Load(); now > most && !j.most.CompareAndSwap(most, now); most = j.most.Load() {
		}
		<-j.let
		return make([]byte, n)
	}
	return j
}

func TestK1NoMoreThanTwoHashesAtOnce(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	j := jammed(a)
	var logins sync.WaitGroup
	for range 6 {
		logins.Go(func() {
			_, err := a.Login(w.ctx, request(t, "alice", "wrong"))
			wantCode(t, "Login", err, wire.LoginFailed)
		})
	}
	eventually(t, "two at work, six in all", func() bool { return j.in.Load() == hashing && len(a.hasher.places) == 6 })
	close(j.let)
	logins.Wait()
	if most := j.most.Load(); most != 2 {
		t.Errorf("%d hashes at once, want 2", most)
	}
	if p, s := len(a.hasher.places), len(a.hasher.slots); p != 0 || s != 0 {
		t.Errorf("%d places and %d slots are taken when all is done, want none", p, s)
	}
}

// Attempts that come while none is counted yet do not get past the limit.
func TestK1AttemptsAtOnceAreLimited(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.LoginPerMinute = 2 })
	for range hashing {
		a.hasher.slots <- struct{}{}
	}
	codes := make(chan wire.Code, 7)
	for range cap(codes) {
		r := request(t, "alice", "wrong")
		go func() {
			_, err := a.Login(w.ctx, r)
			var code wire.Code
			errors.As(err, &code)
			codes <- code
		}()
	}
	eventually(t, "all wait", func() bool { return len(a.hasher.places) == cap(codes) })
	for range hashing {
		<-a.hasher.slots
	}
	got := map[wire.Code]int{}
	for range cap(codes) {
		got[<-codes]++
	}
	if got[wire.LoginFailed] != 2 || got[wire.RateLimited] != 5 {
		t.Errorf("seven attempts at once ended in %v, want 2 %s and 5 %s", got, wire.LoginFailed, wire.RateLimited)
	}
}

func TestK1WaitingForAHashIsBoundedAndEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) { c.LoginPerMinute = 1 })
	j := jammed(a)
	ctx, cancel := context.WithCancel(w.ctx)
	var logins sync.WaitGroup
	for i := range waiting {
		r := request(t, "somebody "+time.Duration(i).String(), "wrong")
		logins.Go(func() {
			_, err := a.Login(ctx, r)
			if !errors.Is(err, context.Canceled) {
				wantCode(t, "Login at work", err, wire.LoginFailed)
				return
			}
			wantCode(t, "Login that waits", err, wire.RateLimited)
		})
	}
	eventually(t, "all places taken", func() bool { return len(a.hasher.places) == waiting && j.in.Load() == hashing })

	_, err := a.Login(w.ctx, request(t, "late", "wrong"))
	var retry *RetryError
	if wantCode(t, "Login with all places taken", err, wire.RateLimited); !errors.As(err, &retry) || retry.After <= 0 {
		t.Errorf("Login with all places taken = %v, want a RetryError with a delay", err)
	}
	cancel()
	eventually(t, "only those at work are left", func() bool { return len(a.hasher.places) == hashing })
	if n := a.limiter.full.Len(); n != hashing {
		t.Errorf("%d accounts have an attempt counted, want only the %d at work", n, hashing)
	}
	close(j.let)
	logins.Wait()
}

func TestK1NamesAreChecked(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	c := counted(a)
	good := request(t, "alice", password)
	for _, name := range []string{"", strings.Repeat("x", 129), "a\x00b", "a\nb", "a\x7fb", "a\u0085b", "a\u202eb", "a\u2028b", "\xff", "a\ufeffb"} {
		for _, set := range []func(*LoginRequest){
			func(r *LoginRequest) { r.User = name },
			func(r *LoginRequest) { r.Device = name },
			func(r *LoginRequest) { r.App = name },
		} {
			r := good
			set(&r)
			w.unchanged(func() {
				_, err := a.Login(w.ctx, r)
				wantCode(t, "Login with a name "+time.Duration(len(name)).String()+" long", err, wire.BadRequest)
			})
		}
		wantCode(t, "CreateUser", a.CreateUser(w.ctx, name, password), wire.BadRequest)
	}
	if c.n() != 0 {
		t.Errorf("Argon2 ran %d times for requests without sense, want 0", c.n())
	}
	for _, name := range []string{"a", strings.Repeat("x", 128), "Jürgen Müller", "電話", "<script>&\"'", "📱"} {
		if err := checkName("device", name); err != nil {
			t.Errorf("checkName(%q) = %v, want nil", name, err)
		}
	}
}

// The longest names there are, of the characters that JSON makes longest,
// still fit a session token.
func TestK1LongestNamesFit(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	name := strings.Repeat("<", maxName)
	w.user(name)
	s := w.open(a, w.loginAs(a, name, name, name).session)
	if s.Claims.User != name || s.Claims.Device != name || s.Claims.App != name {
		t.Errorf("Open: claims of %q, %q and %q, want the names of the login", s.Claims.User, s.Claims.Device, s.Claims.App)
	}
}

func TestK1MalformedRequestsAreRefused(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	w.user("alice")
	for name, set := range map[string]func(*LoginRequest){
		"no password":         func(r *LoginRequest) { r.Password = "" },
		"password of 1025":    func(r *LoginRequest) { r.Password = strings.Repeat("x", maxPassword+1) },
		"no key":              func(r *LoginRequest) { r.Key = "" },
		"key off the curve":   func(r *LoginRequest) { r.Key = strings.Repeat("A", 174) },
		"key with a line end": func(r *LoginRequest) { r.Key += "\n" },
	} {
		r := request(t, "alice", password)
		set(&r)
		w.unchanged(func() {
			_, err := a.Login(w.ctx, r)
			wantCode(t, name+": Login", err, wire.BadRequest)
		})
	}
}

func TestK1DamagedHashIsTheServersTrouble(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	if err := w.store.CreateUser(w.ctx, store.User{Name: "alice", Password: "$argon2id$v=19$m=999999999,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"}); err != nil {
		t.Fatal(err)
	}
	_, err := a.Login(w.ctx, request(t, "alice", password))
	var code wire.Code
	if err == nil || errors.As(err, &code) || !strings.Contains(err.Error(), `user "alice": password hash has parameters out of bounds`) {
		t.Errorf("Login = %v, want an error without a code that names the user and the trouble", err)
	}
}

func TestK1UsersAreMadeOnce(t *testing.T) {
	w := newWorld(t)
	a := w.node()
	if err := a.CreateUser(w.ctx, "alice", password); err != nil {
		t.Fatalf("CreateUser = %v, want nil", err)
	}
	w.unchanged(func() {
		if err := a.CreateUser(w.ctx, "alice", "another"); !errors.Is(err, store.ErrExists) {
			t.Errorf("CreateUser the second time = %v, want ErrExists", err)
		}
		wantCode(t, "CreateUser without a password", a.CreateUser(w.ctx, "bob", ""), wire.BadRequest)
		wantCode(t, "DisableUser of nobody", a.DisableUser(w.ctx, "nobody"), wire.NotFound)
	})
	w.login(a, "alice")
}
