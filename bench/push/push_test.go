package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test's own binary be the fleet, as the program's is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == fleetArg {
		if err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestQuick runs the whole of it, small: every row of the table must have a
// figure, and no message may be missed.
func TestQuick(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.md")
	if err := os.WriteFile(out, []byte("old\n"+byHand+"\nnotes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	keep := t.TempDir()
	var progress bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-terminals", "10", "-keep", keep, "-out", out}, nil, nil, &progress); err != nil {
		t.Fatalf("run = %v after %s", err, progress.String())
	}
	document, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows() {
		if !strings.Contains(string(document), "| "+row.label) {
			t.Errorf("no row %q in\n%s", row.label, document)
		}
	}
	for _, want := range []string{"| of them missed | 0.00 |  | 0: met |", "| handed to an app twice | 0.00 |  | 0: met |", "terminals: 10, rounds: 1", byHand + "\nnotes\n"} {
		if !strings.Contains(string(document), want) {
			t.Errorf("no %q in\n%s", want, document)
		}
	}
	if p, err := readPopulation(keep); err != nil || len(p.Terminals) != 10 || p.Terminals[9].Token == "" {
		t.Errorf("population kept for the next run = %+v, %v, want 10 terminals with tokens", p, err)
	}
}

func TestPayloadComesBack(t *testing.T) {
	want := payload{number: 1 << 40, terminal: 4999, due: 3 * time.Hour, sent: 3*time.Hour + 1}
	b := want.encode()
	if got, err := decodePayload(b); err != nil || got != want || len(b) != payloadBytes {
		t.Errorf("%+v comes back as %+v, %v in %d bytes, want itself in %d", want, got, err, len(b), payloadBytes)
	}
	if _, err := decodePayload(b[1:]); err == nil {
		t.Error("decodePayload of one byte less: no error, want one")
	}
}

func TestInboxTellsWhatArrived(t *testing.T) {
	var b inbox
	b.reset()
	b.add(0, 100, payload{number: 0, terminal: 0, due: 40, sent: 90}, false)
	b.add(1, 300, payload{number: 1, terminal: 1, due: 100, sent: 280}, true)
	b.add(1, 900, payload{number: 1, terminal: 1, due: 100, sent: 280}, true)
	b.add(1, 200, payload{number: 2, terminal: 2, due: 100, sent: 170}, false)
	want := Delivered{
		Messages: 3, Twice: 1, Redelivered: 2, Astray: 1, Last: 900,
		Due: Latency{100, 200, 200}, Sent: Latency{20, 30, 30},
	}
	if got := b.delivered(); got != want {
		t.Errorf("delivered = %+v, want %+v", got, want)
	}
}

func TestParse(t *testing.T) {
	o, err := parse([]string{"-only", "idle,reconnect", "-rounds", "5", "-terminals", "7"}, &bytes.Buffer{})
	if err != nil || !o.plan.has("idle") || !o.plan.has("reconnect") || o.plan.has("latency") || o.plan.rounds != 5 || o.plan.terminals != 7 {
		t.Errorf("parse = %+v, %v, want idle and reconnect in 5 rounds with 7 terminals", o, err)
	}
	for _, tt := range []struct{ args, want string }{
		{"-only idel", `unknown name "idel", want some of publish,idle,latency,reconnect`},
		{"idle", `unexpected argument "idle"`},
		{"-rounds -1", "negative"},
		{"-terminals many", "invalid value"},
	} {
		var stderr bytes.Buffer
		_, err := parse(strings.Fields(tt.args), &stderr)
		if !errors.Is(err, errUsage) || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("parse(%s) = %v and says %q, want errUsage and %q", tt.args, err, stderr.String(), tt.want)
		}
	}
}

func TestTableJudges(t *testing.T) {
	r := results{
		"idle.rss":         {15, 18, 15.5},
		"latency.sent.p99": {19, 22, 25},
		"reconnect.missed": {0, 0, 1}, // the worst counts
		"fsync":            {1000},
	}
	const want = `|  | median | range | goal |
| --- | --: | --: | --- |
| memory per idle terminal at pushd, resident, KB | 15.5 | 15.0 to 18.0 | 16 KB: met |
| publish to delivery at half of that, p99, ms | 22.0 | 19.0 to 25.0 | 20 ms: missed, by 2.00 |
| syncs of the disk per second, one after the other | 1000 |  |  |
| of them missed | 0.00 | 0.00 to 1.00 | 0: missed, by 1.00 |
`
	if got := r.table(); got != want {
		t.Errorf("table =\n%swant\n%s", got, want)
	}
}

func TestParseMetrics(t *testing.T) {
	const text = "# HELP a text\n# TYPE a gauge\na 1.5e+06\nb{le=\"1\"} 3\nc_count 2\n"
	got, err := parseMetrics([]byte(text))
	if err != nil || len(got) != 2 || got["a"] != 1.5e6 || got["c_count"] != 2 {
		t.Errorf("parseMetrics = %v, %v, want a=1500000 and c_count=2", got, err)
	}
	if _, err := parseMetrics([]byte("a many\n")); err == nil || !strings.Contains(err.Error(), "metric a") {
		t.Errorf("parseMetrics of a number that is none = %v, want an error that names it", err)
	}
}
