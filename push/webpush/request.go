package webpush

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Aes128gcm is the content encoding of Web Push (RFC 8291 section 4).
const Aes128gcm = "aes128gcm"

// maxTTL is what a TTL counts for at most: about 68 years, as for the delta-seconds of HTTP (RFC 9111 section 1.2.2).
const maxTTL = 1<<31 - 1

// maxTopic is in characters (RFC 8030 section 5.4).
const maxTopic = 32

// A Push is what the headers of a request say of its message.
type Push struct {
	TTL             time.Duration // how long to keep it; 0: only for a terminal that is there now
	Topic           string        // replaces an undelivered message of the same topic; empty: none
	Urgency         string        // "very-low", "low", "normal" or "high"; "normal" where the request does not say
	ContentEncoding string        // Aes128gcm, or empty: then there ought to be no body
	Async           bool          // "Prefer: respond-async": the sender would have a receipt
}

// ErrTTL is wrapped by what ParseRequest says of the TTL header, which section 5.2 of RFC 8030 demands, with an error
// status of its own.
var ErrTTL = errors.New("header TTL")

// ParseRequest reads the headers of a request that asks for a message to be sent (RFC 8030 section 5). A header that is
// there twice is refused, as no rule says which one counts.
func ParseRequest(h http.Header) (Push, error) {
	var p Push
	var err error
	if p.TTL, err = ttl(h); err != nil {
		return Push{}, err
	}
	if p.Topic, err = topic(h); err != nil {
		return Push{}, err
	}
	if p.Urgency, err = urgency(h); err != nil {
		return Push{}, err
	}
	if p.ContentEncoding, err = contentEncoding(h); err != nil {
		return Push{}, err
	}
	p.Async = prefers(h, "respond-async")
	return p, nil
}

// only returns the one value of a header, and whether there is one.
func only(h http.Header, name string) (value string, found bool, err error) {
	values := h.Values(name)
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return strings.Trim(values[0], " \t"), true, nil
	}
	return "", true, fmt.Errorf("header %s is there %d times; send it once", name, len(values))
}

func ttl(h http.Header) (time.Duration, error) {
	value, found, err := only(h, "TTL")
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w is there more than once; send it once", ErrTTL)
	case !found:
		return 0, fmt.Errorf("%w is missing; send the seconds to keep the message, as \"TTL: 60\" (RFC 8030 section 5.2)", ErrTTL)
	case value == "" || strings.Trim(value, "0123456789") != "":
		return 0, fmt.Errorf("%w is %.40q; send whole seconds, as \"TTL: 60\"", ErrTTL, value)
	}
	// The digits are checked: the only error left is that of a number too large.
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		seconds = maxTTL
	}
	return time.Duration(seconds) * time.Second, nil
}

func topic(h http.Header) (string, error) {
	value, found, err := only(h, "Topic")
	if err != nil || !found {
		return "", err
	}
	if value == "" || len(value) > maxTopic || strings.ContainsFunc(value, notBase64URL) {
		return "", fmt.Errorf("header Topic is %.40q; send 1 to %d letters, digits, - and _ (RFC 8030 section 5.4)", value, maxTopic)
	}
	return value, nil
}

func notBase64URL(r rune) bool {
	return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_')
}

func urgency(h http.Header) (string, error) {
	value, found, err := only(h, "Urgency")
	if err != nil {
		return "", err
	}
	if !found {
		return "normal", nil
	}
	lower := strings.ToLower(value)
	if !slices.Contains([]string{"very-low", "low", "normal", "high"}, lower) {
		return "", fmt.Errorf("header Urgency is %.40q; send very-low, low, normal or high (RFC 8030 section 5.3)", value)
	}
	return lower, nil
}

func contentEncoding(h http.Header) (string, error) {
	value, found, err := only(h, "Content-Encoding")
	if err != nil || !found {
		return "", err
	}
	if !strings.EqualFold(value, Aes128gcm) {
		return "", fmt.Errorf("header Content-Encoding is %.40q; encrypt the message as %s (RFC 8291)", value, Aes128gcm)
	}
	return Aes128gcm, nil
}

// prefers looks for a preference without a value, whatever its parameters (RFC 7240 section 2).
func prefers(h http.Header, preference string) bool {
	for _, line := range h.Values("Prefer") {
		for p := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(p, ";")
			if strings.EqualFold(strings.Trim(name, " \t"), preference) {
				return true
			}
		}
	}
	return false
}
