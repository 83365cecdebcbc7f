//go:build !race

package wire

import "testing"

// TestEncodeIsCheap: a message is encoded once for each terminal it goes to.
func TestEncodeIsCheap(t *testing.T) {
	m := &Message{ID: "0123456789abcdef", Seq: 1 << 40, To: "token", Time: 1 << 40, Expires: 1 << 40, Data: make([]byte, 4096), ContentType: "text/plain", Urgency: "normal"}
	encode := func() {
		if _, err := Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	if got := testing.AllocsPerRun(100, encode); got > 3 {
		t.Errorf("Encode of a message makes %v allocations, want at most 3", got)
	}
}
