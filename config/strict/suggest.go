package strict

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// maxWord is the longest word, in bytes, that a suggestion is looked for: no name of the schema
// comes near, and the cost grows with the square.
const maxWord = 64

// Nearest returns the candidate that word was probably meant to be, or "". A candidate is near
// within one slip for each three letters. A word and a candidate of which one begins with the other
// are a slip and a half apart. Case does not count.
func Nearest(word string, candidates []string) string {
	if len(word) < 3 || len(word) > maxWord {
		return ""
	}
	word = strings.ToLower(word)
	best, limit := "", 2*(len(word)/3)+2 // in half slips
	for _, c := range candidates {
		if len(c) > maxWord {
			continue
		}
		lower, half := strings.ToLower(c), limit
		if len(c) >= 3 && (strings.HasPrefix(lower, word) || strings.HasPrefix(word, lower)) {
			half = 3
		}
		if 2*abs(len(lower)-len(word)) < limit {
			half = min(half, 2*distance(word, lower))
		}
		if half < limit {
			best, limit = c, half
		}
	}
	return best
}

// distance is the Damerau-Levenshtein distance in its restricted form (optimal string alignment):
// letters inserted, deleted, replaced, and neighbours swapped. Both words are at most maxWord bytes
// long.
func distance(a, b string) int {
	var rows [3][maxWord + 1]int
	before, prev, cur := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

func abs(n int) int { return max(n, -n) }

// didYouMean ends a message about a word that is not among the candidates: with the nearest one, or
// with all of them when none is near.
func didYouMean(word string, candidates []string, show func(string) string) string {
	if s := Nearest(word, candidates); s != "" {
		return ", did you mean " + show(s) + "?"
	}
	if len(candidates) == 1 {
		return ", want " + show(candidates[0])
	}
	return ", want one of " + strings.Join(shown(candidates, show), ", ")
}

// oneOf lists words as an alternative: "`backend` or `reject`".
func oneOf(words []string, show func(string) string) string {
	return strings.Join(shown(words, show), " or ")
}

func shown(words []string, show func(string) string) []string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = show(w)
	}
	return all
}

// units are spellings of units that Go does not read.
var units = map[string]string{
	"sec": "s", "secs": "s", "second": "s", "seconds": "s",
	"min": "m", "mins": "m", "minute": "m", "minutes": "m",
	"hr": "h", "hrs": "h", "hour": "h", "hours": "h",
	"msec": "ms", "millis": "ms", "milliseconds": "ms",
}

// suggestDuration ends a message about a duration that Go does not read with its probable meanings:
// 5 is 5s, "10 min" is 10m, 1d is 24h. Without a unit 5000 is 5s: HAProxy counts in milliseconds.
// It suggests none that ok refuses.
func suggestDuration(s string, ok func(time.Duration) bool) string {
	meant := slices.DeleteFunc(meanings(s), func(m string) bool {
		v, err := time.ParseDuration(m)
		return err != nil || !ok(v)
	})
	if len(meant) == 0 {
		return ""
	}
	return ", did you mean " + oneOf(meant, Quote) + "?"
}

// meanings returns what a duration may mean, the most probable first.
func meanings(s string) []string {
	s = strings.ToLower(strings.Join(strings.Fields(s), ""))
	end := strings.LastIndexFunc(s, unicode.IsDigit) + 1
	number, unit := s[:end], s[end:]
	if unit == "" {
		return withoutUnit(number)
	}
	if u, ok := units[unit]; ok {
		return []string{number + u}
	}
	if unit == "d" || unit == "day" || unit == "days" {
		if v, err := time.ParseDuration(number + "h"); err == nil && v > 0 && v < MaxDuration {
			return []string{plain(24 * v)}
		}
	}
	return []string{s}
}

// withoutUnit takes a number below 1000 for seconds, and a round one from there on for
// milliseconds. Any other, such as 3600, may be either.
func withoutUnit(number string) []string {
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 1000:
		return []string{number + "s"}
	case n%1000 == 0:
		v, err := time.ParseDuration(number + "ms")
		if err != nil {
			return nil
		}
		return []string{plain(v)}
	}
	return []string{number + "ms", number + "s"}
}

// plain writes a duration without its zeros: 1h, not 1h0m0s.
func plain(v time.Duration) string {
	s := v.String()
	if short, ok := strings.CutSuffix(s, "m0s"); ok {
		s = short + "m"
	}
	if short, ok := strings.CutSuffix(s, "h0m"); ok {
		s = short + "h"
	}
	return s
}
