package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"keyhole/push/client"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// K1: name and password get a session token, the server's public key and its time; nothing else does.
func TestK1PasswordGetsSessionKeyAndTime(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	h := s.stranger("alice", "phone", "news")
	before := time.Now().UnixMilli()
	if err := h.login(pushPassword); err != nil {
		t.Fatal(err)
	}
	if h.sTime < before || h.sTime > time.Now().UnixMilli() {
		t.Errorf("s_time is %d, want the server's time, from %d on", h.sTime, before)
	}
	kid, err := keys.SessionKey(h.session)
	if err != nil || kid != h.server.KID() {
		t.Errorf("the session is sealed to key %s, %v, want %s, which came with it", kid, err, h.server.KID())
	}
	wrong, unknown := h.login("not it"), s.stranger("mallory", "phone", "news").login(pushPassword)
	if !isCode(wrong, wire.LoginFailed) || !isCode(unknown, wire.LoginFailed) || wrong.Error() != unknown.Error() {
		t.Errorf("a wrong password is answered %v, an unknown user %v, want the same %s", wrong, unknown, wire.LoginFailed)
	}
}

// K2: the session token stands for the password, and only a server can have made it.
func TestK2SessionTokenStandsForThePassword(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	c := s.config("alice", "phone", "news")
	profile := newMemory()
	c.Profile = profile
	p := s.phone(c)
	p.until(client.Listening)
	p.hangUp()
	logins := s.node.metric(`pushd_logins_total{result="ok"}`)
	s.node.Stop()
	s.node.start()
	c.Password = ""
	s.phone(c).until(client.Listening)
	if got := s.node.metric(`pushd_logins_total{result="ok"}`); logins != "1" || got != "" && got != "0" {
		t.Errorf("%s logins with the password and %s without, want 1 and none", logins, got)
	}

	h := s.handset("alice", "tablet", "news")
	sealed, err := base64.RawURLEncoding.DecodeString(h.session)
	if err != nil || bytes.Contains(sealed, []byte("alice")) {
		t.Errorf("session %q (%v) shows its user, want it sealed", h.session, err)
	}
	// Anyone can seal to a public key, but not make the MAC that is inside.
	claims, _ := json.Marshal(map[string]any{
		"user": "alice", "s_time": h.sTime, "device": "tablet", "app": "news", "id": "1", "epoch": 0,
		"exp": time.Now().Add(time.Hour).UnixMilli(), "cnf": base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
	})
	kid := h.server.KID()
	body, err := h.server.Seal("keyhole-push.v1 session", append(claims, make([]byte, 32)...))
	if err != nil {
		t.Fatal(err)
	}
	honest := h.session
	tampered := bytes.Clone(sealed)
	tampered[len(tampered)-1] ^= 1
	for name, forged := range map[string][]byte{
		"sealed by anybody":   append(kid[:], body...),
		"changed by a bit":    tampered,
		"of another key":      append(make([]byte, 8), sealed[8:]...),
		"cut":                 sealed[:len(sealed)-1],
		"the claims in clear": append(kid[:], claims...),
	} {
		h.session = base64.RawURLEncoding.EncodeToString(forged)
		if _, err := h.tokenOf("alice", "tablet", "news"); !isCode(err, wire.SessionInvalid) {
			t.Errorf("a session %s is answered %v, want %s", name, err, wire.SessionInvalid)
		}
	}
	// Whoever has stolen the token has not the key that it is bound to.
	h.session, h.key = honest, newClientKey(t)
	h.dial()
	h.send(h.hello())
	h.challenged()
	h.send(h.confirm())
	h.wantEnd(wire.ProofInvalid)
}

// A memory is a profile that a test can look into.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func newMemory() *memory { return &memory{} }

func (m *memory) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b, nil
}

func (m *memory) Save(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.b = bytes.Clone(b)
	return nil
}

// session and servers are what the profile has of them.
func (m *memory) read(t *testing.T) (session string, servers []string) {
	t.Helper()
	b, _ := m.Load()
	var record struct {
		Session string
		Servers []string
	}
	if err := json.Unmarshal(b, &record); err != nil {
		t.Fatal(err)
	}
	return record.Session, record.Servers
}

