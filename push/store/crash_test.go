package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"keyhole/push/wire"
)

// folderVariable names the data folder of a child.
const folderVariable = "KEYHOLE_STORE_TEST_FOLDER"

// publisherChild publishes until it is killed, and prints the id of each
// message that was acknowledged.
func publisherChild() error {
	ctx := context.Background()
	s, err := Open(ctx, Config{Dir: os.Getenv(folderVariable)})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := 0; err == nil; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
				if _, _, err := s.Publish(ctx, Message{ID: id, Token: hash(i % 100), Data: []byte(id)}); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Println(id)
			}
		})
	}
	wg.Wait()
	return errors.New("publisher: not killed")
}

func TestP6NothingIsLostWhenTheProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]bool{}
	kills := []int{1, 400}
	if soakTime(t) > 0 {
		kills = []int{1, 100, 1500}
	}
	for _, after := range kills {
		for _, id := range killedPublisher(t, dir, after) {
			acked[id] = true
		}
		s, err := Open(t.Context(), Config{Dir: dir, Log: quiet})
		if err != nil {
			t.Fatalf("Open after %d messages and a kill: %v", len(acked), err)
		}
		stored := everyBacklog(t, s, 100)
		if err := s.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
		for id := range acked {
			if !stored[id] {
				t.Errorf("message %s was acknowledged and is not stored", id)
			}
		}
		t.Logf("killed: %d messages were acknowledged, %d are stored", len(acked), len(stored))
	}
}

// killedPublisher returns the ids that a publisher printed until it was killed,
// which was after as many of them.
func killedPublisher(t *testing.T, dir string, after int) []string {
	t.Helper()
	cmd := child(t, "publisher")
	cmd.Env = append(cmd.Env, folderVariable+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if ids = append(ids, lines.Text()); len(ids) == after {
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil || len(ids) < after {
		t.Fatalf("publisher ended with %v after %d messages, want a kill after %d", err, len(ids), after)
	}
	return ids
}

// everyBacklog returns the ids of all messages under some tokens.
func everyBacklog(t *testing.T, s *Store, tokens int) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for token := range tokens {
		found, err := s.Backlog(within(t, patience), TokenFilter(hash(token)), 0, 1<<62, 1000)
		if err != nil {
			t.Fatalf("Backlog: %v", err)
		}
		for _, m := range found {
			ids[m.ID] = true
		}
	}
	return ids
}

func TestEveryWriteIsSynced(t *testing.T) {
	s := open(t, Config{})
	if !s.local.srv.JetStreamConfig().SyncAlways {
		t.Error("SyncAlways = false, want true")
	}
	for _, c := range s.streamConfigs() {
		if async := c.PersistMode != 0; async != (c.Name == terminalStream) {
			t.Errorf("stream %s: asynchronous = %t, want it for %s only", c.Name, async, terminalStream)
		}
	}
}

// TestAFullDisk runs in a mount namespace of its own, with a small file system.
func TestAFullDisk(t *testing.T) {
	dir := t.TempDir()
	script := `mount -t tmpfs -o size=20m tmpfs "$0" && exec "$1"`
	cmd := child(t, "full disk", "unshare", "-Urm", "sh", "-c", script, dir)
	cmd.Env = append(cmd.Env, folderVariable+"="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("in a full file system: %v\n%s(this test needs unshare of util-linux, and user namespaces or root)", err, out.String())
	}
}

// fullDiskChild fills the disk, looks at what is refused and what is not, makes
// room and goes on.
func fullDiskChild() error {
	disk := os.Getenv(folderVariable)
	dir, ballast := filepath.Join(disk, "data"), filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 8<<20), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := Open(ctx, Config{Dir: dir, MinFree: 1, Log: quiet})
	if err != nil {
		return err
	}
	var r recorder
	sub, err := s.Subscribe(ctx, &r)
	if err != nil {
		return err
	}
	stored, err := fill(ctx, s)
	if err != nil {
		return err
	}
	if err := refuses(ctx, s, dir); err != nil {
		return err
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	for s.Ready(ctx) != nil {
		if ctx.Err() != nil {
			return errors.New("not ready a minute after there is room")
		}
	}
	seq, _, err := s.Publish(ctx, Message{ID: "after", Token: hash(1), Data: []byte("after")})
	if err != nil {
		return fmt.Errorf("Publish after there is room: %w", err)
	}
	for sub.Last() < seq {
		if ctx.Err() != nil {
			return fmt.Errorf("Last() = %d, want %d", sub.Last(), seq)
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	if got := len(r.seqs()); got != stored+1 {
		return fmt.Errorf("%d messages were handed over, want %d", got, stored+1)
	}
	return reopened(ctx, dir, stored+1)
}

// fill publishes until the disk is full, which has to be said.
func fill(ctx context.Context, s *Store) (stored int, err error) {
	for ; ; stored++ {
		id := fmt.Sprint("message ", stored)
		_, _, err := s.Publish(ctx, Message{ID: id, Token: hash(stored % 50), Data: make([]byte, 4000)})
		if errors.Is(err, wire.DiskFull) && strings.Contains(err.Error(), s.cfg.Dir) && strings.Contains(err.Error(), "make room") {
			return stored, nil
		}
		if err != nil {
			return stored, fmt.Errorf("Publish on a full disk = %w, want %s, the folder and the remedy", err, wire.DiskFull)
		}
	}
}

// refuses checks that a full disk is known: with a context that is over there is
// no time to find out.
func refuses(ctx context.Context, s *Store, dir string) error {
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Ready(over); !errors.Is(err, wire.DiskFull) {
		return fmt.Errorf("Ready on a full disk = %v, want %s", err, wire.DiskFull)
	}
	_, _, err := s.Publish(over, Message{ID: "refused", Token: hash(0), Data: make([]byte, 4000)})
	if !errors.Is(err, wire.DiskFull) || !strings.Contains(err.Error(), dir) {
		return fmt.Errorf("Publish on a full disk = %v, want %s and the folder", err, wire.DiskFull)
	}
	if _, err := s.Users(ctx); err != nil {
		return fmt.Errorf("Users on a full disk: %w", err)
	}
	return nil
}

func reopened(ctx context.Context, dir string, want int) error {
	s, err := Open(ctx, Config{Dir: dir, MinFree: 1, Log: quiet})
	if err != nil {
		return err
	}
	var got int
	for token := range 50 {
		found, err := s.Backlog(ctx, TokenFilter(hash(token)), 0, 1<<62, 1000)
		if err != nil {
			return err
		}
		got += len(found)
	}
	if got != want {
		err = fmt.Errorf("%d messages are stored after all, want %d", got, want)
	}
	return errors.Join(err, s.Close())
}
