package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"keyhole/internal/testkit"
)

// TestNobodyReadsTheLog shows that signals end an edge whose stderr is full: it was deaf to them
// while it waited to log.
func TestNobodyReadsTheLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.configure()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("keyhole", "run", "--config", s.file)
	cmd.Stderr = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() {
		cmd.Process.Kill() // an error says that it has ended
		cmd.Wait()
	})
	log := bufio.NewReaderSize(r, 16)
	for line := ""; !strings.Contains(line, "listening"); {
		if line, err = log.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.file, []byte(strings.Repeat("nonsense: 1\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "stderr is full", func() bool {
		waiting, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return waiting >= size-512
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("keyhole ended with %v, want status 0", err)
	}
}
