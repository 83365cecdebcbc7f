package main

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func testResults() results {
	r := make(results)
	for round, v := range []struct{ keyhole, haproxy, nginx float64 }{{90, 100, 120}, {60, 80, 50}, {95, 100, 125}} {
		r.set("short.cpu", "keyhole", round, 3, v.keyhole)
		r.set("short.cpu", "haproxy", round, 3, v.haproxy)
		r.set("short.cpu", "nginx-half-close", round, 3, v.nginx)
		r.set("down4.cpu", "keyhole", round, 3, v.keyhole)
		r.set("down4.cpu", "nginx", round, 3, v.nginx)
	}
	r.set("idle5000.memory", "keyhole", 1, 3, 0.704)
	r.set("idle5000.memory", "haproxy", 1, 3, 3.52)
	r.set("idle5000.descriptors", "keyhole", 0, 3, 2)
	r.set("fair32.trip.p50", "keyhole", 0, 3, 4000)
	r.set("fair32.trip.p50", "haproxy", 0, 3, 10000)
	r.set("fair128.cpu", "keyhole", 0, 3, 250)
	return r
}

func TestTable(t *testing.T) {
	want := `|  | keyhole | haproxy | nginx | nginx-half-close | goal |
| --- | --: | --: | --: | --: | --- |
| CPU per short connection, µs | 90.0 | 100 (0.90) | - | 120 (0.76) | 0.80 of the better of haproxy and nginx-half-close: missed by 0.150 |
| CPU per GB down, 4 streams, ms | 90.0 | - | 120 (0.76) | - | 0.75 of haproxy-splice: not measured; 0.30 of nginx: missed by 0.460 |
| round trip beside 32 bulk streams, p50, µs | 4000 | 10000 (0.40) | - | - | 0.50 of haproxy: met (0.400); 0.50 of haproxy-splice: not measured |
| CPU per GB beside small connections, 128 streams, ms | 250 | - | - | - |  |
| memory per idle connection, 5000 open, KB | 0.70 | 3.52 (0.20) | - | - | 0.70 KB: missed by 0.004 |
| descriptors per idle connection, 5000 open | 2.00 | - | - | - | 2.00: met (2.000) |
`
	got := testResults().table(metrics(fullPlan()), []string{"keyhole", "haproxy", "nginx", "nginx-half-close"})
	if got != want {
		t.Errorf("table is\n%s\nwant\n%s", got, want)
	}
}

func TestTableOfPeersAlone(t *testing.T) {
	want := `|  | haproxy | nginx |
| --- | --: | --: |
| CPU per short connection, µs | 100 | - |
| CPU per GB down, 4 streams, ms | - | 120 |
| round trip beside 32 bulk streams, p50, µs | 10000 | - |
| CPU per GB beside small connections, 128 streams, ms | - | - |
| memory per idle connection, 5000 open, KB | 3.52 | - |
| descriptors per idle connection, 5000 open | - | - |
`
	if got := testResults().table(metrics(fullPlan()), []string{"haproxy", "nginx"}); got != want {
		t.Errorf("table is\n%s\nwant\n%s", got, want)
	}
}

// A run without an older build does not say so in every row.
func TestOlderBuildHasAGoalWhenMeasured(t *testing.T) {
	r := testResults()
	r.set("down4.cpu", "before", 0, 3, 80)
	want := "; 1.05 of before: missed by 0.075"
	if got := r.table(metrics(fullPlan()), []string{"keyhole", "before"}); !strings.Contains(got, want) {
		t.Errorf("table is\n%s\nwant %q in it", got, want)
	}
}

func TestRowsOfFair(t *testing.T) {
	keys := make(map[string]string)
	for _, m := range metrics(quickPlan()) {
		if keys[m.key] != "" {
			t.Errorf("two rows have the key %q", m.key)
		}
		keys[m.key] = m.name()
	}
	for key, want := range map[string]string{
		"fair32.trip.p50":   "round trip beside 32 bulk streams, p50, µs",
		"fair32.trip.p99":   "round trip beside 32 bulk streams, p99, µs",
		"fair128.first.p50": "first byte of a new connection beside 128 bulk streams, p50, µs",
		"fair128.first.p99": "first byte of a new connection beside 128 bulk streams, p99, µs",
		"fair32.cpu":        "CPU per GB beside small connections, 32 streams, ms",
		"fair128.rate":      "GB per second beside small connections, 128 streams",
		"unix.cpu":          "CPU per short connection, origin on a unix socket, µs",
	} {
		if keys[key] != want {
			t.Errorf("the row of %s is %q, want %q", key, keys[key], want)
		}
	}
}

