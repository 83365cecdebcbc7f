package auth

import (
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
)

func TestHashPassword(t *testing.T) {
	text, err := HashPassword(password)
	if err != nil {
		t.Fatalf("HashPassword = %v, want a hash", err)
	}
	if !strings.HasPrefix(text, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("HashPassword = %q, want Argon2id with 19 MiB and two passes", text)
	}
	again, _ := HashPassword(password)
	if text == again {
		t.Errorf("HashPassword = %q twice, want another salt each time", text)
	}
	p, err := parsePHC(text)
	if err != nil {
		t.Fatalf("parsePHC(%q) = %v, want what was hashed", text, err)
	}
	if !p.matches(argon2.IDKey, password) || p.matches(argon2.IDKey, password+" ") {
		t.Error("the hash does not match its password, or matches another")
	}
	for _, bad := range []string{"", strings.Repeat("x", maxPassword+1)} {
		if text, err := HashPassword(bad); err == nil {
			t.Errorf("HashPassword of %d bytes = %q, want an error", len(bad), text)
		}
	}
}

// Printed by the reference implementation, github.com/P-H-C/phc-winner-argon2:
// echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e
func TestParsePHCOfTheReferenceImplementation(t *testing.T) {
	p, err := parsePHC("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil || !p.matches(argon2.IDKey, "password") {
		t.Errorf("parsePHC = %v, want the hash of %q", err, "password")
	}
}

func TestParsePHCRefuses(t *testing.T) {
	good := hashed()
	if _, err := parsePHC(good); err != nil {
		t.Fatalf("parsePHC(%q) = %v, want nil", good, err)
	}
	for _, c := range []struct{ from, to string }{
		{good, ""}, {good, "$"}, {good, password},
		{"argon2id", "argon2i"}, {"argon2id", "scrypt"}, {"v=19", "v=16"}, {"$v=19", ""},
		{"m=8", "m=7"}, {"m=8", "m=262145"}, {"m=8", "m=-8"}, {"m=8", "m=99999999999999999999"}, {"m=8", "x=8"},
		{"t=1", "t=0"}, {"t=1", "t=17"}, {"p=1", "p=0"}, {"p=1", "p=17"}, {"p=1", "p=257"}, {"p=1", "p=1,q=1"}, {"p=1", "p=1 "}, {",p=1", ""},
		{"c2FsdCBvZiBhIHRlc3Q", "c2FsdA"}, {"c2FsdCBvZiBhIHRlc3Q", "!"}, {"c2FsdCBvZiBhIHRlc3Q", strings.Repeat("AAAA", 22)},
		{good[strings.LastIndex(good, "$"):], "$"}, {good[strings.LastIndex(good, "$"):], "$AAAA"}, {good[strings.LastIndex(good, "$"):], "$" + strings.Repeat("AAAA", 22)},
	} {
		bad := strings.Replace(good, c.from, c.to, 1)
		if bad == good {
			t.Fatalf("%q is not in %q", c.from, good)
		}
		if p, err := parsePHC(bad); err == nil {
			t.Errorf("parsePHC(%q) = %v, want an error", bad, p)
		}
	}
}
