package config

import (
	"reflect"
	"strings"
	"testing"

	"keyhole/backend"
)

const twoBackends = listenLine + "backends: {a: {servers: [10.0.0.1:443]}, b: {servers: [10.0.0.2:443]}}\n"

func TestSplit(t *testing.T) {
	c := mustParse(t, twoBackends+`
routes:
  - {sni: 1.example.com, backend: [{name: a, weight: 9}, {name: b, weight: 1}]}
  - {sni: 2.example.com, sticky: client, backend: [{name: a, weight: 9}, {name: b, weight: 1}]}
  - {sni: 3.example.com, backend: [{weight: 9, name: a}, b]}
  - {sni: 4.example.com, backend: [a, "10.0.0.9:443", {name: "unix:/run/x.sock", weight: 0}]}
  - {sni: 5.example.com, backend: [b]}
  - {sni: 6.example.com, backend: [{name: b, weight: 1000}], sticky: client}
  - {sni: 7.example.com, backend: "10.0.0.10:443"}
default: {backend: [{name: b, weight: 1}, {name: a, weight: 9}]}
no_sni: {backend: [{name: a, weight: 9}, {name: b, weight: 1}]}
`)
	want := []Split{ // the default and no_sni are read before the routes
		{[]int{1, 0}, []int{1, 9}, false},
		{[]int{0, 1}, []int{9, 1}, false},
		{[]int{0, 1}, []int{9, 1}, true},
		{[]int{0, 2, 3}, []int{1, 1, 0}, false},
	}
	if !reflect.DeepEqual(c.Splits, want) {
		t.Errorf("Splits = %+v, want %+v", c.Splits, want)
	}
	var got []int
	for _, r := range c.Routes {
		got = append(got, r.Backend)
	}
	const first = backend.FirstSplit
	if want := []int{first + 1, first + 2, first + 1, first + 3, 1, 1, 4}; !reflect.DeepEqual(got, want) {
		t.Errorf("the backends of the routes are %v, want %v", got, want)
	}
	if c.Default.Backend != first || c.NoSNI.Backend != first+1 {
		t.Errorf("default and no_sni go to %d and %d, want %d and %d", c.Default.Backend, c.NoSNI.Backend, first, first+1)
	}
	for number, want := range map[int][]int{-1: nil, 4: {4}, first + 3: {0, 2, 3}} {
		if got := c.BackendsOf(number); !reflect.DeepEqual(got, want) {
			t.Errorf("BackendsOf(%d) = %v, want %v", number, got, want)
		}
	}
}

func TestSplitProblems(t *testing.T) {
	checkProblems(t, []problemCase{
		{
			"duplicates",
			twoBackends + "routes:\n  - {sni: x.example, backend: [a, {name: a, weight: 2}]}\n  - {sni: y.example, backend: [\"10.0.0.9:0443\", \"10.0.0.9:443\"]}\n",
			"4:42: duplicate backend \"a\" in one route\n5:49: duplicate backend \"10.0.0.9:443\" in one route",
		},
		{
			"weights",
			twoBackends + "routes:\n  - {sni: x.example, backend: [{name: a, weight: 1001}, {name: b, weight: -1}]}\n" +
				"  - {sni: y.example, backend: [{name: a, weight: 0}, {name: b, weight: 0}]}\n  - {sni: z.example, backend: [{name: a, weight: 0}]}\n",
			"4:50: `weight` must be a whole number from 0 to 1000, got \"1001\"\n" +
				"4:75: `weight` must be a whole number from 0 to 1000, got \"-1\"\n" +
				"5:31: every backend of the route has weight 0, at least one must have more\n" +
				"6:31: every backend of the route has weight 0, at least one must have more",
		},
		{
			"shapes",
			twoBackends + "routes:\n  - {sni: x.example, backend: []}\n  - {sni: y.example, backend: [[a], {weight: 2}, {nam: a}, {backend: a}, {name: [a]}]}\n  - {sni: z.example, backend: {name: a, weight: 9}}\n",
			"4:31: `backend` is an empty list\n" +
				"5:32: a backend of a route must be a name, an address or a mapping such as {name: shop, weight: 9}, got a list\n" +
				"5:37: missing key `name`\n" +
				"5:51: unknown key `nam`, did you mean `name`?\n" +
				"5:61: unknown key `backend`: write `name`\n" +
				"5:81: `backend` must be a single value, got a list\n" +
				"6:31: `backend` must be a name, an address or a list of them, got a mapping",
		},
		{
			"shorthand",
			twoBackends + "routes:\n  - {sni: x.example, backend: [{a: 9}, {b: 1}]}\n  - {sni: y.example, backend: a, weight: 9}\n",
			"4:32: a backend of a route must be {name: a, weight: 9}\n" +
				"4:40: a backend of a route must be {name: b, weight: 1}\n" +
				"5:34: unknown key `weight`: write it beside a name in `backend`, as in [{name: a, weight: 9}, {name: b, weight: 1}]",
		},
		{
			"sticky",
			twoBackends + "routes:\n  - {sni: x.example, backend: a, sticky: client}\n  - {sni: y.example, backend: [a, b], sticky: source}\n" +
				"  - {sni: z.example, reject: alert, sticky: client}\n  - {sni: w.example, backend: b}\n",
			"4:42: `sticky` has no effect with one backend, list several as in [{name: a, weight: 9}, {name: b, weight: 1}]\n" +
				"5:47: unknown value \"source\" for `sticky`, want \"client\"\n" +
				"6:37: `sticky` has no effect without a backend, every client is rejected",
		},
		{
			"unknown backends",
			twoBackends + "routes:\n  - {sni: x.example, backend: [a, c, {name: \"127.0.0.1:443\"}]}\n",
			"4:35: unknown backend \"c\"\n" +
				"4:45: backend \"127.0.0.1:443\": would connect the edge to itself, it listens on \":443\"; name the origin's own address or another port",
		},
	})
}

// Routes that list the same backends share one Split, however many there are.
func TestSplitsAreShared(t *testing.T) {
	var text strings.Builder
	text.WriteString(twoBackends + "routes:\n")
	for i := range 1000 {
		text.WriteString("  - {sni: h" + strings.Repeat("x", i%50) + "." + strings.Repeat("y", 1+i/50) + ".example, backend: [a, b]}\n")
	}
	if c := mustParse(t, text.String()); len(c.Splits) != 1 {
		t.Errorf("1,000 routes have %d splits, want 1", len(c.Splits))
	}
}
