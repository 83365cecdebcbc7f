// Package early catches the signals that ask a running edge for something and that end a process by
// default. A program imports it to survive them before its main function runs. It imports next to
// nothing, so that Go initialises it ahead of almost every other package.
package early

import (
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// Hangup and Upgrade get SIGHUP and SIGUSR2 of the command `run` from here to the end of the
// process. Each has room for one signal: those that come before it is received count as one.
var (
	Hangup  = make(chan os.Signal, 1)
	Upgrade = make(chan os.Signal, 1)
)

// Only `run` serves these signals: the hang-up of a terminal ends every other command, as usual.
func init() {
	if slices.Contains(os.Args, "run") {
		signal.Notify(Hangup, syscall.SIGHUP)
		signal.Notify(Upgrade, syscall.SIGUSR2)
	}
}
