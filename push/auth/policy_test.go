package auth

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"keyhole/push/store"
)

// aPoint is the base point of P-256 (NIST SP 800-186, section 3.2.1.3).
const aPoint = "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"

func TestPolicy(t *testing.T) {
	w := newWorld(t)
	a := w.node(func(c *Config) {
		c.Apps = map[string]AppPolicy{"web": {Binding: Waived}, "*": {Encrypt: true}, "shop": {VAPID: Required, VAPIDKeys: []string{aPoint}}}
	})
	bare := w.node()
	for _, c := range []struct {
		a    *Auth
		app  string
		want AppPolicy
	}{
		{a, "web", AppPolicy{Binding: Waived, VAPID: Optional}},
		{a, "shop", AppPolicy{Binding: Required, VAPID: Required, VAPIDKeys: []string{aPoint}}},
		{a, "other", AppPolicy{Binding: Required, Encrypt: true, VAPID: Optional}},
		{bare, "other", AppPolicy{Binding: Required, VAPID: Optional}},
		{bare, "", AppPolicy{Binding: Required, VAPID: Optional}},
	} {
		if got := c.a.Policy(c.app); !reflect.DeepEqual(got, c.want) {
			t.Errorf("Policy(%q) = %+v, want %+v", c.app, got, c.want)
		}
	}
}

func TestNewRefusesWhatMakesNoSense(t *testing.T) {
	w := newWorld(t)
	one := func(p AppPolicy) func(*Config) {
		return func(c *Config) { c.Apps = map[string]AppPolicy{"shop": p} }
	}
	for _, c := range []struct {
		set  func(*Config)
		want string
	}{
		{func(c *Config) { c.Store = nil }, "auth: config has no Store"},
		{func(c *Config) { c.RotateEvery = -1 }, "RotateEvery is -1ns, want a positive duration"},
		{func(c *Config) { c.SessionLife = -time.Hour }, "SessionLife is -1h0m0s"},
		{func(c *Config) { c.OffsetThreshold = -1 }, "OffsetThreshold"},
		{func(c *Config) { c.RenewAfter = -1 }, "RenewAfter"},
		{func(c *Config) { c.TokenIdle = -1 }, "TokenIdle"},
		{one(AppPolicy{Binding: "waved"}), `app "shop": binding is "waved", want "required" or "waived"`},
		{one(AppPolicy{VAPID: "yes"}), `app "shop": vapid is "yes", want "optional" or "required"`},
		{one(AppPolicy{VAPIDKeys: []string{"BAAA"}}), `app "shop": vapid key "BAAA": `},
		{one(AppPolicy{VAPIDKeys: []string{aPoint[:86] + "="}}), "want base64url"},
		{one(AppPolicy{VAPIDKeys: []string{aPoint[:86] + "V"}}), "want base64url"},
	} {
		cfg := Config{Store: w.store}
		c.set(&cfg)
		if a, err := New(w.ctx, cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("New = %v, %v, want an error with %q", a, err, c.want)
		}
	}
	if _, _, err := w.store.LoadRing(w.ctx); err != store.ErrNotFound && !strings.Contains(err.Error(), store.ErrNotFound.Error()) {
		t.Errorf("LoadRing after the refusals = %v, want ErrNotFound: nothing was made", err)
	}
}
