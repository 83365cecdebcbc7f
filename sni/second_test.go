package sni

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"slices"
	"testing"
	"unsafe"
)

// watch is what a connection does with a Second: it holds back what may not pass.
type watch struct {
	second Second
	held   []byte
	passed []byte
}

// watchBehind returns the watch over what follows message, whose record goes on with more.
func watchBehind(t testing.TB, limit int, message, more []byte) *watch {
	t.Helper()
	p := Parser{Limit: limit}
	b := record(append(slices.Clone(message), more...))
	b = b[:len(b)-len(more)]
	if _, err := p.Parse(b); err != nil || p.End() != len(b) {
		t.Fatalf("Parse of the first hello = %v, End %d, want a hello of %d bytes", err, p.End(), len(b))
	}
	return &watch{second: p.Second()}
}

// receive is one arrival of bytes from the client.
func (w *watch) receive(b []byte) (Hello, error) {
	w.held = append(w.held, b...)
	pass, h, err := w.second.Read(w.held)
	w.passed = append(w.passed, w.held[:pass]...)
	w.held = w.held[pass:]
	return h, err
}

// receiveCut gives b in pieces of the sizes that size says, until there is a verdict.
func (w *watch) receiveCut(b []byte, size func(left int) int) (Hello, error) {
	h, err := w.receive(nil)
	for err == ErrNeedMore && len(b) > 0 {
		n := min(size(len(b)), len(b))
		h, err = w.receive(b[:n])
		b = b[n:]
	}
	w.receive(b)
	return h, err
}

// other is a record that is not a handshake record.
func other(typ byte, payload []byte) []byte {
	return append([]byte{typ, 3, 3}, prefixed(2, payload)...)
}

func TestSecond(t *testing.T) {
	first := draft{extensions: serverName("a.example")}.message()
	second := draft{extensions: serverName("b.example")}.message()
	ccs, early, alert := other(20, []byte{1}), other(23, make([]byte, 3000)), other(21, []byte{1, 90})
	keyExchange := record([]byte{16, 0, 0, 2, 1, 1})
	for _, c := range []struct {
		name   string
		more   []byte // of the first hello's record
		behind []byte
		want   error
		passed int // bytes of more and behind
	}{
		{"nothing", nil, nil, ErrNeedMore, 0},
		{"hello", nil, record(second), nil, 0},
		{"hello in pieces", nil, reframe(second, every(1)), nil, 0},
		{"behind change_cipher_spec", nil, slices.Concat(ccs, record(second)), nil, len(ccs)},
		{"behind early data", nil, slices.Concat(ccs, early, early, other(23, nil), reframe(second, every(9))), nil, len(ccs) + 2*len(early) + 5},
		{"behind a warning", nil, slices.Concat(alert, record(second)), nil, len(alert)},
		{"behind a heartbeat", nil, slices.Concat(other(24, []byte{1}), record(second)), nil, 6},
		{"behind an unknown record", nil, slices.Concat([]byte{99, 9, 9, 0, 1, 7}, record(second)), nil, 6},
		{"in the record of the first", second, nil, nil, 0},
		{"begins in the record of the first", second[:5], record(second[5:]), nil, 0},
		{"ends in the third record", second[:1], reframe(second[1:], every(60)), nil, 0},
		{"and more in its record", nil, record(append(slices.Clone(second), "more"...)), nil, 0},
		{"incomplete", nil, record(second[:20]), ErrNeedMore, 0},
		{"half a header", nil, append(slices.Clone(ccs), 22, 3, 3), ErrNeedMore, len(ccs)},
		{"half another header", nil, append(slices.Clone(ccs), 23, 3, 3, 0), ErrNeedMore, len(ccs) + 4},
		{"half a record of early data", nil, early[:1000], ErrNeedMore, 1000},

		{"key exchange", nil, keyExchange, ErrNoSecond, len(keyExchange)},
		{"key exchange, then a hello", nil, slices.Concat(ccs, keyExchange, record(second)), ErrNoSecond, len(ccs) + len(keyExchange) + len(record(second))},
		{"another message in the record of the first", []byte{16, 0}, keyExchange, ErrNoSecond, 2 + len(keyExchange)},

		{"change_cipher_spec inside", nil, slices.Concat(record(second[:9]), ccs, record(second[9:])), badNextRecord, 0},
		{"early data inside, in the record of the first", second[:9], early, badNextRecord, 0},
		{"other major version", nil, []byte{22, 2}, badRecordVersion, 0},
		{"empty record", nil, record(nil), emptyRecord, 0},
		{"long record", nil, []byte{22, 3, 3, 0x40, 1}, longRecord, 0},
		{"too large", nil, record([]byte{1, 1, 0, 0}), ErrTooLarge, 0},
		{"malformed", nil, slices.Concat(ccs, draft{session: make([]byte, 33)}.bytes()), badSessionID, len(ccs)},
	} {
		all := slices.Concat(c.more, c.behind)
		for cut, size := range map[string]func(int) int{"at once": every(1 << 20), "byte by byte": every(1), "by 7": every(7)} {
			w := watchBehind(t, 0, first, c.more)
			h, err := w.receiveCut(all, size)
			if err != c.want || err == nil && string(h.ServerName) != "b.example" {
				t.Errorf("%s, %s: Read = %q, %v, want %v", c.name, cut, h.ServerName, err, c.want)
			}
			if !bytes.Equal(w.passed, all[:c.passed]) || !bytes.Equal(w.held, all[c.passed:]) {
				t.Errorf("%s, %s: %d bytes pass and %d are held, want %d and %d", c.name, cut, len(w.passed), len(w.held), c.passed, len(all)-c.passed)
			}
			if _, again := w.receive([]byte("more")); again != err && err != ErrNeedMore {
				t.Errorf("%s, %s: Read = %v, then %v, want the same", c.name, cut, err, again)
			}
		}
	}
}

