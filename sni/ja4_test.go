package sni

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
)

// ja4 reads a message that Parse must take, and returns its fingerprint without a memo.
func ja4(t testing.TB, message []byte) string {
	t.Helper()
	h, err := ParseMessage(message)
	if err != nil {
		t.Fatalf("ParseMessage = %v, want a hello", err)
	}
	return h.JA4(nil).String()
}

// The index has them from what crypto/tls reads.
func TestJA4OfCapturedHellos(t *testing.T) {
	for _, c := range loadCaptured(t) {
		for name, b := range map[string][]byte{"as captured": c.bytes, "in many records": reframe(deframe(c.bytes), every(100))} {
			h, err := parse(b)
			if err != nil {
				t.Fatalf("%s: Parse = %v, want a hello", c.File, err)
			}
			if got := h.JA4(nil).String(); got != c.JA4 {
				t.Errorf("%s, %s: JA4 = %s, want %s", c.File, name, got, c.JA4)
			}
		}
	}
}

// Hellos that were captured here, of clients whose fingerprints FoxIO publishes.
func TestJA4IsFoxIOs(t *testing.T) {
	// Chromium's, in python/test/testdata/sigalg-grease.pcapng.json, with another list order.
	if got, want := ja4(t, deframe(load(t, "chromium-1.hex"))), "t13d1517h2_8daaf6152771_cb7bf5808d99"; got != want {
		t.Errorf("Chromium: JA4 = %s, want %s", got, want)
	}
	// Python's to an IP address, in ja4plus-mapping.csv.
	h, err := parse(load(t, "python.hex"))
	if err != nil {
		t.Fatal(err)
	}
	name := serverName(string(h.ServerName))
	d := draft{suites: h.suites, extensions: []byte(strings.Replace(string(h.extensions), string(name), "", 1))}
	if got, want := ja4(t, d.message()), "t13i181000_85036bcba153_d41ae481755e"; got != want {
		t.Errorf("Python: JA4 = %s, want %s", got, want)
	}
}

