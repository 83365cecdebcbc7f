package routes

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
)

// String is the explanation as lines for a terminal: the hello, the outcome, then a line for each candidate. What a
// client or an operator chose is quoted where it could move the cursor.
//
//	shop.example.com, alpn h2, from 192.0.2.1
//	matched: line 12
//	  shop.example.com  line 12  taken: is the name itself
//	  *.example.com     line 14  beaten: an exact name goes before *. and **.
//	  **.example.com    -        absent: no route has it
//	  **.com            -        absent: no route has it
//	  default           line 40  beaten: takes only what no pattern takes
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, alpn %s, from %s\n%s\n", e.subject(), words(e.ALPN), address(e.Client), e.verdict())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range e.Candidates {
		fmt.Fprintf(w, "  %s\t%s\t%s: %s\n", c.Pattern, c.lines(), c.Verdict, c.Because)
	}
	w.Flush() // a strings.Builder takes everything
	return b.String()
}

func (e Explanation) subject() string {
	switch e.Asked {
	case "":
		return "no name"
	case e.Name:
		return e.Name
	}
	if e.Name == "" {
		return strconv.QuoteToASCII(e.Asked)
	}
	return fmt.Sprintf("%s (from %s)", e.Name, strconv.QuoteToGraphic(e.Asked))
}

func (e Explanation) verdict() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s, and such a hello never reaches the default", e.Outcome, e.Err)
	}
	if e.Route == nil {
		return e.Outcome.String()
	}
	return fmt.Sprintf("%s: %s", e.Outcome, line(e.Route.Line))
}

func (c Candidate) lines() string {
	var all []string
	for _, r := range c.Routes {
		if r.Line > 0 {
			all = append(all, strconv.Itoa(r.Line))
		}
	}
	switch len(all) {
	case 0:
		return "-"
	case 1:
		return "line " + all[0]
	}
	return "lines " + strings.Join(all, ", ")
}

func line(n int) string {
	if n == 0 {
		return "no line"
	}
	return fmt.Sprintf("line %d", n)
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return "an unknown address"
	}
	return words([]string{a.String()}) // a zone is any text
}

// words lists protocol names, quoting what is not a plain word.
func words(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = s
		if q := strconv.QuoteToASCII(s); s == "" || q != `"`+s+`"` || strings.ContainsAny(s, " ,") {
			all[i] = q
		}
	}
	return strings.Join(all, ", ")
}