func TestSecondKeepsTheLimit(t *testing.T) {
	first, second := draft{}.message(), draft{extensions: serverName("b.example")}.message()
	for name, b := range map[string][]byte{"one record": record(second), "records of 1": reframe(second, every(1))} {
		for _, c := range []struct {
			limit int
			want  error
		}{{len(b), nil}, {len(b) - 1, ErrTooLarge}} {
			w := watchBehind(t, c.limit, first, nil)
			if _, err := w.receiveCut(append(other(23, make([]byte, 5000)), b...), every(10)); err != c.want {
				t.Errorf("%s: %d bytes with a limit of %d: Read = %v, want %v", name, len(b), c.limit, err, c.want)
			}
		}
	}
	// What the record of the first hello holds of the second has no header of its own.
	w := watchBehind(t, len(second), first, second)
	if _, err := w.receive(second); err != nil {
		t.Errorf("in the record of the first: Read = %v, want a hello", err)
	}
}

// serverHello returns a server_hello message with this random.
func serverHello(random string) []byte {
	return append([]byte{2}, prefixed(3, append(append([]byte{3, 3}, random...), 0, 0x13, 1, 0))...)
}

func TestRetry(t *testing.T) {
	if sum := sha256.Sum256([]byte("HelloRetryRequest")); string(sum[:]) != retryRandom {
		t.Fatalf("retryRandom = %x, want %x", retryRandom, sum)
	}
	asks, answers := serverHello(retryRandom), serverHello(retryRandom[:31]+"x")
	warning := other(21, []byte{1, 112})
	for _, c := range []struct {
		name  string
		bytes []byte
		want  Answer
	}{
		{"nothing", nil, AnswerPending},
		{"request", record(asks), AnswerRetry},
		{"request in records of one byte", reframe(asks, every(1)), AnswerRetry},
		{"request behind a warning", append(warning, record(asks)...), AnswerRetry},
		{"request behind an empty record", append(record(nil), record(asks)...), AnswerRetry},
		{"request up to its random", record(asks)[:recordHeader+randomAt+32], AnswerRetry},
		{"less than that", record(asks)[:recordHeader+randomAt+31], AnswerPending},
		{"other random", record(answers), AnswerOther},
		{"other random, behind a warning", append(warning, record(answers)...), AnswerOther},
		{"other random, in pieces", reframe(answers, every(1)), AnswerOther},
		{"warning alone", warning, AnswerPending},
		{"message of another type", record([]byte{11}), AnswerOther},
		{"HTTP", []byte("HTTP/1.1 400"), AnswerOther},
		{"change_cipher_spec", []byte{20}, AnswerOther},
	} {
		var whole, bytewise Retry
		got := AnswerPending
		for i := range c.bytes {
			got = bytewise.Read(c.bytes[i : i+1])
		}
		if at := whole.Read(c.bytes); at != c.want || got != c.want {
			t.Errorf("%s: Read = %d, byte by byte %d, want %d", c.name, at, got, c.want)
		}
		if c.want == AnswerPending {
			continue
		}
		if again := whole.Read(record(asks)); again != c.want {
			t.Errorf("%s, then a request: Read = %d, want %d", c.name, again, c.want)
		}
	}
}

