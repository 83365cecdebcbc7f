package strict

import (
	"strings"
	"time"
	"unicode"
)

// units are the ways in which people write units that Go does not read.
var units = map[string]string{
	"": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
	"min": "m", "mins": "m", "minute": "m", "minutes": "m",
	"hr": "h", "hrs": "h", "hour": "h", "hours": "h",
	"msec": "ms", "millis": "ms", "milliseconds": "ms",
}

// suggestDuration ends a message about a duration that Go does not read, with
// what was probably meant: 5 is 5s, "10 min" is 10m, 1d is 24h.
func suggestDuration(s string) string {
	s = strings.ToLower(strings.Join(strings.Fields(s), ""))
	end := strings.LastIndexFunc(s, unicode.IsDigit) + 1
	number, unit := s[:end], s[end:]
	meant := s
	if u, ok := units[unit]; ok {
		meant = number + u
	} else if unit == "d" || unit == "day" || unit == "days" {
		if v, err := time.ParseDuration(number + "h"); err == nil && v > 0 && v < MaxDuration {
			meant = strings.TrimSuffix((24 * v).String(), "0m0s")
		}
	}
	if v, err := time.ParseDuration(meant); err != nil || v <= 0 || v > MaxDuration {
		return ", write a number and a unit such as 5s, 10m or 1h"
	}
	return ", did you mean " + Quote(meant) + "?"
}
