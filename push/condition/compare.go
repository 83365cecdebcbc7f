package condition

import (
	"cmp"
	"strings"
)

// compare orders two texts as whole numbers if both are, or else as versions. It returns false where either is neither.
// Numbers are compared digit by digit, not converted: none is too large.
func compare(a, b string) (order int, ok bool) {
	if isInteger(a) && isInteger(b) {
		return compareIntegers(a, b), true
	}
	if !isVersion(a) || !isVersion(b) {
		return 0, false
	}
	return compareVersions(a, b), true
}

// orderable reports whether anything at all compares to s.
func orderable(s string) bool { return isInteger(s) || isVersion(s) }

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isInteger(s string) bool {
	_, digits := sign(s)
	return isDigits(digits)
}

// sign splits "-12" into -1 and "12".
func sign(s string) (int, string) {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return -1, rest
	}
	return 1, strings.TrimPrefix(s, "+")
}

func compareIntegers(a, b string) int {
	signA, a := sign(a)
	signB, b := sign(b)
	switch size := compareDigits(a, b); {
	case signA == signB:
		return signA * size
	case size == 0 && strings.Trim(a, "0") == "":
		return 0 // -0 and 0
	default:
		return signA
	}
}

func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// splitVersion returns "2.1" and "rc.1" of "v2.1-rc.1+build"; found tells an empty pre-release from none.
func splitVersion(s string) (release, pre string, found bool) {
	s, _, _ = strings.Cut(s, "+")
	return strings.Cut(strings.TrimPrefix(s, "v"), "-")
}

func isVersion(s string) bool {
	release, pre, found := splitVersion(s)
	for part, rest, more := strings.Cut(release, "."); ; part, rest, more = strings.Cut(rest, ".") {
		if !isDigits(part) {
			return false
		}
		if !more {
			break
		}
	}
	return !found || isPreRelease(pre)
}

// isPreRelease reports whether s is identifiers of letters, digits and hyphens, with dots between them (Semantic
// Versioning section 9).
func isPreRelease(s string) bool {
	for part, rest, more := strings.Cut(s, "."); ; part, rest, more = strings.Cut(rest, ".") {
		if part == "" || strings.Trim(part, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
			return false
		}
		if !more {
			return true
		}
	}
}

func compareVersions(a, b string) int {
	releaseA, preA, isPreA := splitVersion(a)
	releaseB, preB, isPreB := splitVersion(b)
	if order := compareReleases(releaseA, releaseB); order != 0 {
		return order
	}
	switch {
	case isPreA && isPreB:
		return comparePreReleases(preA, preB)
	case isPreA:
		return -1
	case isPreB:
		return 1
	}
	return 0
}

// compareReleases compares part by part; a part that is missing is 0, as cutting nothing gives "".
func compareReleases(a, b string) int {
	for a != "" || b != "" {
		var partA, partB string
		partA, a, _ = strings.Cut(a, ".")
		partB, b, _ = strings.Cut(b, ".")
		if order := compareDigits(partA, partB); order != 0 {
			return order
		}
	}
	return 0
}

// comparePreReleases follows Semantic Versioning section 11.4: numbers as numbers and before words, words by their
// bytes, and the longer list after the shorter it begins with.
func comparePreReleases(a, b string) int {
	for a != "" && b != "" {
		var partA, partB string
		partA, a, _ = strings.Cut(a, ".")
		partB, b, _ = strings.Cut(b, ".")
		if order := compareIdentifiers(partA, partB); order != 0 {
			return order
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareIdentifiers(a, b string) int {
	switch numberA, numberB := isDigits(a), isDigits(b); {
	case numberA && numberB:
		return compareDigits(a, b)
	case numberA:
		return -1
	case numberB:
		return 1
	}
	return strings.Compare(a, b)
}