// tap is one end of a connection, and what was written to it.
type tap struct {
	net.Conn
	sent bytes.Buffer
}

func (t *tap) Write(b []byte) (int, error) {
	t.sent.Write(b)
	return t.Conn.Write(b)
}

// connected returns both ends of a TCP connection. Both sides of a handshake may write at once, for
// which a net.Pipe has no room.
func connected(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

// handshake lets crypto/tls shake hands, and returns what each side wrote. The server takes only
// the group that is asked for; the client's first hello has a share of X25519 alone.
func handshake(t *testing.T, asked tls.CurveID) (client, origin []byte) {
	t.Helper()
	a, b := connected(t)
	near, far := &tap{Conn: a}, &tap{Conn: b}
	server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, CurvePreferences: []tls.CurveID{asked}})
	done := make(chan error, 1)
	go func() {
		done <- server.Handshake()
		server.Close()
	}()
	groups := []tls.CurveID{tls.X25519, tls.CurveP384}
	c := tls.Client(near, &tls.Config{ServerName: "a.example", InsecureSkipVerify: true, CurvePreferences: groups})
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatalf("client: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("server: %v", err)
	}
	return near.sent.Bytes(), far.sent.Bytes()
}

// What crypto/tls says on both sides, with a HelloRetryRequest and without one.
func TestSecondAgainstCryptoTLS(t *testing.T) {
	for _, c := range []struct {
		asked  tls.CurveID
		answer Answer
		err    error
	}{
		{tls.CurveP384, AnswerRetry, nil},
		{tls.X25519, AnswerOther, ErrNeedMore}, // all that follows looks like early data
	} {
		client, origin := handshake(t, c.asked)
		var r Retry
		if got := r.Read(origin); got != c.answer {
			t.Errorf("%v: Retry.Read = %d, want %d", c.asked, got, c.answer)
		}
		var p Parser
		if h, err := p.Parse(client); err != nil || string(h.ServerName) != "a.example" {
			t.Fatalf("%v: Parse = %q, %v, want a.example", c.asked, h.ServerName, err)
		}
		s := p.Second()
		pass, h, err := s.Read(client[p.End():])
		if err != c.err || err == nil && string(h.ServerName) != "a.example" {
			t.Errorf("%v: Second.Read = %d, %q, %v, want %v", c.asked, pass, h.ServerName, err, c.err)
		}
	}
}

func TestSecondAllocatesNothingAndIsSmall(t *testing.T) {
	w := watchBehind(t, 0, draft{}.message(), nil)
	behind := slices.Concat(other(20, []byte{1}), other(23, make([]byte, 999)), draft{extensions: serverName("b.example")}.bytes())
	answer := record(serverHello(retryRandom))
	got := testing.AllocsPerRun(10, func() {
		s, r := w.second, Retry{}
		if _, _, err := s.Read(behind); err != nil || r.Read(answer) != AnswerRetry {
			t.Error("no second hello or no request for one")
		}
	})
	if got != 0 {
		t.Errorf("Second and Retry: %v allocations, want 0", got)
	}
	if size := unsafe.Sizeof(Second{}); size > 32 {
		t.Errorf("a Second has %d bytes, want 32 or fewer", size)
	}
	if size := unsafe.Sizeof(Retry{}); size > 8 {
		t.Errorf("a Retry has %d bytes, want 8 or fewer", size)
	}
}

// FuzzSecond checks, for any bytes behind a first hello, that the cuts do not matter and that
// nothing of an unfinished hello passes; and that a second hello is found behind any other records,
// in whatever records it comes.
func FuzzSecond(f *testing.F) {
	ccs, early := other(20, []byte{1}), other(23, make([]byte, 50))
	hello := draft{extensions: serverName("b.example")}.message()
	for i, b := range [][]byte{
		nil, ccs, early[:30], slices.Concat(ccs, early, record(hello)), record(hello[:30]), reframe(hello, every(1)),
		record([]byte{16, 0, 0, 0}), append(record(hello[:9]), ccs...), hello, {22, 2, 0, 0, 1, 1}, {99, 9, 9, 0, 0, 22, 3, 3},
	} {
		f.Add(b, uint16(0), uint64(i))
		f.Add(b, uint16(len(b)), uint64(i))
	}
	first := draft{}.message()
	f.Fuzz(func(t *testing.T, b []byte, coalesced uint16, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		more := b[:min(int(coalesced), len(b), maxRecord-len(first))]
		whole := watchBehind(t, 0, first, more)
		want, wantErr := whole.receive(b)
		for _, size := range []func(int) int{every(1), atRandom(r)} {
			w := watchBehind(t, 0, first, more)
			got, err := w.receiveCut(b, size)
			if err != wantErr || !reflect.DeepEqual(got, want) || !bytes.Equal(w.passed, whole.passed) {
				t.Fatalf("in pieces: Read = %+v, %v, %d passed, want %+v, %v, %d", got, err, len(w.passed), want, wantErr, len(whole.passed))
			}
		}
		checkHeld(t, whole, len(more), want, wantErr)
		if wantErr == ErrNeedMore && len(whole.held) == 0 && whole.second.left == 0 && whole.second.seen == 0 {
			checkFound(t, first, whole.passed, hello, r)
		}
	})
}

