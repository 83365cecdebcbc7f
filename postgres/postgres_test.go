package postgres

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// packet is a startup packet of a length, which it need not have.
func packet(size, code uint32, rest ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, size)
	return append(binary.BigEndian.AppendUint32(b, code), rest...)
}

var (
	gssRequest = packet(8, codeGSS)
	cancelOne  = packet(16, codeCancel, 0, 0, 1, 2, 3, 4, 5, 6)
	startup    = packet(18, 3<<16, []byte("user\x00bob\x00\x00")...)
)

func TestRead(t *testing.T) {
	longCancel := packet(12+256, codeCancel, make([]byte, 260)...)
	for _, c := range []struct {
		name string
		said []byte // each request of it alone
		b    []byte
		step Step
		err  error
	}{
		{"nothing", nil, nil, More, nil},
		{"a TLS record", nil, []byte{22, 3, 1}, Hello, nil},
		{"HTTP", nil, []byte("GET / HTTP/1.1\r\n"), Hello, nil},
		{"SSLRequest", nil, SSLRequest, AskTLS, nil},
		{"GSSENCRequest", nil, gssRequest, AskGSS, nil},
		{"SSLRequest behind GSSENCRequest", gssRequest, SSLRequest, AskTLS, nil},
		{"GSSENCRequest twice", gssRequest, gssRequest, More, ErrAgain},
		{"TLS behind GSSENCRequest", gssRequest, []byte{22}, Hello, nil},
		{"TLS behind SSLRequest", SSLRequest, []byte{22}, Hello, nil},
		{"all else behind SSLRequest", SSLRequest, SSLRequest, Hello, nil},
		{"StartupMessage", nil, startup, Startup, nil},
		{"StartupMessage behind GSSENCRequest", gssRequest, startup, Startup, nil},
		{"StartupMessage of protocol 2", nil, packet(296, 2<<16), Startup, nil},
		{"StartupMessage of the largest size", nil, packet(maxStartup, 3<<16|2), Startup, nil},
		{"larger", nil, packet(maxStartup+1, 3<<16), More, ErrLength},
		{"too short", nil, packet(7, 3<<16), More, ErrLength},
		{"zeros", nil, make([]byte, 64), More, ErrLength},
		{"CancelRequest", nil, cancelOne, Cancel, nil},
		{"CancelRequest with a long key", nil, longCancel, Cancel, nil},
		{"CancelRequest without a key", nil, packet(12, codeCancel, 0, 0, 0, 1), More, ErrLength},
		{"CancelRequest that is too long", nil, packet(12+257, codeCancel), More, ErrLength},
		{"bytes behind CancelRequest", nil, append(bytes.Clone(cancelOne), 1), More, ErrBehind},
		{"SSLRequest of another length", nil, packet(9, codeTLS, 0), More, ErrLength},
		{"SSLRequest of a length with the same last byte", nil, packet(264, codeTLS), More, ErrLength},
		{"a hello behind SSLRequest", nil, append(bytes.Clone(SSLRequest), 22), More, ErrBehind},
		{"SSLRequest and GSSENCRequest at once", nil, append(bytes.Clone(gssRequest), SSLRequest...), More, ErrBehind},
		{"an unknown request", nil, packet(8, 1234<<16|5681), More, ErrCode},
	} {
		var n Negotiation
		if c.said != nil {
			if _, err := n.Read(c.said); err != nil {
				t.Fatalf("%s: Read of what was said before: %v", c.name, err)
			}
		}
		if step, err := n.Read(c.b); step != c.step || err != c.err {
			t.Errorf("%s: Read = %d, %v, want %d, %v", c.name, step, err, c.step, c.err)
		}
	}
}

// A packet that comes byte by byte is known only once it is whole.
func TestReadBytewise(t *testing.T) {
	for _, b := range [][]byte{SSLRequest, gssRequest, cancelOne, startup} {
		var n Negotiation
		whole := len(b)
		if bytes.Equal(b, startup) {
			whole = RequestSize // its code says all
		}
		for i := range whole {
			if step, err := n.Read(b[:i]); step != More || err != nil {
				t.Errorf("Read(% x) = %d, %v, want more bytes", b[:i], step, err)
			}
		}
		if step, err := n.Read(b[:whole]); step == More || err != nil {
			t.Errorf("Read(% x) = %d, %v, want a step", b[:whole], step, err)
		}
	}
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		b    string
		want string // in the error; "" is none
	}{
		{"S", ""},
		{"", ErrClosed.Error()},
		{"N", ErrNoTLS.Error()},
		{"SS", ErrTooEarly.Error()},
		{"S\x15\x03\x01", ErrTooEarly.Error()},
		{string(errorResponse("SFATAL", "C53300", "Msorry, too many clients already")), "with an error: sorry, too many clients already"},
		{"Ecould not fork new process\n\x00", "with an error: could not fork new process"},
		{"E", "with an error: "},
		{"E\x00\x00\x00", "with an error: "},
		{"E\x00\x00\x00\x09SFATAL\x00Mcut", "with an error: cut"},
		{"E" + strings.Repeat("x", 5000), "with an error: " + strings.Repeat("x", 200)},
		{"HTTP/1.1 400 Bad Request\r\n", `answered "HTTP/1.1 400 Bad"`},
		{"\x15\x03\x01\x00\x02\x02\x50", `"\x15\x03\x01\x00\x02\x02P"`},
	} {
		err := Answer([]byte(c.b))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("Answer(%.40q) = %v, want %q", c.b, err, c.want)
		}
	}
}

// The refusal is an ErrorResponse of the length that it says, which Answer reads too.
func TestRefusal(t *testing.T) {
	if n := binary.BigEndian.Uint32(Refusal[1:]); int(n) != len(Refusal)-1 {
		t.Errorf("Refusal says that it has %d bytes, want %d", n, len(Refusal)-1)
	}
	if err := Answer(Refusal); err == nil || !strings.Contains(err.Error(), "TLS only") {
		t.Errorf("Answer(Refusal) = %v, want its text", err)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	var n Negotiation
	if got := testing.AllocsPerRun(100, func() {
		n = Negotiation{}
		n.Read(gssRequest)
		n.Read(SSLRequest)
		n.Read([]byte{22})
	}); got != 0 {
		t.Errorf("a negotiation allocates %v times, want 0", got)
	}
}
