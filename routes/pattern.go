package routes

import (
	"errors"
	"fmt"
	"strings"
)

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
