package strict

import (
	"strings"
	"testing"
	"time"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"backend", "backend", 0},
		{"bakend", "backend", 1},
		{"backedn", "backend", 1},
		{"backxnd", "backend", 1},
		{"alert", "reset", 4},
		{strings.Repeat("a", maxWord), strings.Repeat("b", maxWord), maxWord},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"servers", "balance", "retries", "max_connections"}
	for word, want := range map[string]string{
		"server":                                 "servers",
		"serevrs":                                "servers",
		"Balance":                                "balance",
		"max-connections":                        "max_connections",
		"max":                                    "max_connections",
		"retry":                                  "",
		"upstream":                               "",
		"":                                       "",
		strings.Repeat("s", maxWord+1):           "",
		"servers" + strings.Repeat("s", maxWord): "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestSuggestDuration(t *testing.T) {
	const none = ""
	ok := func(v time.Duration) bool { return v > 0 && v <= MaxDuration }
	for s, want := range map[string]string{
		"5":                    `, did you mean "5s"?`,
		"1.5":                  `, did you mean "1.5s"?`,
		"5 s":                  `, did you mean "5s"?`,
		"10min":                `, did you mean "10m"?`,
		"2 Hours":              `, did you mean "2h"?`,
		"250msec":              `, did you mean "250ms"?`,
		"1d":                   `, did you mean "24h"?`,
		"0.5 days":             `, did you mean "12h"?`,
		"31d":                  none,
		"999":                  `, did you mean "999s"?`,
		"1000":                 `, did you mean "1s"?`,
		"5000":                 `, did you mean "5s"?`,
		"50 000":               `, did you mean "50s"?`,
		"90000":                `, did you mean "1m30s"?`,
		"600000":               `, did you mean "10m"?`,
		"3600000":              `, did you mean "1h"?`,
		"1500":                 `, did you mean "1500ms" or "1500s"?`,
		"3600":                 `, did you mean "3600ms" or "3600s"?`,
		"999999999":            `, did you mean "999999999ms"?`,
		"99999999999999999999": none,
		"soon":                 none,
		"0":                    none,
		"-5":                   none,
		"d":                    none,
		"":                     none,
	} {
		if got := suggestDuration(s, ok); got != want {
			t.Errorf("suggestDuration(%q) = %q, want %q", s, got, want)
		}
	}
}
