package routes

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"keyhole/sni"
)

// Fingerprints says which JA4s are let in: none of the deny list, and with an allow list only those
// of that one.
type Fingerprints struct {
	listed map[sni.JA4]bool // true: allowed
	closed bool             // there is an allow list
}

var shapeOfJA4 = regexp.MustCompile(`^[tqd]([0-9]{2}|s[23]|d[123])[di][0-9]{4}[0-9A-Za-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$`)

// ParseJA4 reads the JA4 of a hello over TCP. The error continues a sentence.
func ParseJA4(s string) (j sni.JA4, err error) {
	switch {
	case !shapeOfJA4.MatchString(s) && shapeOfJA4.MatchString(strings.ToLower(s)):
		return j, errors.New("is no JA4, write its hexadecimal digits in lower case")
	case !shapeOfJA4.MatchString(s):
		return j, errors.New("is no JA4, write one as t13d1516h2_8daaf6152771_02713d6af862")
	case s[0] != 't':
		return j, errors.New("is no JA4 of a hello over TCP, which begins with t")
	}
	copy(j[:], s)
	return j, nil
}

// NewFingerprints makes one from lists of JA4s. An allow list that is not nil and empty lets nobody
// in. The error names a JA4 that is in both lists.
func NewFingerprints(allow, deny []sni.JA4) (*Fingerprints, error) {
	f := &Fingerprints{listed: make(map[sni.JA4]bool, len(allow)+len(deny)), closed: allow != nil}
	for _, j := range allow {
		f.listed[j] = true
	}
	for _, j := range deny {
		if f.listed[j] {
			return nil, fmt.Errorf("deny %s is in allow too", j)
		}
		f.listed[j] = false
	}
	return f, nil
}

// Admits reports whether the lists let a hello in. One whose JA4 is not known, nil, is in no list.
// Nil admits everyone.
func (f *Fingerprints) Admits(j *sni.JA4) bool {
	if f == nil {
		return true
	}
	if j != nil {
		if allowed, ok := f.listed[*j]; ok {
			return allowed
		}
	}
	return !f.closed
}

// because says why a hello is not let in.
func (f *Fingerprints) because(j *sni.JA4) string {
	if j == nil {
		return "ja4 allow has no unknown fingerprint"
	}
	if _, ok := f.listed[*j]; ok {
		return "ja4 deny has " + j.String()
	}
	return "ja4 allow has not " + j.String()
}
