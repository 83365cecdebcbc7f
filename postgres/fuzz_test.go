package postgres

import (
	"bytes"
	"testing"
)

// FuzzNegotiation plays a client that sends b in pieces of cut bytes, each of which the edge has read
// and answered before the next comes. Whatever it sends, no more than two requests are answered, each
// of them is just a request, and a step stays what it is however much of its bytes is there.
func FuzzNegotiation(f *testing.F) {
	for _, seed := range [][]byte{
		SSLRequest, gssRequest, cancelOne, startup, {22, 3, 1, 0, 5}, []byte("SSH-2.0-x\r\n"), make([]byte, 16),
		append(bytes.Clone(gssRequest), append(bytes.Clone(SSLRequest), 22, 3, 1)...),
		append(bytes.Clone(SSLRequest), SSLRequest...),
		packet(maxStartup+1, codeTLS), packet(8, 1234<<16),
	} {
		f.Add(seed, uint8(8))
		f.Add(seed, uint8(1))
		f.Add(seed, uint8(255))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint8) {
		var n Negotiation
		answers := 0
		var unread []byte
		for len(b) > 0 {
			k := min(max(int(cut), 1), len(b))
			unread, b = append(unread, b[:k]...), b[k:]
			before := n
			step, err := n.Read(unread)
			switch {
			case err != nil && step != More:
				t.Fatalf("Read(% x) = %d with %v, want no step with an error", unread, step, err)
			case err != nil || step == Hello:
				return
			case step == Startup || step == Cancel:
				if unread[0] != 0 || before.askedTLS {
					t.Fatalf("Read(% x) = %d behind %+v, want a hello", unread, step, before)
				}
				return
			case step == More && n != before:
				t.Fatalf("Read(% x) noted a request that it did not return", unread)
			case step == AskTLS && !bytes.Equal(unread, SSLRequest), step == AskGSS && !bytes.Equal(unread, gssRequest):
				t.Fatalf("Read(% x) = %d, want that of the request alone", unread, step)
			case step == AskTLS || step == AskGSS:
				for i := range unread {
					early := before
					if step, err := early.Read(unread[:i]); step != More || err != nil {
						t.Fatalf("Read(% x) = %d, %v, want more", unread[:i], step, err)
					}
				}
				if answers++; answers > 2 {
					t.Fatal("a client got a third answer")
				}
				unread = nil
			case len(unread) > maxCancel:
				t.Fatalf("Read wants more behind %d bytes", len(unread))
			}
		}
	})
}

// FuzzAnswer takes TLS to begin with "S" alone, and bounds what a record says of all else.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{"", "S", "N", "SS", "E", "E\x00\x00\x00\x09Mx\x00\x00", "Ex\n\x00", "HTTP/1.1", string(Refusal)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := Answer(b)
		if (err == nil) != (string(b) == "S") {
			t.Fatalf("Answer(%q) = %v", b, err)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Fatalf("Answer(%q) is an error of %d bytes", b, len(err.Error()))
		}
	})
}
