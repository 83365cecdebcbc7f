package sni

// The record layer in front of encryption (RFC 8446 section 5.1).
const (
	recordHeader = 5       // type, version, length
	maxRecord    = 1 << 14 // the longest payload of a plaintext record

	typeChangeCipherSpec = 20 // the first of the record types
	typeHandshake        = 22
	typeHeartbeat        = 24 // the last (RFC 6520)
)

// records is a position in a stream of TLS records.
type records struct {
	pos uint32 // offset of the next byte to read
	end uint32 // offset at which the current record ends; equal to pos between records
}

// left returns how many bytes of the current record are not read.
func (r *records) left() uint32 { return r.end - r.pos }

// header reads the header of the next record. On an error r stays where it was.
func (r *records) header(b []byte) error {
	if len(b)-int(r.pos) < recordHeader {
		return ErrNeedMore
	}
	h := b[r.pos : r.pos+recordHeader]
	if r.pos == 0 {
		if err := checkGreeting(h); err != nil {
			return err
		}
	}
	n := uint32(h[3])<<8 | uint32(h[4])
	switch {
	case h[0] != typeHandshake && r.pos == 0:
		return badFirstRecord
	case h[0] != typeHandshake:
		return badNextRecord
	case h[1] != 3 || h[2] > 4:
		return badRecordVersion
	case n == 0:
		// "Implementations MUST NOT send zero-length fragments of Handshake types": a client could send them forever.
		return emptyRecord
	case n > maxRecord:
		return longRecord
	}
	r.pos += recordHeader
	r.end = r.pos + n
	return nil
}

// peek returns what b has of the current record's unread bytes, at least one and at most limit. It does not move r.
func (r *records) peek(b []byte, limit uint32) ([]byte, error) {
	n := min(len(b)-int(r.pos), int(r.left()), int(limit))
	if n <= 0 {
		return nil, ErrNeedMore
	}
	return b[r.pos : int(r.pos)+n], nil
}

// checkGreeting says whether a connection that begins with these five bytes can be TLS, and names what it is if not.
func checkGreeting(h []byte) error {
	switch {
	case h[0] >= typeChangeCipherSpec && h[0] <= typeHeartbeat && h[1] == 3:
		return nil
	case isHTTP(h):
		return ErrHTTP
	case isSSLv2(h):
		return ErrSSLv2
	}
	return ErrNotTLS
}

// isHTTP reports whether a connection's first five bytes begin an HTTP/1 request (RFC 9110 section 9, RFC 5789) or the
// HTTP/2 preface (RFC 9113 section 3.4).
func isHTTP(h []byte) bool {
	switch string(h) {
	case "HEAD ", "POST ", "DELET", "CONNE", "OPTIO", "TRACE", "PATCH", "PRI *":
		return true
	}
	return string(h[:4]) == "GET " || string(h[:4]) == "PUT "
}

// isSSLv2 reports whether a connection's first five bytes begin an SSL 2.0 CLIENT-HELLO (RFC 5246 appendix E.2): a two
// byte length with the high bit set, message type 1, and the version asked for, which was SSL 2.0 or any later one.
func isSSLv2(h []byte) bool {
	return h[0]&0x80 != 0 && h[2] == 1 && (h[3] == 3 || h[3] == 0 && h[4] == 2)
}
