package e2e

import (
	"bytes"
	"os/exec"
	"testing"

	"keyhole/internal/testkit"
)

// output is what a program that has ended left.
type output struct {
	stdout, stderr string
	status         int
}

// run runs a program to its end with nothing on its standard input.
func run(t *testing.T, program string, args ...string) output {
	t.Helper()
	cmd := exec.Command(program, args...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	p := testkit.LaunchFor(t, cmd)
	p.Hush()
	status := p.Status(t)
	return output{stdout.String(), p.Printed(), status}
}