// checkHeld compares what is held with a plain reading of it.
func checkHeld(t *testing.T, w *watch, coalesced int, h Hello, err error) {
	t.Helper()
	inRecord := len(w.passed) == 0 && coalesced > 0
	framed := w.held
	if inRecord {
		framed = append(record(make([]byte, coalesced))[:recordHeader], w.held...)
	}
	message := deframe(framed)
	switch {
	case err == ErrNoSecond && len(w.held) > 0:
		t.Fatalf("%d bytes are held after %v", len(w.held), err)
	case err == ErrNeedMore && len(w.held) >= DefaultLimit:
		t.Fatalf("%d bytes are held, want fewer than %d", len(w.held), DefaultLimit)
	case err == ErrNeedMore && len(w.held) > 0 && framed[0] != typeHandshake:
		t.Fatalf("a record of type %d is held", framed[0])
	case err == nil:
		if got, err := ParseMessage(message); err != nil || !reflect.DeepEqual(got, h) {
			t.Fatalf("Read = %+v, but what is held reads %+v, %v", h, got, err)
		}
	}
}

// checkFound puts a hello behind what has passed, which ends between records.
func checkFound(t *testing.T, first, prefix, hello []byte, r *rand.Rand) {
	t.Helper()
	want, _ := ParseMessage(hello)
	w := watchBehind(t, 0, first, nil)
	got, err := w.receiveCut(append(slices.Clone(prefix), reframe(hello, atRandom(r))...), atRandom(r))
	if err != nil || !reflect.DeepEqual(got, want) || !bytes.Equal(w.passed, prefix) {
		t.Fatalf("behind %x: Read = %+v, %v, %d passed, want %+v and %d", prefix, got, err, len(w.passed), want, len(prefix))
	}
}

// FuzzRetry checks that cuts do not matter, and compares with a plain reading of the whole.
func FuzzRetry(f *testing.F) {
	asks := serverHello(retryRandom)
	for _, b := range [][]byte{
		nil, record(asks), reframe(asks, every(3)), record(serverHello(string(testRandom))), other(21, []byte{1, 112}),
		append(other(21, []byte{1, 112}), record(asks)...), []byte("HTTP/1.1"), record(asks)[:40], append(record(asks[:9]), 23),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole, bytewise Retry
		got, want := AnswerPending, whole.Read(b)
		for i := range b {
			got = bytewise.Read(b[i : i+1])
		}
		if plain := plainAnswer(b); got != want || plain != want {
			t.Fatalf("Read = %d, byte by byte %d, want %d: %x", want, got, plain, b)
		}
	})
}

// plainAnswer is Retry written from its definition: the payloads of all handshake records, up to a
// record of another type, begin like a HelloRetryRequest or do not.
func plainAnswer(b []byte) Answer {
	var message []byte
	ended := false
	for len(b) > 0 && !ended {
		payload := b[min(len(b), recordHeader):]
		if len(b) >= recordHeader {
			payload = payload[:min(len(payload), int(b[3])<<8|int(b[4]))]
		}
		switch b[0] {
		case typeHandshake:
			message = append(message, payload...)
		case typeAlert:
		default:
			ended = true
		}
		b = b[min(len(b), recordHeader+len(payload)):]
	}
	message = message[:min(len(message), randomAt+32)]
	want := serverHello(retryRandom)[:len(message)]
	if len(message) > 1 {
		copy(want[1:], message[1:min(len(message), randomAt)]) // length and version may be any
	}
	switch {
	case !bytes.Equal(message, want):
		return AnswerOther
	case len(message) == randomAt+32:
		return AnswerRetry
	case ended:
		return AnswerOther
	}
	return AnswerPending
}
