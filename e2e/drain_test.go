package e2e

import (
	"bytes"
	"net/http"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"keyhole/internal/testkit"
)

// A halfway is an origin's page that stops in the middle of the blob until it is told to go on.
type halfway struct {
	reached chan struct{} // gets a value when the first half is out
	goOn    chan struct{} // closed: the second half follows
}

func (h *halfway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	half := len(shared.blob) / 2
	w.Write(shared.blob[:half])
	http.NewResponseController(w).Flush()
	h.reached <- struct{}{}
	select {
	case <-h.goOn:
		w.Write(shared.blob[half:])
	case <-r.Context().Done():
	}
}

// A download is a curl that has the first half of the blob from an origin of its own.
type download struct {
	*halfway
	origin *goOrigin
	edge   *edge
	curl   *testkit.Program
	body   bytes.Buffer // complete once curl has ended
}

// startDownload returns once the first half is out; drain is the edge's limit, or 0.
func startDownload(t *testing.T, drain time.Duration) *download {
	t.Helper()
	d := &download{halfway: &halfway{make(chan struct{}, 1), make(chan struct{})}}
	d.origin, d.edge = goFor(t, setup{drain: drain}, d.halfway)
	cmd := exec.Command("curl", curlArgs(d.edge, d.origin.origin, "https://"+d.origin.host(t)+"/")...)
	cmd.Stdout = &d.body
	d.curl = testkit.LaunchFor(t, cmd)
	select {
	case <-d.reached:
	case <-d.curl.Ended:
		t.Fatalf("curl ended before half of the download: %s", d.curl.Printed())
	}
	return d
}

// terminate asks the edge to drain.
func (d *download) terminate(t *testing.T) {
	t.Helper()
	if err := d.edge.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// expectEdgeEnds fails the test unless the edge ends by itself, and well.
func (d *download) expectEdgeEnds(t *testing.T) {
	t.Helper()
	if status := d.edge.Status(t); status != 0 {
		t.Errorf("the edge ended with status %d, want 0:\n%s", status, d.edge.Printed())
	}
}

// SIGTERM: who is there may finish, nobody else comes in, and the edge ends with the last connection.
func TestDrainLetsADownloadFinish(t *testing.T) {
	t.Parallel()
	d := startDownload(t, 0)
	d.terminate(t)
	testkit.BecomesRefusing(t, d.edge.address)
	close(d.goOn)
	status := d.curl.Status(t)
	expectBlob(t, output{d.body.String(), d.curl.Printed(), status})
	d.expectEdgeEnds(t)
	d.edge.expectRelayed(t, d.origin.origin, d.origin.host(t), 1)
}

// Who is not done when the drain's time is over is cut off, and the record says why.
func TestDrainEndsInTime(t *testing.T) {
	t.Parallel()
	d := startDownload(t, 100*time.Millisecond)
	d.terminate(t)
	if status := d.curl.Status(t); status == 0 {
		t.Error("curl: status 0 after half a download, want an error")
	}
	d.expectEdgeEnds(t)
	r := d.edge.expect(t, d.origin.host(t), 1)[0]
	if half := int64(len(shared.blob) / 2); r.Reason != "drained" || r.Backend != "go" || r.Down < half {
		t.Errorf("record %+v, want reason drained, backend go and down at least %d", r, half)
	}
}