// codes returns a list of four digits each as bytes.
func codes(t testing.TB, list string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(list, ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// offer makes a hello from lists as FoxIO's JA4_ro has them, for TLS 1.3 and h2.
func offer(t testing.TB, suites, extensions, algorithms string) draft {
	t.Helper()
	d := draft{suites: codes(t, suites), extensions: []byte{}}
	for list := codes(t, extensions); len(list) > 0; list = list[2:] {
		var data []byte
		typ := binary.BigEndian.Uint16(list)
		switch typ {
		case extServerName:
			data = prefixed(2, hostName("shop.example.com"))
		case extALPN:
			data = prefixed(2, MakeProtocols([]string{"h2", "http/1.1"}))
		case extSupportedVersions:
			data = prefixed(1, codes(t, "2a2a,0303,0304"))
		case extSignatureAlgorithms:
			data = prefixed(2, codes(t, algorithms))
		}
		d.extensions = append(d.extensions, extension(typ, data)...)
	}
	return d
}

// What FoxIO publishes as lists and as fingerprints, with GREASE as clients send it.
func TestJA4OfPublishedLists(t *testing.T) {
	const chrome = "0a0a,1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
	for _, c := range []struct{ source, suites, extensions, algorithms, want string }{
		{"JA4.md", chrome, "3a3a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,caca,0015",
			"0403,0804,0401,0503,0805,0501,0806,0601", "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"JA4.md, without signature algorithms", chrome,
			"3a3a,001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,caca,0015",
			"", "t13d1516h2_8daaf6152771_6d807ffa2a79"},
		{"sigalg-grease.pcapng", chrome, "fe0d,0010,0017,0033,44cd,ff01,000a,000d,0023,002b,000b,ca34,002d,0000,0005,001b,0012",
			"8a8a,0904,0905,0906,0403,0804,0401,0503,0805,0501,0806,0601", "t13d1517h2_8daaf6152771_cb7bf5808d99"},
		{"badcurveball.pcap", chrome + ",000a", "0000,0017,ff01,000a,000b,0023,0010,0005,000d,0012,0033,002d,002b,001b,0015",
			"0403,0804,0401,0503,0805,0501,0806,0601,0201", "t13d1615h2_46e7e9700bed_45f260be83e2"},
	} {
		if got := ja4(t, offer(t, c.suites, c.extensions, c.algorithms).message()); got != c.want {
			t.Errorf("%s: JA4 = %s, want %s", c.source, got, c.want)
		}
	}
}

// alpnOf returns the extension with protocols as they are.
func alpnOf(names ...string) []byte {
	return extension(extALPN, prefixed(2, MakeProtocols(names)))
}

func versionsOf(t testing.TB, list string) []byte {
	return extension(extSupportedVersions, prefixed(1, codes(t, list)))
}

func TestJA4FirstPart(t *testing.T) {
	for _, c := range []struct {
		what  string
		draft draft
		want  string
	}{
		{"no block of extensions", draft{}, "t12i010000"},
		{"an empty block", draft{extensions: []byte{}}, "t12i010000"},
		{"a server_name without a host name", draft{extensions: extension(extServerName, prefixed(2, append([]byte{1}, prefixed(2, []byte("x"))...)))}, "t12d010100"},
		{"suites of GREASE alone", draft{suites: codes(t, "1a1a,2a2a")}, "t12i000000"},
		{"suites that are none", draft{suites: codes(t, "00ff,5600,fe00,feff")}, "t12i040000"},
		{"a suite twice", draft{suites: codes(t, "1301,1301")}, "t12i020000"},
		{"nearly GREASE", draft{suites: codes(t, "0a1a,1a0a,0b0b,aaaa")}, "t12i030000"},
		{"99 suites", draft{suites: codes(t, strings.Repeat("1301", 99))}, "t12i990000"},
		{"100 suites", draft{suites: codes(t, strings.Repeat("1301", 100))}, "t12i990000"},
		{"130 extensions", draft{extensions: manyExtensions(130)}, "t12i019900"},
		{"TLS 1.3 behind GREASE", draft{extensions: versionsOf(t, "fafa,0304,0303")}, "t13i010100"},
		{"TLS 1.1, whatever the field says", draft{extensions: versionsOf(t, "0302,0301")}, "t11i010100"},
		{"versions of GREASE alone", draft{extensions: versionsOf(t, "fafa")}, "t00i010100"},
		{"an unknown version", draft{extensions: versionsOf(t, "7f1c,0304")}, "t00i010100"},
		{"SSL 3.0", draft{extensions: versionsOf(t, "0300")}, "ts3i010100"},
		{"SSL 2.0", draft{extensions: versionsOf(t, "0002")}, "ts2i010100"},
		{"DTLS 1.2", draft{extensions: versionsOf(t, "fefd")}, "td2i010100"},
		{"h2", draft{extensions: alpnOf("h2", "http/1.1")}, "t12i0101h2"},
		{"http/1.1", draft{extensions: alpnOf("http/1.1", "h2")}, "t12i0101h1"},
		{"one character", draft{extensions: alpnOf("x")}, "t12i0101xx"},
		{"capitals", draft{extensions: alpnOf("Z-A")}, "t12i0101ZA"},
		{"AB", draft{extensions: alpnOf("\xab")}, "t12i0101ab"},
		{"AB CD", draft{extensions: alpnOf("\xab\xcd")}, "t12i0101ad"},
		{"30 AB", draft{extensions: alpnOf("\x30\xab")}, "t12i01013b"},
		{"30 31 AB CD", draft{extensions: alpnOf("\x30\x31\xab\xcd")}, "t12i01013d"},
		{"30 AB CD 31", draft{extensions: alpnOf("\x30\xab\xcd\x31")}, "t12i010101"},
		{"a sign first", draft{extensions: alpnOf("-h2")}, "t12i010122"},
		{"GREASE first", draft{extensions: alpnOf("\xba\xba", "h2")}, "t12i0101h2"},
		{"GREASE alone", draft{extensions: alpnOf("\xba\xba")}, "t12i010100"},
	} {
		got, _, _ := strings.Cut(ja4(t, c.draft.message()), "_")
		if got != c.want {
			t.Errorf("%s: JA4 = %s_..., want %s", c.what, got, c.want)
		}
		if got, want := ja4(t, c.draft.message()), referenceJA4(c.draft.message()); got != want {
			t.Errorf("%s: JA4 = %s, the reference says %s", c.what, got, want)
		}
	}
}

// manyExtensions returns n of distinct types that are no GREASE.
func manyExtensions(n int) []byte {
	b := []byte{}
	for i := range n {
		b = append(b, extension(uint16(0x0100+n-i), nil)...)
	}
	return b
}

func TestJA4HashesOfNothing(t *testing.T) {
	for what, c := range map[string]struct {
		draft draft
		want  string
	}{
		"no extensions":         {draft{}, "000000000000"},
		"GREASE alone":          {draft{extensions: extension(0x1a1a, nil)}, "000000000000"},
		"a name and protocols":  {draft{extensions: append(serverName("a"), alpnOf("h2")...)}, "000000000000"},
		"algorithms cut short":  {draft{extensions: extension(extSignatureAlgorithms, []byte{0, 2, 4})}, referenceHash("000d")},
		"algorithms of GREASE":  {draft{extensions: extension(extSignatureAlgorithms, prefixed(2, codes(t, "0a0a,1a1a")))}, referenceHash("000d")},
		"GREASE amid the rest":  {draft{extensions: extension(extSignatureAlgorithms, prefixed(2, codes(t, "0403,1a1a,0804")))}, referenceHash("000d_0403,0804")},
		"algorithms not sorted": {draft{extensions: extension(extSignatureAlgorithms, prefixed(2, codes(t, "0804,0403,0804")))}, referenceHash("000d_0804,0403,0804")},
	} {
		if got := ja4(t, c.draft.message()); !strings.HasSuffix(got, "_"+c.want) {
			t.Errorf("%s: JA4 = %s, want ..._%s", what, got, c.want)
		}
	}
	if got := ja4(t, draft{suites: codes(t, "1a1a")}.message()); !strings.Contains(got, "_000000000000_") {
		t.Errorf("suites of GREASE alone: JA4 = %s, want ..._000000000000_...", got)
	}
}

// A memo changes no answer, whatever it has seen before and has had to forget.
func TestJA4WithMemo(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	m := NewJA4Memo()
	var all [][]byte
	for range 300 {
		all = append(all, randomHello(r).message())
	}
	for range 20_000 {
		message := all[r.IntN(len(all))]
		h, err := ParseMessage(message)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := h.JA4(m).String(), referenceJA4(message); got != want {
			t.Fatalf("JA4 = %s, the reference says %s, of %x", got, want, message)
		}
	}
}

// A list is not taken for another that begins with it, or that has it cut elsewhere.
func TestJA4MemoTellsListsApart(t *testing.T) {
	for _, pair := range [][2]draft{
		{{suites: codes(t, "1301")}, {suites: codes(t, "1301,1302")}},
		{{suites: codes(t, "1301,1302")}, {suites: codes(t, "1302,1301")}},
		{
			{extensions: append(extension(0x0403, nil), extension(13, prefixed(2, codes(t, "0804")))...)},
			{extensions: extension(13, prefixed(2, codes(t, "0403,0804")))},
		},
		{{extensions: []byte{}}, {extensions: extension(1, nil)}},
		{{extensions: extension(63, nil)}, {extensions: extension(64, nil)}},
	} {
		m := NewJA4Memo()
		for _, d := range []draft{pair[0], pair[1], pair[0]} {
			h, err := ParseMessage(d.message())
			if err != nil {
				t.Fatal(err)
			}
			if got, want := h.JA4(m).String(), referenceJA4(d.message()); got != want {
				t.Errorf("JA4 = %s, the reference says %s, of %x", got, want, d.message())
			}
		}
	}
}

// randomHello returns one with lists of any length, short ones as often as long.
func randomHello(r *rand.Rand) draft {
	length := func() int { return r.IntN(1 << r.IntN(9)) }
	list := func(n int) (b []byte) {
		for range n {
			v := uint16(r.Uint32())
			if r.IntN(4) == 0 {
				v = v&0xf0f0 | 0x0a0a
			}
			b = binary.BigEndian.AppendUint16(b, v)
		}
		return b
	}
	d := draft{suites: list(1 + length()), extensions: []byte{}}
	seen := map[uint16]bool{}
	for range length() {
		typ := uint16(r.Uint32())
		if r.IntN(2) == 0 {
			typ %= 64
		}
		if seen[typ] || typ == extServerName || typ == extALPN || typ == extSupportedVersions {
			continue
		}
		seen[typ] = true
		var data []byte
		if typ == extSignatureAlgorithms {
			data = prefixed(2, list(length()))
		}
		d.extensions = append(d.extensions, extension(typ, data)...)
	}
	return d
}

func TestJA4AllocatesNothing(t *testing.T) {
	for _, c := range loadCaptured(t) {
		h, err := parse(c.bytes)
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range map[string]*JA4Memo{"with a memo": NewJA4Memo(), "without": nil} {
			if n := testing.AllocsPerRun(100, func() { h.JA4(m) }); n != 0 {
				t.Errorf("%s, %s: JA4 allocates %g times, want 0", c.File, name, n)
			}
		}
	}
}

// FuzzJA4 compares with the reference, twice with a memo that remembers other hellos.
func FuzzJA4(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 20 {
		f.Add(randomHello(r).bytes())
	}
	m := NewJA4Memo()
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parse(b)
		if err != nil {
			return
		}
		want := referenceJA4(deframe(b))
		for _, memo := range []*JA4Memo{nil, m, m} {
			if got := h.JA4(memo).String(); got != want {
				t.Errorf("JA4 = %s, the reference says %s", got, want)
			}
		}
	})
}
