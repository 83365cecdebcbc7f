package routes

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"
)

// String lays the explanation out in lines for a terminal: the hello, the outcome, then a line for
// each candidate. It quotes names and protocols that could move the cursor.
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
	fmt.Fprintf(&b, "%s, alpn %s, from %s%s\n%s\n", e.subject(), words(e.ALPN), address(e.Client), e.on(), e.verdict())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range e.Candidates {
		fmt.Fprintf(w, "  %s\t%s\t%s: %s\n", c.Pattern, c.lines(), c.Verdict, c.Because)
	}
	w.Flush() // a strings.Builder takes everything
	return b.String()
}

// on says which JA4 and listener were asked for, after the rest of the hello.
func (e Explanation) on() (s string) {
	if e.JA4 != nil {
		s = ", ja4 " + e.JA4.String()
	}
	if e.Listener != "" {
		s += ", on " + e.Listener
	}
	return s
}

func (e Explanation) subject() string {
	switch e.Asked {
	case "":
		return "no name"
	case e.Name:
		return e.Name
	}
	switch {
	case e.Literal:
		return fmt.Sprintf("no name (%s is an IP address)", strconv.QuoteToASCII(e.Asked))
	case e.Name == "":
		return strconv.QuoteToASCII(e.Asked)
	case !isASCII([]byte(e.Asked)):
		return fmt.Sprintf("%s (clients send this for %s)", e.Name, strconv.QuoteToGraphic(e.Asked))
	}
	return fmt.Sprintf("%s (from %s)", e.Name, strconv.QuoteToGraphic(e.Asked))
}

func (e Explanation) verdict() string {
	if e.Err != nil {
		bad := fmt.Sprintf("%s: %s, and such a hello never reaches the default", e.Outcome, e.Err)
		if hint := surplus(e.Asked); hint != "" {
			bad += "\n" + hint + ": a ClientHello has the host name alone"
		}
		return bad
	}
	if e.Route == nil || e.Route.Line == 0 && e.Outcome != Matched {
		return e.Outcome.String()
	}
	return fmt.Sprintf("%s: %s", e.Outcome, place(e.Route))
}

// lines lists the places of the candidate's routes: lines of one file, or places in several.
func (c Candidate) lines() string {
	var places, numbers []string
	several := false
	for _, r := range c.Routes {
		if r.Line != 0 {
			places, numbers = append(places, r.Where()), append(numbers, strconv.Itoa(r.Line))
			several = several || r.File != ""
		}
	}
	switch {
	case len(places) == 0:
		return "-"
	case len(places) == 1 || several:
		return strings.Join(places, ", ")
	}
	return "lines " + strings.Join(numbers, ", ")
}

// place is Where for a sentence.
func place(r *Route) string {
	if where := r.Where(); where != "" {
		return where
	}
	return "no line"
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

// networks lists networks, the first of many.
func networks(list []netip.Prefix) string {
	var all []string
	for i, p := range list {
		if i == shownPrefixes {
			all = append(all, "...")
			break
		}
		all = append(all, p.String())
	}
	return strings.Join(all, ", ")
}

// listeners lists the labels of listeners.
func (t *Table) listeners(list []int) string {
	var all []string
	for _, i := range list {
		all = append(all, t.labels[i])
	}
	return strings.Join(all, ", ")
}
