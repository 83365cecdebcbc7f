package routes

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// What can be wrong with a name. Each is its own value, since each has its own count.
var (
	ErrEmptyName    = errors.New("name is empty")
	ErrEmptyLabel   = errors.New("name has an empty label")
	ErrIPLiteral    = errors.New("name is an IP address")
	ErrLongLabel    = errors.New("name has a label longer than 63 bytes")
	ErrLongName     = errors.New("name is longer than 253 bytes")
	ErrBadCharacter = errors.New("name has a character that no host name has")
	ErrBadIDN       = errors.New("name is not a valid internationalized name")
)

const (
	maxName  = 253 // RFC 1035 section 2.3.4, less the root label and the first length byte
	maxLabel = 63  // RFC 1035 section 2.3.4

	// maxUnicode bounds what one hello can make IDNA work on: 253 characters of four bytes each, and a dot.
	maxUnicode = 4*maxName + 4
)

// fold maps a byte of a name to its normal form: letters to lower case, and 0 for what no label has. Underscores and
// hyphens are taken anywhere, because clients send such names and origins answer to them.
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

// Normalize appends the normal form of a host name to dst: lower case, without one trailing dot, labels outside ASCII
// as A-labels (RFC 5890 section 2.3.2.1). The configuration and the wire both go through it, so what compares equal
// here is equal everywhere. The errors are this package's ErrEmptyName to ErrBadIDN, unwrapped; with an error dst
// comes back as it was.
//
// An IP literal is no host name (RFC 6066 section 3), and neither is one that a client may take for an IPv4 address
// because its last label is a number (WHATWG URL, "ends in a number"). Names that are already A-labels pass as they
// are: decoding them would only add ways to fail.
//
// Normalize does not allocate for ASCII names when dst has room for 253 more bytes; for others IDNA does.
func Normalize(dst, name []byte) ([]byte, error) {
	if len(name) > maxUnicode {
		return dst, ErrLongName
	}
	out, err := appendASCII(dst, name)
	if err == nil || isASCII(name) {
		return out, err
	}
	if !utf8.Valid(name) {
		return dst, ErrBadCharacter
	}
	ascii, err := toALabels(string(name))
	if err != nil {
		return dst, err
	}
	// Once more through the checks: the mapping makes dots, digits and empty labels out of other characters.
	return appendASCII(dst, []byte(ascii))
}

func isASCII(name []byte) bool {
	for _, c := range name {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendASCII is Normalize for names of ASCII only. A byte outside ASCII is an error to it, though not always the
// first one that it finds.
func appendASCII(dst, name []byte) ([]byte, error) {
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
		return dst, ErrIPLiteral
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

// badByte tells an IPv6 literal, which has two colons or more, from a name with a port or a plain mistake.
func badByte(name []byte) error {
	if bytes.Count(name, []byte(":")) > 1 {
		return ErrIPLiteral
	}
	return ErrBadCharacter
}

// isNumber reports whether a label in lower case reads as a part of an IPv4 address: decimal, or hexadecimal after 0x.
func isNumber(label []byte) bool {
	hex := len(label) >= 2 && label[0] == '0' && label[1] == 'x'
	if hex {
		label = label[2:]
	}
	for _, c := range label {
		isDigit := '0' <= c && c <= '9'
		isLetter := 'a' <= c && c <= 'f'
		if !isDigit && !(hex && isLetter) {
			return false
		}
	}
	return true
}

// lookup maps as browsers do (UTS 46, non-transitional), but leaves hyphens and underscores to the checks that ASCII
// names go through.
var lookup = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.Transitional(false),
	idna.StrictDomainName(false),
	idna.CheckHyphens(false),
)

// toALabels rewrites the labels of a name that are outside ASCII as A-labels (RFC 5890 section 2.3.2.1). Its error is
// ErrBadIDN: what IDNA has to say quotes the name, and a client chose that.
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
	manyLabels                 // **.suffix: one label or more
)

// prefix is what a pattern of this kind has before its suffix.
func (k kind) prefix() string { return [...]string{exact: "", oneLabel: "*.", manyLabels: "**."}[k] }

var (
	errLoneStar  = errors.New("takes no part of a name, write *.example.com, or give default a backend to take every name")
	errInnerStar = errors.New("has a * that is not a leading *. or **. label, write *.example.com for one label, **.example.com for any number, or the names themselves")
)

// ParsePattern returns the normal form of a pattern: a host name, or one after "*." or "**.".
//
//	"Shop.Example.com."  -> "shop.example.com"   that name
//	"*.Example.com"      -> "*.example.com"      one label before it, as in a certificate (RFC 6125 section 6.4.3)
//	"**.bücher.example"  -> "**.xn--bcher-kva.example"  one label or more before it
//
// The error names the pattern, says what to write instead, and wraps Normalize's where that is the cause.
func ParsePattern(s string) (normal string, err error) {
	var buf [maxName]byte
	k, suffix, err := appendPattern(buf[:0], s)
	if err != nil {
		return "", err
	}
	if len(suffix)+len(k.prefix()) == len(s) && strings.HasSuffix(s, string(suffix)) {
		return s, nil
	}
	return k.prefix() + string(suffix), nil
}

// appendPattern takes a pattern apart, and appends the normal form of what follows its stars to dst.
func appendPattern(dst []byte, s string) (kind, []byte, error) {
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

// remedy says what to write instead of s, where the mistake is a known one.
func remedy(s string, err error) string {
	switch {
	case errors.Is(err, ErrIPLiteral):
		return ", and a ClientHello carries none (RFC 6066 section 3): write a host name, or give default a backend"
	case strings.Contains(s, "://"):
		return ": write the host name alone, without scheme and path"
	case strings.Contains(s, ":"):
		return ": write the host name without the port"
	case strings.HasPrefix(s, "."):
		return ": write *" + s + " for one label before it, **" + s + " for any number"
	case errors.Is(err, ErrBadCharacter):
		return ": labels are letters, digits, - and _"
	case errors.Is(err, ErrEmptyLabel), errors.Is(err, ErrEmptyName):
		return ": write it as in shop.example.com"
	}
	return ""
}
