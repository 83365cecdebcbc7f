package keys

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// A renewal is the arguments of VerifyRenewal.
type renewal struct {
	old, new       Public
	session        string
	offset         int64
	epoch          uint64
	nonce          []byte
	oldSig, newSig []byte
}

func (r renewal) verify() bool {
	return VerifyRenewal(r.old, r.new, r.session, r.offset, r.epoch, r.nonce, r.oldSig, r.newSig)
}

func newRenewal(t *testing.T, old, new *Private) renewal {
	t.Helper()
	r := renewal{old: old.Public(), new: new.Public(), session: "session", offset: -1500, epoch: 7, nonce: []byte("nonce")}
	var err error
	if r.oldSig, r.newSig, err = SignRenewal(old, new, r.session, r.offset, r.epoch, r.nonce); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestK4RenewalSignaturesBindEachField(t *testing.T) {
	old, new := generate(t), generate(t)
	if r := newRenewal(t, old, new); !r.verify() {
		t.Fatalf("VerifyRenewal(%+v) = false, want true", r)
	}
	other := newRenewal(t, old, generate(t))
	for name, edit := range map[string]func(*renewal){
		"old key":                   func(r *renewal) { r.old = other.new },
		"new key":                   func(r *renewal) { r.new = other.new },
		"no old key":                func(r *renewal) { r.old = Public{} },
		"no new key":                func(r *renewal) { r.new = Public{} },
		"keys exchanged":            func(r *renewal) { r.old, r.new = r.new, r.old },
		"session":                   func(r *renewal) { r.session += "x" },
		"no session":                func(r *renewal) { r.session = "" },
		"offset":                    func(r *renewal) { r.offset++ },
		"offset's sign":             func(r *renewal) { r.offset = -r.offset },
		"epoch":                     func(r *renewal) { r.epoch++ },
		"nonce":                     func(r *renewal) { r.nonce = []byte("nonce2") },
		"no nonce":                  func(r *renewal) { r.nonce = nil },
		"a byte between parts":      func(r *renewal) { r.session, r.nonce = "sessio", []byte("nnonce") },
		"old signature of another":  func(r *renewal) { r.oldSig = other.oldSig },
		"new signature of another":  func(r *renewal) { r.newSig = other.newSig },
		"signatures exchanged":      func(r *renewal) { r.oldSig, r.newSig = r.newSig, r.oldSig },
		"the old signature twice":   func(r *renewal) { r.newSig = r.oldSig },
		"the new signature twice":   func(r *renewal) { r.oldSig = r.newSig },
		"no old signature":          func(r *renewal) { r.oldSig = nil },
		"no new signature":          func(r *renewal) { r.newSig = nil },
		"one bit of the old one":    func(r *renewal) { r.oldSig = bytes.Clone(r.oldSig); r.oldSig[63] ^= 1 },
		"one bit of the new one":    func(r *renewal) { r.newSig = bytes.Clone(r.newSig); r.newSig[0] ^= 1 },
		"signed for other purposes": func(r *renewal) { r.oldSig, _ = old.Sign("keyhole-push.v1 client confirmation") },
	} {
		r := newRenewal(t, old, new)
		if edit(&r); r.verify() {
			t.Errorf("%s: VerifyRenewal = true, want false", name)
		}
	}
}

// One key cannot give both signatures, even when it renews itself.
func TestK4RenewalSignaturesDifferInContext(t *testing.T) {
	k := generate(t)
	r := newRenewal(t, k, k)
	if !r.verify() {
		t.Fatal("VerifyRenewal = false for what was signed, want true")
	}
	if r.newSig = r.oldSig; r.verify() {
		t.Error("the old signature twice: VerifyRenewal = true, want false")
	}
}

func TestK4RenewalByteByByte(t *testing.T) {
	old, new := generate(t), generate(t)
	r := newRenewal(t, old, new)
	parts := [][]byte{
		[]byte("session"),
		new.Public().Bytes(),
		{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x24}, // -1500
		binary.BigEndian.AppendUint64(nil, 7),
		[]byte("nonce"),
	}
	if !old.Public().Verify(r.oldSig, "keyhole-push.v1 renewal old", parts...) {
		t.Error("the old signature is not over session, new key, offset, epoch and nonce")
	}
	if !new.Public().Verify(r.newSig, "keyhole-push.v1 renewal new", parts...) {
		t.Error("the new signature is not over session, new key, offset, epoch and nonce")
	}
}
