package auth

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"keyhole/push/wire"
)

// maxName is in bytes.
const maxName = 128

// checkName refuses what would be two names that look like one, or break a
// line of a log. The error wraps wire.BadRequest; what says whose name it is.
// Names are compared byte by byte: neither case nor Unicode form is folded.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: %s is empty", wire.BadRequest, what)
	case len(name) > maxName:
		return fmt.Errorf("%w: %s has %d bytes, want at most %d", wire.BadRequest, what, len(name), maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %s is not UTF-8", wire.BadRequest, what)
	}
	for i, r := range name {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%w: %s has the unprintable character %U at byte %d", wire.BadRequest, what, r, i)
		}
	}
	return nil
}