// K3: two fields of the client's heartbeats are reserved for the renewal, and empty in all others.
func TestK3ReservedFieldsAreEmptyExceptWhenRenewing(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {web: {binding: waived}}", "heartbeat: 300ms", "keys: {renew: 1s}")
	s.node.user("alice")
	m := s.middleman(nil)
	c := s.config("alice", "phone", "web")
	c.Dial, c.Binding = m.dial, wire.BindingNone
	s.phone(c).until(client.Renewed)
	sTime := frames[*wire.Confirmed](m, 1)[0].STime
	plain, renewing := 0, 0
	for _, b := range frames[*wire.Heartbeat](m, 2) {
		offset := b.Sent - sTime
		switch {
		case b.NewKey == "" && b.Offset == nil && b.Renewal == nil:
			plain++
		case b.NewKey == "" || b.Offset == nil || b.Renewal == nil:
			t.Errorf("heartbeat %+v has some of the fields, want all or none", b)
		default:
			renewing++
			if *b.Offset < 1000 || *b.Offset < offset-1000 || *b.Offset > offset+1000 {
				t.Errorf("the offset is %d ms, want about %d, and 1,000 or more", *b.Offset, offset)
			}
		}
	}
	if plain == 0 || renewing == 0 {
		t.Errorf("%d plain heartbeats and %d that renew, want both", plain, renewing)
	}

	h := s.handset("alice", "tablet", "news")
	for name, cut := range map[string]func(*wire.Heartbeat){
		"the key":       func(b *wire.Heartbeat) { b.NewKey = "" },
		"the offset":    func(b *wire.Heartbeat) { b.Offset = nil },
		"the signature": func(b *wire.Heartbeat) { b.Renewal = nil },
	} {
		last := h.verify()
		b := h.renewal(newClientKey(t), last.STime, last.Epoch, last.Nonce)
		cut(b)
		h.send(b)
		t.Log("without", name)
		h.wantRefusal(wire.RenewalIncomplete)
	}
	h.verify() // with the key that it had
}

