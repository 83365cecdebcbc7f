package routes

import (
	"errors"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestNewConflicts(t *testing.T) {
	route := func(alpn string, sni ...string) Route { return Route{SNI: sni, ALPN: strings.Fields(alpn)} }
	for _, test := range []struct {
		name   string
		routes []Route
		want   Conflicts
	}{
		{"different patterns", []Route{route("", "a.com", "*.a.com", "**.a.com"), route("", "b.com")}, nil},
		{"disjoint alpn", []Route{route("h2", "a.com"), route("h3 http/1.1", "a.com"), route("", "a.com")}, nil},
		{"one protocol twice in a route", []Route{route("h2 h2", "a.com")}, nil},
		{"same name, other spelling", []Route{route("", "a.com"), route("", "b.com", "A.com.")}, Conflicts{{"a.com", 0, 1, ""}}},
		{"the first is named", []Route{route("", "*.a.com"), route("", "*.a.com"), route("", "*.A.com")},
			Conflicts{{"*.a.com", 0, 1, ""}, {"*.a.com", 0, 2, ""}}},
		{"twice in a route", []Route{route("", "a.com", "A.com")}, Conflicts{{"a.com", 0, 0, ""}}},
		{"common protocols", []Route{route("h2 h3", "**.a.com"), route("http/1.1 h3 h2", "**.a.com")},
			Conflicts{{"**.a.com", 0, 1, "h3"}, {"**.a.com", 0, 1, "h2"}}},
		{"third meets second", []Route{route("h2", "a.com"), route("h3", "a.com"), route("h3", "a.com"), route("", "a.com")},
			Conflicts{{"a.com", 1, 2, "h3"}}},
	} {
		table, err := New(test.routes, Default{Backend: -1})
		var got Conflicts
		if err != nil && !errors.As(err, &got) {
			t.Errorf("%s: New = %v, want Conflicts", test.name, err)
		}
		if !slices.Equal(got, test.want) || (table == nil) != (err != nil) {
			t.Errorf("%s: New = %v, %v, want %v", test.name, table, got, test.want)
		}
	}
}

func TestConflictsError(t *testing.T) {
	got := Conflicts{{"a.com", 0, 1, ""}, {"*.a.com", 2, 2, "h2"}}.Error()
	want := "pattern \"a.com\" is in route 0 and in route 1\npattern \"*.a.com\" with alpn \"h2\" is in route 2 twice"
	if got != want {
		t.Errorf("Conflicts.Error() = %q, want %q", got, want)
	}
}

func TestNewErrors(t *testing.T) {
	good := []string{"a.com"}
	for _, test := range []struct {
		route Route
		want  string
	}{
		{Route{}, "route 1: sni lists no pattern"},
		{Route{SNI: []string{"b.com", "*"}}, `route 1: pattern "*" takes no part of a name`},
		{Route{SNI: good, ALPN: []string{""}}, `route 1: alpn "" has 0 bytes`},
		{Route{SNI: good, ALPN: []string{strings.Repeat("h", 256)}}, "has 256 bytes, and a protocol name has 1 to 255"},
		{Route{SNI: good, Allow: []netip.Prefix{{}}}, "route 1: allow has an invalid prefix"},
		{Route{SNI: good, Allow: []netip.Prefix{netip.MustParsePrefix("::ffff:10.1.2.0/120")}}, "write 10.1.2.0/24"},
	} {
		_, err := New([]Route{{SNI: []string{"z.com"}}, test.route}, Default{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("New(%+v) = %v, want an error with %q", test.route, err, test.want)
		}
	}
}

func TestNewRefusesTooManyPatterns(t *testing.T) {
	rs := slices.Repeat([]Route{{SNI: make([]string, MaxPatterns/1000)}}, 1001)
	if _, err := New(rs, Default{}); err == nil || !strings.Contains(err.Error(), "16016000 patterns") {
		t.Errorf("New = %v, want an error that counts 16016000 patterns", err)
	}
}

func TestDefault(t *testing.T) {
	table, err := New(shops(3), Default{Backend: 4, Line: 7})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := table.Default(), (Default{Backend: 4, Reject: RejectAlert, Line: 7}); got != want {
		t.Errorf("Default() = %+v, want %+v", got, want)
	}
	if got := table.Len(); got != 3 {
		t.Errorf("Len() = %d, want 3", got)
	}
}

// TestTableSize holds a table of a million routes, Route structs and their strings included, to 200
// bytes a route.
func TestTableSize(t *testing.T) {
	const n = 1_000_000
	before := heap()
	table, err := New(shops(n), Default{Backend: -1})
	if err != nil {
		t.Fatal(err)
	}
	each := float64(heap()-before) / n
	t.Logf("%.1f bytes a route", each)
	if each > 200 || each < 144 {
		t.Errorf("a table of %d routes holds %.1f bytes a route, want 144 (Route and strings) to 200", n, each)
	}
	for i := 0; i < n; i += 97 {
		name := shop(i)
		if m := table.Lookup([]byte(name), nil, netip.Addr{}); m.Route == nil || m.Route.Line != i+1 {
			t.Fatalf("Lookup(%q) = %+v, want line %d", name, m, i+1)
		}
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // twice: what the first one leaves to sweep is gone after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestNewGarbage holds what a reload allocates to what it keeps: the index, which is two arrays.
func TestNewGarbage(t *testing.T) {
	rs := shops(10_000)
	allocs := testing.AllocsPerRun(3, func() {
		if _, err := New(rs, Default{}); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 10 {
		t.Errorf("New with %d routes allocates %v times, want 10 or fewer", len(rs), allocs)
	}
}

func TestReject(t *testing.T) {
	want := RejectAlert
	for _, word := range RejectWords() {
		if got, err := ParseReject(word); err != nil || got != want || got.String() != word {
			t.Errorf("ParseReject(%q) = %v, %v, want %v", word, got, err, want)
		}
		want++
	}
	if want != RejectSilence+1 {
		t.Errorf("RejectWords() = %q, want a word up to %v", RejectWords(), RejectSilence)
	}
	for _, s := range []string{"", "inherit", "Alert", "drop"} {
		if got, err := ParseReject(s); err == nil || !strings.Contains(err.Error(), "alert, close, reset or silence") {
			t.Errorf("ParseReject(%q) = %v, %v, want an error that lists the words", s, got, err)
		}
	}
	if got, want := Reject(9).String(), "Reject(9)"; got != want {
		t.Errorf("Reject(9).String() = %q, want %q", got, want)
	}
}
