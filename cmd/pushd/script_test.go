package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"keyhole/cmd/internal/clitest"
)

// TestMain makes the program itself the command `pushd` of scripts and of the
// tests that start processes.
func TestMain(m *testing.M) {
	// Under the race detector every process would stay for a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"pushd": main})
}

// TestScripts runs testdata/*.txtar, with the commands of clitest.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": clitest.Exits, "expand": clitest.Expand},
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
	})
}