// K4: the server replaces the client's key only when everything about the renewal holds, and then from the next
// message on.
func TestK4RenewalIsCheckedBeforeTheKeyIsReplaced(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "keys: {offset: 5s}")
	s.node.user("alice")
	h, other := s.handset("alice", "phone", "news"), s.handset("alice", "tablet", "news")
	last := h.verify()
	next, thief := newClientKey(t), newClientKey(t)
	now := time.Now().UnixMilli()
	seconds := func(n int64) int64 { return now - last.STime + n*1000 }
	stolen := *h
	stolen.key = thief
	late := func(offset int64) func([]byte) *wire.Heartbeat {
		return func(nonce []byte) *wire.Heartbeat { return h.renewalAt(next, now, offset, last.Epoch, nonce) }
	}
	for _, c := range []struct {
		name string
		code wire.Code
		make func(nonce []byte) *wire.Heartbeat
	}{
		{"an offset far ahead", wire.OffsetOutOfRange, late(seconds(3600))},
		{"an offset far behind", wire.OffsetOutOfRange, late(seconds(-3600))},
		{"the most negative offset", wire.OffsetOutOfRange, late(-1 << 63)},
		{"another nonce", wire.NonceInvalid, func([]byte) *wire.Heartbeat { return h.renewal(next, last.STime, last.Epoch, make([]byte, 16)) }},
		{"the epoch after the next", wire.EpochInvalid, func(n []byte) *wire.Heartbeat { return h.renewal(next, last.STime, last.Epoch+1, n) }},
		{"a stolen session without the old key", wire.RenewalSignatureInvalid, func(n []byte) *wire.Heartbeat { return stolen.renewal(next, last.STime, last.Epoch, n) }},
		{"another's new key", wire.RenewalSignatureInvalid, func(n []byte) *wire.Heartbeat {
			b := h.renewal(next, last.STime, last.Epoch, n)
			b.NewKey = thief.Public().String()
			return b
		}},
		{"another's session", wire.RenewalUserMismatch, func(n []byte) *wire.Heartbeat {
			b := h.renewal(next, last.STime, last.Epoch, n)
			b.Renewal.Session = other.session
			return b
		}},
	} {
		h.send(c.make(h.beat().Nonce))
		t.Log(c.name)
		h.wantRefusal(c.code)
		if reply := h.beat(); reply.Epoch != last.Epoch || reply.Session != "" || reply.STime != last.STime {
			t.Fatalf("after %s the reply is %+v, want epoch %d and s_time %d as before", c.name, reply, last.Epoch, last.STime)
		}
	}
	nonce := h.beat().Nonce
	h.verify() // the key is what it was
	h.send(h.renewal(next, last.STime, last.Epoch, nonce))
	h.wantRefusal(wire.NonceInvalid) // of another connection

	renewal := h.renewal(next, last.STime, last.Epoch, h.beat().Nonce)
	h.send(renewal)
	reply := want[*wire.HeartbeatReply](h)
	if reply.Epoch != last.Epoch+1 || reply.Session == "" || reply.STime <= last.STime {
		t.Fatalf("the renewal is answered %+v, want epoch %d, a session and another s_time", reply, last.Epoch+1)
	}
	h.send(renewal)
	h.wantEnd(wire.SessionStale) // once is enough
	old := *h
	old.line = nil
	t.Cleanup(old.hangUp)
	if _, err := old.tokenOf("alice", "phone", "news"); !isCode(err, wire.ProofInvalid) {
		t.Errorf("a request with the old session by the old key: %v, want %s", err, wire.ProofInvalid)
	}
	h.key = next
	if _, err := h.tokenOf("alice", "phone", "news"); !isCode(err, wire.SessionStale) {
		t.Errorf("a request with the old session by the new key: %v, want %s", err, wire.SessionStale)
	}
	old.session = reply.Session
	old.dial()
	old.send(old.hello())
	old.challenged()
	old.send(old.confirm())
	old.wantEnd(wire.ProofInvalid)
	h.session = reply.Session
	h.verify()
	if got := s.node.metric("pushd_renewals_total"); got != "1" {
		t.Errorf("pushd_renewals_total = %s, want 1", got)
	}
}

// K5: the server renews its key when the deadline that is stored has come, whatever was restarted meanwhile, hands the
// new one out with a heartbeat's reply, and the old one goes on opening tokens.
func TestK5ServerRenewsItsKeyByAStoredDeadline(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "keys: {rotate: 4s}")
	s.node.user("alice")
	c := s.config("alice", "tablet", "news")
	profile := newMemory()
	c.Profile = profile
	p := s.phone(c)
	p.until(client.Listening)
	p.hangUp()

	// With a period of an hour a deadline that starts anew would be far away.
	s.node.Terminate()
	s.node.options = strings.Replace(s.node.options, "4s", "1h", 1)
	s.node.start()
	h := s.handset("alice", "phone", "news")
	h.verify()
	var handed *wire.Key
	if !eventually(t, func() bool { handed = h.beat().ServerKey; return handed != nil }) {
		t.Fatal("no heartbeat's reply has a new server key")
	}
	public, err := keys.ParsePublic(handed.Public)
	if err != nil {
		t.Fatal(err)
	}
	if handed.Previous != h.server.KID().String() || !h.server.VerifyServerKey(public, handed.Signature) {
		t.Errorf("the new key is %+v, want it signed by the one before, %s", handed, h.server.KID())
	}
	if again := h.beat().ServerKey; again != nil {
		t.Errorf("the key is handed out once more: %+v", again)
	}

	// The old key goes on opening tokens, and what it opened is replaced by what is sealed to the new one.
	if _, err := h.tokenOf("alice", "phone", "news"); err != nil {
		t.Errorf("the session that is sealed to the old key is answered %v", err)
	}
	before, _ := profile.read(t)
	c.Password = ""
	s.phone(c).until(client.Listening)
	after, servers := profile.read(t)
	if kid, err := keys.SessionKey(after); err != nil || kid != public.KID() || after == before {
		t.Errorf("the session is sealed to %s, %v, want %s, the new key", kid, err, public.KID())
	}
	if len(servers) != 2 || servers[1] != handed.Public {
		t.Errorf("the client keeps the server keys %q, want the old one and %q", servers, handed.Public)
	}
	if err := s.stranger("alice", "watch", "news").login(pushPassword); err != nil {
		t.Error(err)
	}
}

