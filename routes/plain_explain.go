package routes

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"keyhole/sni"
)

// Explain says which rule takes a client that has sent b, or that stays silent when b is empty, in
// lines for a terminal. The rule is nil when none takes it, or none does yet.
//
//	matched: not_tls http, line 8
//	  not_tls SSH-  line 7  passed over: the bytes begin otherwise
//	  not_tls http  line 8  taken: the bytes begin so
//	  not_tls       line 9  beaten: an earlier rule takes the client
func (p Plain) Explain(b []byte) (*PlainRule, string) {
	rule, settled := p.Silent(), true
	if len(b) > 0 {
		rule, settled = p.Find(b)
	}
	var text strings.Builder
	switch {
	case !settled:
		text.WriteString("not settled: more bytes decide, and without them the connection is closed when the hello times out\n")
	case rule == nil && len(b) == 0:
		text.WriteString("no rule: the connection is closed when the hello times out\n")
	case rule == nil:
		text.WriteString("no rule\n")
	default:
		fmt.Fprintf(&text, "matched: %s, %s\n", shown(rule.Label), place(rule.Route))
	}
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	over := false
	for i := range p {
		r := &p[i]
		why := r.because(b)
		if over {
			why = "beaten: an earlier rule goes before it"
		}
		over = over || r == rule || !settled && r.fit(b) == sni.FitsSoFar
		fmt.Fprintf(w, "  %s\t%s\t%s\n", shown(r.Label), place(r.Route), why)
	}
	w.Flush() // a strings.Builder takes everything
	return rule, text.String()
}

// because says how a client fits the rule that has sent b, or nothing.
func (r *PlainRule) because(b []byte) string {
	switch {
	case len(b) == 0 && r.Silent > 0:
		return fmt.Sprintf("taken: the client has sent nothing for %s", r.Silent)
	case len(b) == 0:
		return "passed over: the client has sent nothing"
	case r.Silent > 0:
		return "passed over: the client has sent bytes"
	case r.takesAll():
		return "taken: takes what no earlier rule takes"
	}
	switch r.Begins.Fit(b) {
	case sni.Fits:
		return "taken: the bytes begin so"
	case sni.FitsSoFar:
		return "open: the bytes begin so, and are too few"
	}
	return "passed over: the bytes begin otherwise"
}

// shown is a label, quoted if bytes of it would not show.
func shown(label string) string {
	if q := strconv.QuoteToASCII(label); q != `"`+label+`"` {
		return q
	}
	return label
}
