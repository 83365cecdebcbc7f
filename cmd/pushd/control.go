package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"keyhole/push/config"
)

// controlSocket is a file in the data folder that only its owner may open. The
// operator's commands speak to pushd over it, so that they work while it runs.
const controlSocket = "pushd.sock"

// An operator sends the operator's requests to the pushd of a data folder.
type operator struct {
	http *http.Client
	node *node // nil when pushd runs by itself
}

// operate connects to the pushd that runs on the data folder. When none does,
// it opens the folder itself, until close.
func operate(cmd *cobra.Command, s *settings) (*operator, error) {
	c, err := s.load()
	if err == nil {
		err = c.CompleteStore()
	}
	if err != nil {
		return nil, usage(err)
	}
	path := filepath.Join(c.Data, controlSocket)
	o := &operator{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}}
	conn, err := net.Dial("unix", path)
	if err == nil {
		return o, conn.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("control socket: %w; the user that runs pushd may open it", err)
	}
	if _, err := os.Stat(c.Data); errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(cmd.ErrOrStderr(), "pushd: there was no data folder %s; it is made now\n", c.Data)
	}
	o.node, err = openFolder(cmd.Context(), c, logger(config.Log{Level: slog.LevelWarn, Format: "text"}, cmd.ErrOrStderr()))
	return o, err
}

// openFolder is a node that listens to nobody but the operator.
func openFolder(ctx context.Context, c *config.Config, log *slog.Logger) (n *node, err error) {
	n = &node{config: c, log: log, failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	if n.store, err = openStore(ctx, c, log); err != nil {
		return nil, err
	}
	n.ends = append(n.ends, func() { n.store.Close() })
	if err := n.makeServer(ctx); err != nil {
		return nil, err
	}
	return n, n.listenControl()
}

func (o *operator) close() {
	o.http.CloseIdleConnections()
	if o.node != nil {
		o.node.close()
	}
}

// ask sends a request with a JSON body, and reads a JSON reply unless reply is
// nil.
func (o *operator) ask(ctx context.Context, method, path string, body, reply any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://pushd"+path, &b)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := o.http.Do(r)
	if err != nil {
		return fmt.Errorf("pushd: %w", err)
	}
	defer resp.Body.Close()
	return readReply(resp, reply)
}

// readReply decodes what the server says, or returns its error.
func readReply(resp *http.Response, reply any) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var refused struct {
			Error struct{ Code, Message string }
		}
		if json.Unmarshal(data, &refused) == nil && refused.Error.Code != "" {
			return fmt.Errorf("%s: %s", refused.Error.Code, refused.Error.Message)
		}
		return fmt.Errorf("%s: %.200q", resp.Status, data)
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(data, reply)
}

// operatorCommand completes a command that works on a data folder.
func operatorCommand(c *cobra.Command, do func(cmd *cobra.Command, o *operator, args []string) error) *cobra.Command {
	var s settings
	s.bindData(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := operate(cmd, &s)
		if err != nil {
			return err
		}
		defer o.close()
		return do(cmd, o, args)
	}
	return c
}
