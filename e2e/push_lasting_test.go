package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"keyhole/push/client"
	"keyhole/push/wire"
)

// Whatever a publisher was answered for arrives, though pushd is killed while it publishes.
func TestPushKilledWhilePublishing(t *testing.T) {
	t.Parallel()
	s := pushSiteFor(t)
	s.node.user("alice")
	sender := client.Publisher{URL: s.url(), Key: s.node.publisher("newsroom"), HTTP: s.http()}
	h := s.handset("alice", "phone", "news")
	ctx, end := context.WithCancel(t.Context())
	defer end()
	acked := make(chan string)
	var publishers sync.WaitGroup
	for i := range 4 {
		publishers.Go(func() {
			for n := 0; ; n++ {
				text := fmt.Sprintf("%d-%d", i, n)
				if _, err := sender.Publish(ctx, client.Publication{Token: h.token, Data: []byte(text), ID: text}); err != nil {
					if ctx.Err() == nil {
						t.Errorf("publish %s: %v", text, err)
					}
					return
				}
				select {
				case acked <- text:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	missing := map[string]bool{}
	for i := range 200 {
		if i == 50 || i == 120 {
			s.node.Stop() // SIGKILL
			s.node.start()
		}
		select {
		case text := <-acked:
			missing[text] = true
		case <-late():
			t.Fatalf("%d messages are acknowledged, and no other", i)
		}
	}
	end()
	publishers.Wait()
	h.listen(nil)
	for len(missing) > 0 {
		m := want[*wire.Message](h)
		h.send(&wire.Ack{Seq: []uint64{m.Seq}})
		delete(missing, string(m.Data))
	}
}

// shellBlock finds the commands of docs/pushd.md that have this in them.
func shellBlock(t *testing.T, has string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile("../docs/pushd.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(m[1], has) {
			return strings.Split(strings.TrimSpace(m[1]), "\n")
		}
	}
	t.Fatalf("docs/pushd.md has no commands with %q", has)
	return nil
}

// follow does what the documents say, with the test's folders and without systemd.
func (n *pushNode) follow(lines []string, cwd string) {
	n.t.Helper()
	for _, line := range lines {
		switch line {
		case "systemctl stop pushd":
			n.Terminate()
		case "systemctl start pushd":
			n.start()
		default:
			cmd := exec.Command("/bin/sh", "-ec", strings.ReplaceAll(line, "/var/lib", filepath.Dir(n.dir)))
			cmd.Dir = cwd
			if out, err := cmd.CombinedOutput(); err != nil {
				n.t.Fatalf("%s: %v\n%s", line, err, out)
			}
		}
	}
}

// A folder that is backed up and restored as the documents say keeps sessions, tokens and messages, and what is
// delivered twice has one id.
func TestPushBackupAndRestore(t *testing.T) {
	t.Parallel()
	n := newPushNode(t, "push")
	n.dir = filepath.Join(filepath.Dir(n.dir), "pushd")
	n.start()
	s := pushSiteOver(t, []*pushNode{n})
	n.user("alice")
	key := n.publisher("newsroom")
	c := s.config("alice", "phone", "news")
	c.Profile = newMemory()
	p := s.phone(c)
	p.until(client.Listening)
	token := p.Token()
	s.publish(key, client.Publication{Token: token, Data: []byte("before")})
	p.expect("before")
	p.hangUp()
	s.publish(key, client.Publication{Token: token, Data: []byte("waits")})

	cwd := t.TempDir()
	n.follow(shellBlock(t, "-czf pushd.tar.gz"), cwd)
	c.Password = ""
	p = s.phone(c)
	p.expect("waits")
	s.publish(key, client.Publication{Token: token, Data: []byte("after the copy was made")})
	p.expect("after the copy was made")
	p.hangUp()
	n.follow(shellBlock(t, "-xzf pushd.tar.gz"), cwd)

	p = s.phone(c)
	p.until(client.Listening)
	if p.Token() != token {
		t.Errorf("after the restore the token is %q, want %q", p.Token(), token)
	}
	s.publish(key, client.Publication{Token: token, Data: []byte("restored")})
	p.expect("restored")                             // what the phone had seen it drops
	n.metricBecomes("pushd_acknowledged_total", "2") // "waits" once more, and "restored"
	if status, _ := n.health("/readyz"); status != http.StatusOK {
		t.Errorf("/readyz is %d after the restore, want 200", status)
	}
}

// A full disk is named, publishes are refused, deliveries go on, and once there is room so do publishes.
func TestPushFullDisk(t *testing.T) {
	t.Parallel()
	n := newPushNode(t, "push", "store: {min_free: 8388608}")
	folder := n.dir
	// In a mount namespace of its own, where the folder is a small file system.
	n.under = []string{"unshare", "-Urm", "/bin/sh", "-ec", `mount -t tmpfs -o size=40m tmpfs "$0"; exec "$@"`, n.dir}
	n.start()
	n.dir = fmt.Sprintf("/proc/%d/root%s", n.Process.Pid, folder) // the same, seen from here
	s := pushSiteOver(t, []*pushNode{n})
	n.user("alice")
	key := n.publisher("newsroom")
	h := s.handset("alice", "phone", "news")
	for i := range 5 {
		s.publish(key, client.Publication{Token: h.token, Data: fmt.Appendf(nil, "stored %d", i)})
	}
	ballast := filepath.Join(n.dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 36<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	var status int
	var text string
	if !eventually(t, func() bool { status, text = n.health("/readyz"); return status == http.StatusServiceUnavailable }) {
		t.Fatalf("/readyz is %d %q on a full disk, want 503", status, text)
	}
	if !strings.Contains(text, string(wire.DiskFull)) || !strings.Contains(text, folder) {
		t.Errorf("/readyz says %q, want %s and the folder %s", text, wire.DiskFull, folder)
	}
	_, err := s.tryPublish(key, map[string]any{"token": h.token, "text": "no room"})
	if !isCode(err, wire.DiskFull) || !strings.HasPrefix(err.Error(), "507") || !strings.Contains(err.Error(), folder) {
		t.Errorf("publish on a full disk: %v, want 507 %s and the folder %s", err, wire.DiskFull, folder)
	}
	if status, _ := n.health("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz is %d on a full disk, want 200", status)
	}
	h.listen(nil)
	for i := range 5 {
		h.wantMessage(fmt.Sprintf("stored %d", i))
	}
	n.metricBecomes("pushd_acknowledged_total", "5")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if !eventually(t, func() bool { status, text = n.health("/readyz"); return status == http.StatusOK }) {
		t.Fatalf("/readyz is %d %q with room on the disk, want 200", status, text)
	}
	s.publish(key, client.Publication{Token: h.token, Data: []byte("room again")})
	h.wantMessage("room again")
}
