// Command record keeps the ClientHello that a TLS client sends. It listens on a loopback port, runs the client given on
// its command line, with {port} replaced by the port and {dir} by an empty directory, and writes the bytes of one
// connection to a file, with an entry in index.json:
//
//	go run ./testdata/record -name curl -client "curl 7.88.1 (OpenSSL 3.0.19)" -- \
//		curl -sk --resolve shop.example.com:{port}:127.0.0.1 https://shop.example.com:{port}/
//
// It answers as a TLS server with a certificate made on the spot, so that a client can come back with a session ticket:
// -connection 2 keeps its second hello. The expected reading in the index is that of crypto/tls, which this server uses,
// and not that of the package under test.
//
// Run it from the root of the repository. It does not read the network beyond loopback.
package main

import (
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("record", flag.ContinueOnError)
	name := flags.String("name", "", "name of the hello's `file`, without .hex")
	client := flags.String("client", "", "the client and its version")
	note := flags.String("note", "", "what this hello is an example of")
	connection := flags.Int("connection", 1, "which connection's hello to keep, from 1")
	dir := flags.String("dir", "testdata/hellos", "directory of the hellos and index.json")
	timeout := flags.Duration("timeout", 30*time.Second, "how long the client may take")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *client == "" || flags.NArg() == 0 {
		return errors.New("usage: record -name NAME -client CLIENT [flags] -- COMMAND with {port}")
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	h, err := record(ctx, flags.Args(), *connection)
	if err != nil {
		return fmt.Errorf("record %s: %w", *name, err)
	}
	h.File = *name + ".hex"
	h.Client = *client
	h.Command = flags.Args()
	h.Date = time.Now().Format(time.DateOnly)
	h.Note = *note
	if err := os.WriteFile(filepath.Join(*dir, h.File), hexLines(h.bytes), 0o644); err != nil {
		return err
	}
	return addToIndex(filepath.Join(*dir, "index.json"), h)
}

// record runs the client against a server of its own until the wanted connection has sent its hello.
func record(ctx context.Context, command []string, connection int) (entry, error) {
	s, err := newServer()
	if err != nil {
		return entry{}, err
	}
	defer s.close()
	s.serving.Go(s.serve)
	dir, err := os.MkdirTemp("", "record-")
	if err != nil {
		return entry{}, err
	}
	defer os.RemoveAll(dir)

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := clientCommand(ctx, strings.NewReplacer("{port}", s.port(), "{dir}", dir), command)
	if err := cmd.Start(); err != nil {
		return entry{}, err
	}
	// The server ends the connection after its answer, which some clients count as a failure: the exit status says
	// nothing about the hello.
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		cmd.Wait()
	}()
	defer func() { cancel(); <-exited }()

	for n := 1; ; n++ {
		select {
		case h := <-s.hellos:
			if n == connection {
				return h, nil
			}
		case <-exited:
			return entry{}, fmt.Errorf("client ended after %d connections, want %d", n-1, connection)
		}
	}
}

// clientCommand returns the command, which ends with ctx, and its children with it: a browser has many.
func clientCommand(ctx context.Context, fill *strings.Replacer, command []string) *exec.Cmd {
	var args []string
	for _, arg := range command {
		args = append(args, fill.Replace(arg))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// hexLines writes b as lines of 32 bytes.
func hexLines(b []byte) []byte {
	var out []byte
	for len(b) > 0 {
		n := min(32, len(b))
		out = hex.AppendEncode(out, b[:n])
		out = append(out, '\n')
		b = b[n:]
	}
	return out
}
