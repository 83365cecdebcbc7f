package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/push/client"
	"keyhole/push/config"
	"keyhole/push/wire"
)

func listenCommand() *cobra.Command {
	var a account
	var state []string
	var count int
	c := &cobra.Command{
		Use:   "listen",
		Short: "Be a terminal: print each message that arrives",
		Long: `Be a terminal in a shell: print each message that arrives as a JSON object on a
line of its own, and acknowledge it. What it is about is said on standard error.
A line on standard input such as "network=wifi" changes the state that
conditions are measured against, "!network" takes a key back. Connections that
break are made again; SIGINT or SIGTERM ends it.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return listen(ctx, cmd, &a, state, count)
		},
	}
	a.bind(c)
	c.Flags().StringArrayVar(&state, "state", nil, "`KEY=VALUE` of the state at the start; may be repeated")
	c.Flags().IntVar(&count, "count", 0, "end after so many messages (default never)")
	return c
}

func listen(ctx context.Context, cmd *cobra.Command, a *account, state []string, count int) error {
	set, _, err := pairs(state)
	if err != nil {
		return cli.UsageError{Err: err}
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	p := &printer{out: cmd.OutOrStdout(), left: count, done: end}
	t, err := a.terminal(cmd, func(c *client.Config) {
		c.State = set
		c.OnMessage = p.print
		c.OnStatus = func(s client.Status) { fmt.Fprintln(cmd.ErrOrStderr(), statusLine(s)) }
	})
	if err != nil {
		return err
	}
	if a.password != "" || os.Getenv("PUSHD_PASSWORD") != "" || a.profile != "" { // else standard input was the password
		go readStates(cmd.InOrStdin(), t, cmd.ErrOrStderr())
	}
	if err := t.Run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// terminal makes the terminal of the flags, and asks for the password unless a
// profile spares it.
func (a *account) terminal(cmd *cobra.Command, complete func(*client.Config)) (*client.Terminal, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	roots, err := a.roots()
	if err != nil {
		return nil, err
	}
	c := client.Config{
		URL: a.server, Dial: a.dial, RootCAs: roots, User: a.user, Device: a.device, App: a.app, AppVersion: a.version,
		Log: logger(config.Log{Level: slog.LevelWarn, Format: "text"}, cmd.ErrOrStderr()),
	}
	if a.unbound {
		c.Binding = wire.BindingNone
	}
	saved := false
	if a.profile != "" {
		c.Profile = client.FileProfile(a.profile)
		_, err := os.Stat(a.profile)
		saved = err == nil
	}
	if c.Password = os.Getenv("PUSHD_PASSWORD"); !saved || a.password != "" {
		if c.Password, err = readPassword(cmd, a.password); err != nil {
			return nil, err
		}
	}
	complete(&c)
	return client.New(c)
}

// A printer writes messages, one JSON object a line.
type printer struct {
	mu   sync.Mutex
	out  io.Writer
	left int // messages until done is called; 0: never
	done func()
}

// print acknowledges a message once it is written.
func (p *printer) print(_ context.Context, m client.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.out.Write(messageLine(m)); err != nil {
		return err
	}
	if p.left--; p.left == 0 {
		p.done()
	}
	return nil
}

// messageLine shows a payload as text where it is text, and in base64 where it
// is not.
func messageLine(m client.Message) []byte {
	line := struct {
		ID      string    `json:"id"`
		To      string    `json:"to"`
		Time    time.Time `json:"time"`
		Topic   string    `json:"topic,omitempty"`
		Urgency string    `json:"urgency,omitempty"`
		Text    *string   `json:"text,omitempty"`
		Data    []byte    `json:"data,omitempty"`
	}{ID: m.ID, To: m.To, Time: m.Time, Topic: m.Topic, Urgency: m.Urgency}
	if text := string(m.Data); utf8.ValidString(text) {
		line.Text = &text
	} else {
		line.Data = m.Data
	}
	b, _ := json.Marshal(line) // there is nothing in it that cannot be
	return append(b, '\n')
}

func statusLine(s client.Status) string {
	switch s.Phase {
	case client.Verified:
		return fmt.Sprintf("%s (binding %s)", s.Phase, s.Binding)
	case client.Waiting:
		return fmt.Sprintf("%s %s: %v", s.Phase, s.Wait.Round(time.Millisecond), s.Err)
	}
	return string(s.Phase)
}

// readStates changes the state by lines of standard input, until it ends.
func readStates(in io.Reader, t *client.Terminal, complain io.Writer) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		set, unset, err := pairs(strings.Fields(lines.Text()))
		if err == nil {
			err = t.SetState(set, unset...)
		}
		if err != nil {
			fmt.Fprintln(complain, err)
		}
	}
}