// The conditions of fair are part of its figures.
func TestDocumentSaysHowFairRan(t *testing.T) {
	b := &bench{plan: plan{busy: 3}, results: testResults(), proxies: []kind{{name: subjectName, printed: "keyhole 9"}}}
	if got := b.document(nil); strings.Contains(got, "busy") || !strings.Contains(got, "- keyhole: keyhole 9\n") {
		t.Errorf("the document without fair is\n%s\nwant the version and no busy processes", got)
	}
	b.workloads = []workload{{name: "fair"}}
	b.unraised = unix.EPERM
	for _, want := range []string{"3 busy processes shared the proxy's core", "had no priority (operation not permitted)"} {
		if got := b.document(nil); !strings.Contains(got, want) {
			t.Errorf("the document with fair is\n%s\nwant %q in it", got, want)
		}
	}
}

func TestVerdict(t *testing.T) {
	series := map[string][]float64{"keyhole": {10, 20}, "haproxy": {20, 20}, "nginx": {40, 10}, "broken": {nan, nan}, "noisy": {-5, 0}}
	for _, tt := range []struct {
		goal goal
		want string
	}{
		{goal{limit: 15}, "met (15.000)"},
		{goal{limit: 14.5}, "missed by 0.500"},
		{goal{against: []string{"haproxy"}, limit: 0.75}, "met (0.750)"},
		{goal{against: []string{"haproxy"}, limit: 0.7}, "missed by 0.050"},
		{goal{against: []string{"haproxy", "nginx"}, limit: 1}, "missed by 0.250"},
		{goal{against: []string{"haproxy", "broken"}, limit: 1}, "not measured"},
		{goal{against: []string{"absent"}, limit: 1}, "not measured"},
		{goal{against: []string{"noisy"}, limit: 1}, "no ratio, theirs is not above 0"},
	} {
		if got := tt.goal.verdict(series); got != tt.want {
			t.Errorf("verdict of %+v = %q, want %q", tt.goal, got, tt.want)
		}
	}
	delete(series, "keyhole")
	if got := (goal{limit: 1}).verdict(series); got != "not measured" {
		t.Errorf("verdict without the subject = %q, want %q", got, "not measured")
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-only", "latency", "-proxies", "nginx,keyhole", "-quick", "-rounds", "2", "-clients", "64"}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(append(names(o.workloads), names(o.proxies)...), " ")
	if want := "rtt latency keyhole nginx"; got != want {
		t.Errorf("workloads and proxies are %q, want %q: latency needs rtt, and order is as in the table", got, want)
	}
	if o.plan.rounds != 2 || o.plan.clients != 64 {
		t.Errorf("rounds and clients are %d and %d, want 2 and 64", o.plan.rounds, o.plan.clients)
	}
}

// -before adds its proxy, whichever others are asked for.
func TestParseOlderBuild(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "keyhole haproxy haproxy-splice nginx nginx-half-close",
		"-before /b":                         "keyhole before haproxy haproxy-splice nginx nginx-half-close",
		"-before /b -proxies nginx":          "before nginx",
		"-before /b -proxies before,keyhole": "keyhole before",
	} {
		o, err := parse(strings.Fields(args), &bytes.Buffer{})
		if got := strings.Join(names(o.proxies), " "); err != nil || got != want {
			t.Errorf("parse(%q) measures %q, %v, want %q", args, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-only shrt", `unknown name "shrt", want some of short,unix,bulk,rtt,idle,fair,latency`},
		{"-proxies keyhole,envoy", `unknown name "envoy", want some of keyhole,haproxy,haproxy-splice,nginx,nginx-half-close`},
		{"-proxies before", `unknown name "before"`},
		{"-proxies nginx-half-close -only rtt,bulk", "none of nginx-half-close runs any of bulk,rtt"},
		{"short", `unexpected argument "short"`},
		{"-rounds many", "invalid value"},
		{"-clients 0", "-clients is 0, want 1 to 2000"},
		{"-busy -1", "-busy is -1, want 0 to 16"},
		{"-clients 2001", "-clients is 2001, want 1 to 2000"},
	} {
		var stderr bytes.Buffer
		_, err := parse(strings.Fields(tt.args), &stderr)
		if !errors.Is(err, errUsage) || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("parse(%s) = %v and says %q, want errUsage and %q", tt.args, err, stderr.String(), tt.want)
		}
	}
}

var nan = math.NaN()

// same is equality that takes NaN for itself.
func same(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }

func TestRatios(t *testing.T) {
	got := ratios([]float64{1, nan, 3, 4, -1}, []float64{2, 2, nan, 0, 4})
	want := []float64{0.5, nan, nan, nan, -0.25}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("ratios = %v, want %v", got, want)
	}
}

func TestBest(t *testing.T) {
	got := best([]float64{3, nan, 1, nan}, []float64{2, 5, nan, nan})
	want := []float64{2, 5, 1, nan}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("best = %v, want %v", got, want)
	}
}
