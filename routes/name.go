package routes

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// The errors of Normalize. Each is a value of its own, since each has its own count.
var (
	ErrEmptyName    = errors.New("name is empty")
	ErrEmptyLabel   = errors.New("name has an empty label")
	ErrIPLiteral    = errors.New("name is an IP address")
	ErrNumber       = errors.New("name ends in a number, as an IP address does")
	ErrLongLabel    = errors.New("name has a label longer than 63 bytes")
	ErrLongName     = errors.New("name is longer than 253 bytes")
	ErrBadCharacter = errors.New("name has a character that no host name has")
	ErrBadIDN       = errors.New("name is not a valid internationalized name")
)

const (
	maxName  = 253 // RFC 1035 section 2.3.4, less the root label and the first length byte
	maxLabel = 63  // RFC 1035 section 2.3.4

	// maxUnicode bounds the work of IDNA: 253 characters of four bytes each, and a dot.
	maxUnicode = 4*maxName + 4
)

// fold maps a byte of a name to its normal form: letters to lower case, and 0 for a byte that no
// label has. Underscores and hyphens may stand anywhere, because clients send such names and
// origins answer to them.
var fold = func() (t [256]byte) {
	for c := range byte(utf8.RuneSelf) {
		switch {
		case 'A' <= c && c <= 'Z':
			t[c] = c + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			t[c] = c
		}
	}
	return t
}()

// Normalize appends the normal form of a configured host name to dst: lower case, without one
// trailing dot, labels outside ASCII as A-labels (RFC 5890 section 2.3.2.1), which is the form that
// clients send. The errors are this package's ErrEmptyName to ErrBadIDN, unwrapped; with an error
// dst comes back as it was.
//
// An IP literal is no host name (RFC 6066 section 3), and neither is a name that a client may take
// for an IPv4 address because its last label is a number (WHATWG URL, "ends in a number"). Names
// that are already A-labels pass as they are: decoding them would only add ways to fail.
func Normalize(dst, name []byte) ([]byte, error) {
	if len(name) > maxUnicode {
		return dst, ErrLongName
	}
	if isASCII(name) {
		return normalizeWire(dst, name)
	}
	if !utf8.Valid(name) {
		return dst, ErrBadCharacter
	}
	ascii, err := toALabels(string(name))
	if err != nil {
		return dst, err
	}
	// The checks come behind the mapping, which makes dots, digits and empty labels out of other
	// characters.
	return normalizeWire(dst, []byte(ascii))
}

