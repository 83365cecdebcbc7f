package routes

import (
	"fmt"
	"strings"
)

// A Conflict is a pattern that two routes claim for the same clients.
type Conflict struct {
	Pattern string // in normal form
	First   int    // index of the route that claimed it first
	Second  int    // index of the other; First itself when one route lists the pattern twice
	ALPN    string // the protocol that both list; "" when neither lists any
}

// String names the routes by index: only the caller knows what their lines are called.
func (c Conflict) String() string {
	what := fmt.Sprintf("pattern %q", c.Pattern)
	if c.ALPN != "" {
		what += fmt.Sprintf(" with alpn %q", c.ALPN)
	}
	if c.First == c.Second {
		return fmt.Sprintf("%s is in route %d twice", what, c.First)
	}
	return fmt.Sprintf("%s is in route %d and in route %d", what, c.First, c.Second)
}

// Conflicts is the error of New when routes contradict each other: all of them, by Second.
type Conflicts []Conflict

func (cs Conflicts) Error() string {
	lines := make([]string, len(cs))
	for i, c := range cs {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}
