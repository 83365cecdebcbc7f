package channel

import (
	"fmt"
	"maps"
	"unicode/utf8"

	"keyhole/push/wire"
)

// appVersion is the one key of a state that is not the terminal's alone: it
// chooses the messages that go to a version of the app.
const appVersion = "app_version"

// maxValue is the longest value of a state, in bytes. A condition compares with
// at most 128, the rest is room for what a terminal tells to people.
const maxValue = 256

// changed returns state with set and unset applied, and version where it names
// none. state itself stays as it is. An error wraps wire.StateInvalid.
func (r *Registry) changed(state, set map[string]string, unset []string, version string) (map[string]string, error) {
	for key, value := range set {
		if err := checkEntry(key, value); err != nil {
			return nil, err
		}
	}
	next := make(map[string]string, len(state)+len(set)+1)
	maps.Copy(next, state)
	for _, key := range unset {
		if _, both := set[key]; both {
			return nil, fmt.Errorf("%w: key %q is both set and unset", wire.StateInvalid, key)
		}
		delete(next, key)
	}
	maps.Copy(next, set)
	if _, ok := next[appVersion]; !ok && version != "" {
		next[appVersion] = version
	}
	if len(next) > r.c.StateKeys {
		return nil, fmt.Errorf("%w: %d keys, %d are the most; unset some", wire.StateInvalid, len(next), r.c.StateKeys)
	}
	return next, nil
}

// checkEntry holds a state to the keys that a condition can name (push/condition).
func checkEntry(key, value string) error {
	switch {
	case !isKey(key):
		return fmt.Errorf("%w: key %.70q; a key is one of a to z, then up to 63 of a to z, 0 to 9, \"_\", \".\" and \"-\"",
			wire.StateInvalid, key)
	case len(value) > maxValue:
		return fmt.Errorf("%w: value of %q is %d bytes, %d are the most", wire.StateInvalid, key, len(value), maxValue)
	case !utf8.ValidString(value):
		return fmt.Errorf("%w: value of %q is not UTF-8", wire.StateInvalid, key)
	}
	return nil
}

func isKey(key string) bool {
	for i := range len(key) {
		if b := key[i]; (b < 'a' || b > 'z') && (i == 0 || !isLater(b)) {
			return false
		}
	}
	return key != "" && len(key) <= 64
}

// isLater reports whether b may stand in a key, but not at its beginning.
func isLater(b byte) bool {
	return b >= '0' && b <= '9' || b == '_' || b == '.' || b == '-'
}