// K6: the client renews when its offset has grown by so much, which the server says and the app may set.
func TestK6ClientRenewsByTheGrowthOfItsOffset(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "heartbeat: 250ms", "keys: {renew: 1s}")
	s.node.user("alice")
	began := time.Now()
	p := s.phone(s.config("alice", "phone", "news"))
	p.until(client.Renewed)
	if grown := time.Since(began); grown < 900*time.Millisecond { // a little less, since it can only estimate the server's clock
		t.Errorf("the key is renewed %s after the login, want 1s", grown)
	}
	p.until(client.Renewed)
	p.hangUp()

	// An app that wants it less often keeps its key: the one beside it, which renews three times, shows that there was
	// time.
	seldom, often := s.config("alice", "tablet", "news"), s.config("alice", "watch", "news")
	seldom.RenewEvery, often.RenewEvery = time.Hour, 500*time.Millisecond
	quiet := s.phone(seldom)
	quiet.until(client.Listening)
	busy := s.phone(often)
	for range 3 {
		busy.until(client.Renewed)
	}
	quiet.hangUp()
	for range len(quiet.statuses) {
		if st := <-quiet.statuses; st.Phase == client.Renewed {
			t.Error("the key is renewed, want it after an hour")
		}
	}
	key := s.node.publisher("newsroom")
	s.publish(key, client.Publication{Token: busy.Token(), Data: []byte("after three keys")})
	busy.expect("after three keys")
}

// K7: each side keeps the other's key and uses it: the client checks what claims to be the server, and what the app
// asks to have encrypted nobody in between can read.
func TestK7KeysCheckSignaturesAndEncryptPayloads(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t, "apps: {bank: {encrypt: true, binding: waived}}", "heartbeat: 1s", "keys: {renew: 1s}")
	s.node.user("alice")
	key := s.node.publisher("teller")
	m := s.middleman(nil)
	c := s.config("alice", "phone", "bank")
	c.Dial, c.Binding, c.State = m.dial, wire.BindingNone, map[string]string{"branch": "harbour-street"}
	p := s.phone(c)
	p.until(client.Listening)
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("your balance"), Condition: "branch=harbour-street"})
	p.expect("your balance")
	p.until(client.Renewed)
	s.publish(key, client.Publication{Token: p.Token(), Data: []byte("your new balance")})
	p.expect("your new balance")
	for _, f := range frames[*wire.Message](m, 2) {
		if f.Encryption != "hpke" || bytes.Contains(f.Data, []byte("balance")) {
			t.Errorf("message %+v, want it sealed by hpke", f)
		}
	}
	if m.overheard("harbour-street") || m.overheard("balance") {
		t.Error("the middleman has read the state or a payload")
	}
	h := s.handset("alice", "tablet", "bank")
	h.listen(nil)
	h.send(&wire.State{Set: map[string]string{"branch": "harbour-street"}})
	h.wantRefusal(wire.EncryptionRequired)

	// A key that the one before has not signed is not the server's.
	forged, err := keys.Generate()
	if err != nil {
		t.Fatal(err)
	}
	forger := s.middleman(func(f wire.Frame) {
		if r, ok := f.(*wire.HeartbeatReply); ok {
			r.ServerKey = &wire.Key{Public: forged.Public().String(), Previous: h.server.KID().String(), Signature: make([]byte, 64)}
		}
	})
	c.Device, c.Dial = "watch", forger.dial
	if w := s.phone(c).until(client.Waiting); !isCode(w.Err, wire.ServerProofInvalid) {
		t.Errorf("with a server key of somebody else's the connection ends with %v, want %s", w.Err, wire.ServerProofInvalid)
	}
}
