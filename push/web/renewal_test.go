package web_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// often has the page send heartbeats and renew its key whenever it can.
func often(f *wire.Confirmed) { f.HeartbeatMS, f.RenewMS = 50, 1 }

// renewal waits for one, and checks all of it.
func (t *terminal) renewal() (*wire.Heartbeat, keys.Public) {
	t.t.Helper()
	for {
		h := expect[*wire.Heartbeat](t)
		if h.Renewal == nil {
			if h.NewKey != "" || h.Offset != nil {
				t.t.Fatalf("heartbeat = %s, want its reserved fields empty", asJSON(h))
			}
			t.reply("")
			continue
		}
		newKey, err := keys.ParsePublic(h.NewKey)
		if err != nil {
			t.t.Fatalf("new_key: %v", err)
		}
		o, r := t.origin, h.Renewal
		own := time.Now().UnixMilli() - o.claims.STime
		near := *h.Offset > own-2000 && *h.Offset < own+2000
		if r.Session != o.session || r.Epoch != o.claims.Epoch+1 || !bytes.Equal(r.Nonce, t.nonce) || !near {
			t.t.Fatalf("renewal = %s, want the session, epoch %d, nonce %s and an offset of about %d",
				asJSON(h), o.claims.Epoch+1, b64(t.nonce), own)
		}
		if !keys.VerifyRenewal(o.client, newKey, r.Session, *h.Offset, r.Epoch, r.Nonce, r.OldSignature, r.NewSignature) {
			t.t.Fatalf("renewal = %s, want the signatures of both keys", asJSON(h))
		}
		return h, newKey
	}
}

// reply answers a heartbeat, with a new session after a renewal.
func (t *terminal) reply(session string, key ...*wire.Key) {
	t.t.Helper()
	t.nonce = random(16)
	claims := &t.origin.claims
	r := &wire.HeartbeatReply{
		Time: time.Now().UnixMilli(), STime: claims.STime, Epoch: claims.Epoch, Nonce: t.nonce, Session: session,
	}
	if len(key) > 0 {
		r.ServerKey = key[0]
	}
	t.send(r)
}

func TestK3K6ThePageRenewsItsKeyAndUsesItFromThenOn(t *testing.T) {
	o, p, c := signedIn(t, often)
	for range 3 {
		_, newKey := c.renewal()
		c.reply(o.renew(newKey))
	}
	p.until("keyhole.status.renewals >= 3 && keyhole.status.epoch >= 3")
	sealed, err := o.client.Seal("keyhole-push.v1 message", []byte("to the new key"))
	if err != nil {
		t.Fatal(err)
	}
	c.conn.CloseNow()
	c = o.next()
	c.greet()
	if !c.confirm(nil) { // a fourth renewal was on its way, and the page tries its key first
		c.send(&wire.Error{Code: wire.ProofInvalid, Message: "as the test has it", Fatal: true})
		c = o.next()
		c.greet()
		if !c.confirm(nil) {
			t.Fatal("the page did not prove the key of the third renewal")
		}
	}
	expect[*wire.Listen](c)
	m := message(1, "a", "")
	m.Data, m.Encryption = sealed, "hpke"
	c.send(m)
	c.acked(1)
}

func TestK4ThePageGoesOnAfterARenewalIsRefused(t *testing.T) {
	o, _, c := signedIn(t, often)
	_, first := c.renewal()
	c.send(&wire.Error{Code: wire.OffsetOutOfRange, Message: "as the test has it"})
	if h := expect[*wire.Heartbeat](c); h.Renewal != nil {
		t.Fatalf("heartbeat = %s, want a plain one: the nonce was used", asJSON(h))
	}
	c.reply("")
	_, second := c.renewal()
	if first != second {
		t.Errorf("the second renewal has the key %s, want that of the first, %s: the server may yet take it", second.KID(), first.KID())
	}
	c.reply(o.renew(second))
	c.renewal()
}

// TestK3NothingIsLostWithTheReplyToARenewal: the server has either key, and the page finds out which.
func TestK3NothingIsLostWithTheReplyToARenewal(t *testing.T) {
	for name, taken := range map[string]bool{"the server took the key": true, "the server did not": false} {
		t.Run(name, func(t *testing.T) {
			o, p, c := signedIn(t, often)
			_, newKey := c.renewal()
			session := ""
			if taken {
				session = o.renew(newKey)
			}
			p.run(chromedp.Reload()) // and the reply is lost; the keys are kept, also the one that was sent
			c = o.next()
			c.greet()
			proved := c.confirm(func(f *wire.Confirmed) { f.Session = session })
			if proved != taken {
				t.Fatalf("the page proved the new key: %v, and the server has it: %v", !proved, taken)
			}
			if !taken {
				c.send(&wire.Error{Code: wire.ProofInvalid, Message: "as the test has it", Fatal: true})
				c = o.next()
				c.greet()
				if !c.confirm(nil) {
					t.Fatal("the page did not prove the old key the second time")
				}
			}
			expect[*wire.Listen](c)
			c.conn.CloseNow()
			o.next().listen(nil)
			p.phase("listening", "")
		})
	}
}

func TestK5ThePageFollowsTheServersKey(t *testing.T) {
	o, p, c := signedIn(t, func(f *wire.Confirmed) { f.HeartbeatMS = 50 })
	o.mu.Lock()
	ring, err := o.ring.Rotated(time.Now(), time.Hour, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	o.ring = ring
	o.renewLocked(o.client) // under the new key
	session := o.session
	o.mu.Unlock()
	k := ring.Current()
	next := &wire.Key{Public: k.Private.Public().String(), Previous: k.Previous.String(), Signature: k.Signature}
	expect[*wire.Heartbeat](c)
	c.reply("", next)
	expect[*wire.Heartbeat](c)
	c.conn.CloseNow()
	c = o.next()
	c.listen(func(f *wire.Confirmed) { f.Session = session })
	c.conn.CloseNow()
	c = o.next()
	c.listen(nil)
	p.phase("listening", "")
	if c.hello.Session != session {
		t.Error("the page did not take the session that is sealed to the new server key")
	}
	c.conn.CloseNow()

	forged := newKey(t)
	c = o.next()
	c.greet()
	c.confirm(func(f *wire.Confirmed) {
		f.ServerKey = &wire.Key{Public: forged.Public().String(), Previous: k.ID().String(), Signature: make([]byte, 64)}
	})
	if got := c.closed(); got != string(wire.ServerProofInvalid) {
		t.Errorf("the page ended the connection with reason %q, want %q", got, wire.ServerProofInvalid)
	}
}
