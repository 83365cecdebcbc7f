package proxyproto

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"testing"

	pires "github.com/pires/go-proxyproto"
)

// The two parsers must agree about every header with addresses of TCP, and about the end of every
// line. They may differ, since the specification leaves it open, about the block of LOCAL and of
// AF_UNSPEC, which pires/go-proxyproto reads or refuses; about DGRAM, which it takes; about the size
// that is too large; and about a line UNKNOWN with LF in it.

func TestAgainstPires(t *testing.T) {
	taken := 0
	for _, s := range all() {
		if compare(t, []byte(s)) {
			taken++
		}
	}
	if taken < 10 {
		t.Errorf("both take %d headers, want more", taken)
	}
}

func FuzzAgainstPires(f *testing.F) {
	for _, s := range all() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, b) })
}

// compare reports whether both take b.
func compare(t *testing.T, b []byte) bool {
	t.Helper()
	ours, n, err := Parse(b)
	behind := bytes.NewReader(b)
	r := bufio.NewReaderSize(behind, 1<<17)
	theirs, theirErr := pires.Read(r)
	if theirErr != nil {
		if err == nil && ours.Source.IsValid() {
			t.Errorf("Parse(%q) = %+v, and pires refuses it: %v", b, ours, theirErr)
		}
		return false
	}
	if err != nil {
		if mustTake(theirs, len(b)-behind.Len()-r.Buffered()) {
			t.Errorf("Parse(%q) = %v, and pires takes it: %+v", b, err, theirs)
		}
		return false
	}
	if size := len(b) - behind.Len() - r.Buffered(); size != n {
		t.Errorf("Parse(%q) = %d bytes, and pires reads %d", b, n, size)
	}
	if ours.Source.IsValid() && (addrPort(theirs.SourceAddr) != ours.Source || addrPort(theirs.DestinationAddr) != ours.Destination) {
		t.Errorf("Parse(%q) = %+v, and pires reads %v and %v", b, ours, theirs.SourceAddr, theirs.DestinationAddr)
	}
	return true
}

// mustTake reports whether a header of so many bytes, which pires takes, is one that Parse must
// take too. Its TLVs and their CRC32c are looked at here: pires does not.
func mustTake(h *pires.Header, size int) bool {
	switch {
	case h.Command.IsLocal():
		return h.Version == 2 && size <= MaxSize
	case h.TransportProtocol.IsDatagram(), size > MaxSize:
		return false
	}
	tlvs, err := h.TLVs()
	for _, v := range tlvs {
		if v.Type == TypeCRC32c {
			return false
		}
	}
	return err == nil
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ip, _ := netip.AddrFromSlice(tcp.IP)
	return join(ip, uint16(tcp.Port))
}
