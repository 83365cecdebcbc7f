package auth

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"keyhole/push/store"
	"keyhole/push/wire"
)

func TestPublisher(t *testing.T) {
	w := newWorld(t)
	a, b := w.node(), w.node()
	key, err := a.CreatePublisher(w.ctx, "shop", []string{"mail", "chat"})
	if err != nil || !regexp.MustCompile(`^pk_[A-Za-z0-9_-]{43}$`).MatchString(key) {
		t.Fatalf("CreatePublisher = %q, %v, want pk_ and 256 bits", key, err)
	}
	p, err := b.Publisher(w.ctx, key)
	if err != nil || p.Name != "shop" || !reflect.DeepEqual(p.Apps, []string{"mail", "chat"}) || p.Hash != store.TokenHash(key) {
		t.Errorf("Publisher = %+v, %v, want the one that was made", p, err)
	}
	w.unchanged(func() {
		for _, bad := range []string{"", "pk_", key[3:], key + "A", strings.ToUpper(key), p.Hash} {
			_, err := a.Publisher(w.ctx, bad)
			wantCode(t, "Publisher of a wrong key", err, wire.Unauthorized)
		}
		if _, err := a.CreatePublisher(w.ctx, "shop", nil); !errors.Is(err, store.ErrExists) {
			t.Errorf("CreatePublisher the second time = %v, want ErrExists", err)
		}
		_, err := a.CreatePublisher(w.ctx, "a\nb", nil)
		wantCode(t, "CreatePublisher of a name with a line end", err, wire.BadRequest)
		_, err = a.CreatePublisher(w.ctx, "ok", []string{"mail", ""})
		wantCode(t, "CreatePublisher for an app without a name", err, wire.BadRequest)
	})
	if err := w.store.RevokePublisher(w.ctx, "shop"); err != nil {
		t.Fatal(err)
	}
	_, err = b.Publisher(w.ctx, key)
	wantCode(t, "Publisher of a revoked key", err, wire.Unauthorized)
}
