package proc

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const line = "4242 (a) b (c) S 17 4242 1 0 -1 4194560 100 200 3 4 11 12 25 50 20 0 1 0 12345 1000 20 18446744073709551615\n"
	got, err := parseStat([]byte(line))
	want := stat{parent: 17, reaped: 750 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("parseStat = %+v, %v, want %+v", got, err, want)
	}
}

func TestParseStatRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":        "no command in brackets",
		"1 (a) S": "1 fields after the command",
		"1 (a) S x 1 1 0 -1 0 0 0 0 0 1 1 2 3 20":    "ppid",
		"1 (a) S 0 1 1 0 -1 0 0 0 0 0 1 1 two 3 20":  "cutime",
		"1 (a) S 0 1 1 0 -1 0 0 0 0 0 1 1 2 three 2": "cstime",
	} {
		if _, err := parseStat([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parseStat(%q) error is %v, want one with %q", in, err, want)
		}
	}
}

func TestParseRollup(t *testing.T) {
	const rollup = "00400000-7ffd000 ---p 00000000 00:00 0  [rollup]\nRss:      1764 kB\nPss:       384 kB\nPss_Dirty:  116 kB\n"
	for name, want := range map[string]int64{"Rss": 1764 << 10, "Pss": 384 << 10} {
		if got, err := parseRollup([]byte(rollup), name); err != nil || got != want {
			t.Errorf("parseRollup(%s) = %d, %v, want %d", name, got, err, want)
		}
	}
	for _, in := range []string{"", "Rss: 1 kB\nPss_Dirty: 2 kB\n", "Pss: many kB\n"} {
		if n, err := parseRollup([]byte(in), "Pss"); err == nil {
			t.Errorf("parseRollup(%q) = %d, want an error", in, n)
		}
	}
}

func TestDescends(t *testing.T) {
	stats := map[int]stat{1: {}, 5: {parent: 1}, 6: {parent: 5}, 7: {parent: 6}, 8: {parent: 1}}
	for pid, want := range map[int]bool{1: false, 5: true, 6: true, 7: true, 8: false} {
		if got := descends(stats, pid, 5); got != want {
			t.Errorf("descends(%d, 5) = %v, want %v", pid, got, want)
		}
	}
}

// A child must count: nginx does its work in one.
func TestTreeCountsChildren(t *testing.T) {
	self := Tree(os.Getpid())
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	in.Write([]byte("x"))
	out.Read(make([]byte, 1)) // cat is running now, with its own memory
	of := Tree(child.Process.Pid)
	for name, measure := range map[string]func(Tree) (int64, error){
		"cpu":         func(t Tree) (int64, error) { d, err := t.CPU(); return int64(d), err },
		"pss":         Tree.PSS,
		"rss":         Tree.RSS,
		"descriptors": func(t Tree) (int64, error) { n, err := t.Descriptors(); return int64(n), err },
	} {
		whole, err := measure(self)
		if err != nil {
			t.Errorf("%s of this process: %v", name, err)
		}
		part, err := measure(of)
		if err != nil || part <= 0 || part >= whole {
			t.Errorf("%s of the child = %d, %v, want more than 0 and less than the %d of the tree", name, part, err, whole)
		}
	}
	in.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := of.CPU(); err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("cpu of the ended child: %v, want an error that says it is gone", err)
	}
}