func isASCII(name []byte) bool {
	for _, c := range name {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// normalizeWire is Normalize for a name that a client sent, with the same result for ASCII. Any
// other byte is a bad character: RFC 6066 section 3 knows only ASCII, and most TLS libraries go by
// the raw bytes. If we mapped those as IDNA does, we would route to one host and the origin would
// read another.
//
// It does not allocate when dst has room for 253 more bytes.
func normalizeWire(dst, name []byte) ([]byte, error) {
	if len(name) == 0 {
		return dst, ErrEmptyName
	}
	if name[len(name)-1] == '.' {
		name = name[:len(name)-1]
	}
	if len(name) > maxName {
		return dst, ErrLongName
	}
	out := append(dst, name...)
	normal := out[len(dst):]
	start := 0 // of the label
	for i, c := range normal {
		f := fold[c]
		if f != 0 {
			normal[i] = f
			continue
		}
		if c != '.' {
			return dst, badByte(name)
		}
		if err := checkLabel(i - start); err != nil {
			return dst, err
		}
		start = i + 1
	}
	if err := checkLabel(len(normal) - start); err != nil {
		return dst, err
	}
	if isNumber(normal[start:]) {
		return dst, badNumber(normal)
	}
	return out, nil
}

// checkLabel refuses a label of n bytes that is empty or too long.
func checkLabel(n int) error {
	if n == 0 {
		return ErrEmptyLabel
	}
	if n > maxLabel {
		return ErrLongLabel
	}
	return nil
}

// badByte tells an IPv6 literal from a name with a port or a plain mistake.
func badByte(name []byte) error {
	if isIPv6Literal(name) {
		return ErrIPLiteral
	}
	return ErrBadCharacter
}

// badNumber tells an IPv4 literal from other names whose last label is a number.
func badNumber(name []byte) error {
	if isIPv4(name) {
		return ErrIPLiteral
	}
	return ErrNumber
}

// isNumber reports whether a label in lower case reads as a part of an IPv4 address: decimal, or
// hexadecimal after 0x.
func isNumber(label []byte) bool {
	hex := len(label) >= 2 && label[0] == '0' && label[1] == 'x'
	if hex {
		label = label[2:]
	}
	for _, c := range label {
		if !isDigit(c) && !(hex && 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isIPv6Literal takes the forms in which clients send an IPv6 address: bare, in the brackets of a
// URL, with a zone.
func isIPv6Literal(name []byte) bool {
	if n := len(name) - 1; n > 0 && name[0] == '[' && name[n] == ']' {
		name = name[1:n]
	}
	address, zone, zoned := bytes.Cut(name, []byte("%"))
	for _, c := range zone {
		if fold[c] == 0 && c != '.' {
			return false
		}
	}
	return zoned == (len(zone) > 0) && isIPv6(address)
}

// isIPv6 reports whether s is an IPv6 address in text (RFC 4291 section 2.2). It is spelt out, like
// isIPv4, because netip.ParseAddr allocates its error and clients choose what they send.
func isIPv6(s []byte) bool {
	groups := 0
	s, gap := bytes.CutPrefix(s, []byte("::"))
	for len(s) > 0 {
		group, rest, more := bytes.Cut(s, []byte(":"))
		switch {
		case isGroup(group):
			groups++
		case !more && isIPv4(group):
			groups += 2
		default:
			return false
		}
		switch {
		case more && len(rest) == 0:
			return false
		case more && rest[0] == ':' && gap:
			return false
		case more && rest[0] == ':':
			rest, gap = rest[1:], true
		}
		s = rest
	}
	return groups == 8 && !gap || groups < 8 && gap
}

// isGroup reports whether s is a group of an IPv6 address: one to four hexadecimal digits.
func isGroup(s []byte) bool {
	for _, c := range s {
		if lower := c | 0x20; !isDigit(c) && (lower < 'a' || lower > 'f') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 4
}

// isIPv4 reports whether s is four decimal numbers up to 255 without leading zeros, with dots
// between.
func isIPv4(s []byte) bool {
	for n := 1; ; n++ {
		octet, rest, more := bytes.Cut(s, dot)
		if !isOctet(octet) {
			return false
		}
		if !more {
			return n == 4
		}
		s = rest
	}
}

func isOctet(s []byte) bool {
	n := 0
	for _, c := range s {
		if n = 10*n + int(c-'0'); !isDigit(c) || n > 255 {
			return false
		}
	}
	return len(s) == 1 || len(s) > 1 && s[0] != '0'
}

// lookup maps as browsers do (UTS 46, non-transitional), but leaves hyphens and underscores to the
// checks that ASCII names go through.
var lookup = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

// toALabels rewrites the labels of a name that are outside ASCII as A-labels (RFC 5890 section
// 2.3.2.1). Its error is ErrBadIDN: the error of package idna quotes the name, and our caller does
// so itself.
func toALabels(name string) (string, error) {
	ascii, err := lookup.ToASCII(name)
	if err != nil {
		return "", ErrBadIDN
	}
	return ascii, nil
}

// kind says which names a pattern takes.
type kind uint8

const (
	exact      kind = iota + 1 // the name itself
	oneLabel                   // *.suffix: exactly one label before the suffix
	manyLabels                 // **.suffix: one label or more; without a suffix **, any name
)

// prefix returns the stars and the dot of a pattern of this kind.
func (k kind) prefix() string { return [...]string{exact: "", oneLabel: "*.", manyLabels: "**."}[k] }

// anyName is the pattern of this kind without a suffix.
const anyName = "**"

// pattern returns the pattern of this kind and suffix in normal form.
func (k kind) pattern(suffix []byte) string {
	if len(suffix) == 0 {
		return anyName
	}
	return k.prefix() + string(suffix)
}

var (
	errLoneStar  = errors.New("takes no part of a name, write *.example.com, or ** for every name")
	errInnerStar = errors.New("has a * that is not a leading *. or **. label, write *.example.com for one label, **.example.com for any number, or the names themselves")
)

// ParsePattern returns the normal form of a pattern: a host name, or one after "*." or "**.".
//
//	"Shop.Example.com."  -> "shop.example.com"   that name
//	"*.Example.com"      -> "*.example.com"      one label before it (RFC 6125 section 6.4.3)
//	"**.bücher.example"  -> "**.xn--bcher-kva.example"  one label or more before it
//	"**"                 -> "**"                 any name
//
// The error names the pattern, says what to write instead, and wraps the error of Normalize where
// that is the cause.
func ParsePattern(s string) (normal string, err error) {
	var buf [maxName]byte
	k, suffix, err := appendPattern(buf[:0], s)
	if err != nil {
		return "", err
	}
	if len(suffix)+len(k.prefix()) == len(s) && strings.HasSuffix(s, string(suffix)) {
		return s, nil
	}
	return k.pattern(suffix), nil
}

// appendPattern splits a pattern into its kind and its suffix, whose normal form it appends to dst.
func appendPattern(dst []byte, s string) (kind, []byte, error) {
	if s == anyName {
		return manyLabels, dst, nil
	}
	k, rest := exact, s
	if after, ok := strings.CutPrefix(s, "**."); ok {
		k, rest = manyLabels, after
	} else if after, ok := strings.CutPrefix(s, "*."); ok {
		k, rest = oneLabel, after
	}
	if strings.Trim(s, "*.") == "" && strings.Contains(s, "*") {
		return 0, dst, fmt.Errorf("pattern %q %w", s, errLoneStar)
	}
	if strings.Contains(rest, "*") {
		return 0, dst, fmt.Errorf("pattern %q %w", s, errInnerStar)
	}
	suffix, err := Normalize(dst, []byte(rest))
	if err != nil {
		return 0, dst, fmt.Errorf("pattern %q: %w%s", s, err, remedy(s, err))
	}
	if k != exact && len(suffix)-len(dst) > maxName-len("a.") {
		return 0, dst, fmt.Errorf("pattern %q: %w once there is a label before it", s, ErrLongName)
	}
	return k, suffix, nil
}

// remedy says what to write instead of s, if it knows the mistake.
func remedy(s string, err error) string {
	switch {
	case errors.Is(err, ErrNumber):
		return ": write a host name"
	case errors.Is(err, ErrIPLiteral):
		return ", and a ClientHello carries none (RFC 6066 section 3): write a host name, or give no_sni a backend"
	case surplus(s) != "":
		return ": " + surplus(s)
	case strings.HasPrefix(s, "."):
		return ": write *" + s + " for one label before it, **" + s + " for any number"
	case errors.Is(err, ErrBadCharacter):
		return ": labels are letters, digits, - and _"
	case errors.Is(err, ErrEmptyLabel), errors.Is(err, ErrEmptyName):
		return ": write it as in shop.example.com"
	}
	return ""
}

// surplus says what to leave out of a URL or an address, so that its host name remains.
func surplus(s string) string {
	switch {
	case strings.Contains(s, "://"):
		return "leave out the scheme and the path"
	case strings.Contains(s, "/"):
		return "leave out the path"
	case strings.Contains(s, ":"):
		return "leave out the port"
	}
	return ""
}
