package main

import (
	"net"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"keyhole/cmd/internal/clitest"
)

// TestMain makes the program itself the command `keyhole` of scripts and of the tests that start
// processes.
func TestMain(m *testing.M) {
	// Under the race detector every process would stay for a second at its end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"keyhole": main})
}

// TestScripts runs testdata/*.txtar. Beyond testscript's own commands there are
//
//	exits STATUS COMMAND [ARG...]   runs it, wants that exit status, keeps stdout and stderr for `cmp`
//	expand FILE...                  replaces $VARIABLE in the files
//	listen-unix FILE                makes a socket that the script's end closes
//
// and the variable $used, an address that somebody listens on. The repository's config.example.yaml
// lies in the working directory.
func TestScripts(t *testing.T) {
	example, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": clitest.Exits, "expand": clitest.Expand, "listen-unix": listenUnix,
		},
		Setup: func(env *testscript.Env) error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { l.Close() })
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("used", l.Addr().String())
			return os.WriteFile(env.WorkDir+"/config.example.yaml", example, 0o644)
		},
	})
}

func listenUnix(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("unix", ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { l.Close() })
}
