package keys

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func rotated(t testing.TB, r *Ring, now time.Time, lifetime time.Duration) *Ring {
	t.Helper()
	next, err := r.Rotated(now, day, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestK5OldKeysOpenForTheirLifetime(t *testing.T) {
	const lifetime = 3 * day
	r := newTestRing(t)
	first := seal(t, r, testClaims())
	retired := start.Add(day)
	r = rotated(t, r, retired, lifetime)
	for now := retired.Add(day); !now.After(retired.Add(lifetime)); now = now.Add(day) {
		r = rotated(t, r, now, lifetime)
		if c, by, err := r.Open(first); err != nil || c != testClaims() || by != &r.Keys[0] {
			t.Errorf("%s after its key was retired: Open = %+v, %v, want the claims", now.Sub(retired), c, err)
		}
	}
	r = rotated(t, r, retired.Add(lifetime+1), lifetime)
	if _, _, err := r.Open(first); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("past its lifetime: Open = %v, want %v", err, ErrUnknownKey)
	}
	if n := len(r.Keys); n != 5 { // retired 3, 2 and 1 days ago, now, and the current one
		t.Errorf("the ring has %d keys, want 5", n)
	}
}

func TestK5RotatedMakesANewRing(t *testing.T) {
	r := newTestRing(t)
	before := *r
	key := r.Keys[0]
	now := start.Add(day + time.Minute)
	next := rotated(t, r, now, month)
	if !reflect.DeepEqual(*r, before) || !reflect.DeepEqual(r.Keys[0], key) {
		t.Errorf("Rotated changed its ring to %+v, want %+v", *r, before)
	}
	if len(next.Keys) != 2 || next.Current() != &next.Keys[1] || next.Find(key.ID()) != &next.Keys[0] {
		t.Fatalf("the new ring has %d keys, want the old one and then a current one", len(next.Keys))
	}
	if got := next.Keys[0].Retired; !got.Equal(now) {
		t.Errorf("the old key was retired at %s, want %s", got, now)
	}
	if c := next.Current(); !c.Retired.IsZero() || !c.Created.Equal(now) || c.ID() == key.ID() || c.MAC == key.MAC {
		t.Errorf("current key %s, created %s, retired %s: want one of its own, made now and not retired", c.ID(), c.Created, c.Retired)
	}
	if next.Find(KID{}) != nil {
		t.Errorf("Find of an unknown id = %v, want nil", next.Find(KID{}))
	}
}

// TestK5DeadlineIsCountedFromNow: after a month switched off, one rotation is
// due and not thirty.
func TestK5DeadlineIsCountedFromNow(t *testing.T) {
	r := newTestRing(t)
	if want := start.Add(day); !r.Rotate.Equal(want) {
		t.Errorf("a new ring is due at %s, want %s", r.Rotate, want)
	}
	now := start.Add(month)
	if r = rotated(t, r, now, month); !r.Rotate.Equal(now.Add(day)) {
		t.Errorf("a rotated ring is due at %s, want %s", r.Rotate, now.Add(day))
	}
}

func TestK5DeadlineSurvivesTheStore(t *testing.T) {
	r := newTestRing(t)
	r = rotated(t, rotated(t, r, start.Add(day), month), start.Add(2*day), month)
	session := seal(t, r, testClaims())
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	got := &Ring{}
	if err := json.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	if got.Rotate != r.Rotate {
		t.Errorf("the deadline is %s, want %s", got.Rotate, r.Rotate)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("the ring is %s, want %s", must(t, got), b)
	}
	if c, _, err := got.Open(session); err != nil || c != testClaims() {
		t.Errorf("Open = %+v, %v, want the claims", c, err)
	}
}

// The monotonic clock is of one process: kept, a deadline would differ from
// itself as stored.
func TestK5DeadlineHasNoMonotonicClock(t *testing.T) {
	r, err := NewRing(time.Now(), day)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{r.Rotate, r.Current().Created, rotated(t, r, time.Now(), month).Keys[0].Retired} {
		if strings.Contains(at.String(), "m=") || at.Location() != time.UTC {
			t.Errorf("time is %s, want UTC without a monotonic clock", at)
		}
	}
}

func must(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestK5ServerKeysAreAChain walks from a key that a client knows to the
// current one, as a client does.
func TestK5ServerKeysAreAChain(t *testing.T) {
	r := newTestRing(t)
	if first := r.Current(); first.Signature != nil || first.Previous != (KID{}) {
		t.Errorf("the first key is signed %x by %s, want neither", first.Signature, first.Previous)
	}
	for i := range 3 {
		r = rotated(t, r, start.Add(time.Duration(i+1)*day), month)
	}
	for i := range r.Keys[1:] {
		known, next := r.Keys[i].Private.Public(), &r.Keys[i+1]
		public := next.Private.Public()
		if next.Previous != known.KID() || !known.VerifyServerKey(public, next.Signature) {
			t.Errorf("key %d names %s and is not signed by it, want %s", i+1, next.Previous, known.KID())
		}
		if !known.Verify(next.Signature, "keyhole-push.v1 server key", public.Bytes()) {
			t.Errorf("the signature of key %d is not over its 130 bytes", i+1)
		}
		if known.VerifyServerKey(known, next.Signature) || public.VerifyServerKey(public, next.Signature) {
			t.Errorf("the signature of key %d holds for another key", i+1)
		}
	}
	if first := r.Keys[0].Private.Public(); first.VerifyServerKey(r.Keys[2].Private.Public(), r.Keys[2].Signature) {
		t.Error("the third key is signed by the first, want by the second alone")
	}
}

func TestRingRefusesAPeriodOfNothing(t *testing.T) {
	for _, period := range []time.Duration{0, -time.Second} {
		if _, err := NewRing(start, period); err == nil {
			t.Errorf("NewRing every %s: no error, want one", period)
		}
		if _, err := newTestRing(t).Rotated(start, period, month); err == nil {
			t.Errorf("Rotated every %s: no error, want one", period)
		}
	}
	if _, err := (&Ring{}).Rotated(start, day, month); err == nil {
		t.Error("Rotated of an empty ring: no error, want one")
	}
}

func TestStoredRingThatIsNotWholeIsRefused(t *testing.T) {
	r := rotated(t, newTestRing(t), start.Add(day), month)
	other := rotated(t, newTestRing(t), start.Add(day), month)
	stored := func(edit func(*storedRing)) string {
		var s storedRing
		if err := json.Unmarshal(must(t, r), &s); err != nil {
			t.Fatal(err)
		}
		edit(&s)
		return string(must(t, s))
	}
	if err := json.Unmarshal([]byte(stored(func(*storedRing) {})), &Ring{}); err != nil {
		t.Fatalf("unchanged: Unmarshal = %v, want the ring", err)
	}
	for name, b := range map[string]string{
		"an array":            `[]`,
		"an empty object":     `{}`,
		"no keys":             stored(func(s *storedRing) { s.Keys = nil }),
		"no deadline":         stored(func(s *storedRing) { s.Rotate = time.Time{} }),
		"a short key":         stored(func(s *storedRing) { s.Keys[0].Private = s.Keys[0].Private[:63] }),
		"a short MAC key":     stored(func(s *storedRing) { s.Keys[0].MAC = s.Keys[0].MAC[:31] }),
		"a long MAC key":      stored(func(s *storedRing) { s.Keys[0].MAC = append(s.Keys[0].MAC, 0) }),
		"another's signature": stored(func(s *storedRing) { s.Keys[1].Signature = other.Keys[1].Signature }),
		"another key":         stored(func(s *storedRing) { s.Keys[1].Private = other.Keys[1].Private.Bytes() }),
		"another predecessor": stored(func(s *storedRing) { s.Keys[1].Previous = other.Keys[0].ID() }),
		"keys in wrong order": stored(func(s *storedRing) { s.Keys[0], s.Keys[1] = s.Keys[1], s.Keys[0] }),
		"two current keys":    stored(func(s *storedRing) { s.Keys[0].Retired = time.Time{} }),
		"no current key":      stored(func(s *storedRing) { s.Keys[1].Retired = start }),
		"a short key id":      strings.Replace(stored(func(*storedRing) {}), `"previous":"`, `"previous":"00`, 1),
	} {
		got := Ring{Rotate: start}
		if err := json.Unmarshal([]byte(b), &got); err == nil || len(got.Keys) > 0 || got.Rotate != start {
			t.Errorf("%s: Unmarshal = %v and a ring of %d keys, want an error and nothing changed", name, err, len(got.Keys))
		}
	}
}
