package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/push/client"
)

func publishCommand() *cobra.Command {
	var r remote
	var p client.Publication
	var keyFile string
	var within time.Duration
	c := &cobra.Command{
		Use:   "publish [TEXT]",
		Short: "Publish one message",
		Long: `Publish one message, from the argument or from standard input, to the terminal of
a token or to everybody with an app in a version. It is stored on disk when the
command ends with status 0, and then printed with its id. The key comes from
PUSHD_KEY or --key-file. While the server cannot be reached it is tried again,
up to --within; the message is stored once all the same.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			return publish(ctx, cmd, &r, p, keyFile, args)
		},
	}
	r.bind(c)
	f := c.Flags()
	f.StringVar(&keyFile, "key-file", "", "`FILE` whose first line is the publisher's key")
	f.StringVar(&p.Token, "token", "", "message `TOKEN` of the terminal")
	f.StringVar(&p.App, "app", "", "`NAME` of an app, instead of a token")
	f.StringVar(&p.Version, "app-version", "", "`VERSION` of that app, or * for all")
	f.StringVar(&p.Condition, "condition", "", "hold it until the terminal's state matches, such as `network=wifi`")
	f.StringVar(&p.Topic, "topic", "", "replace the undelivered message of this `NAME`")
	f.StringVar(&p.Urgency, "urgency", "", "very-low, low, normal or high")
	f.StringVar(&p.ContentType, "content-type", "", "media `TYPE` of the message")
	f.StringVar(&p.ID, "id", "", "`ID` that a second attempt has in common with the first")
	f.DurationVar(&p.TTL, "ttl", 0, "how long it waits for terminals that are away (default as long as the server keeps any)")
	f.DurationVar(&within, "within", 30*time.Second, "how long to try")
	return c
}

func publish(ctx context.Context, cmd *cobra.Command, r *remote, p client.Publication, keyFile string, args []string) error {
	if err := checkPublication(r, p, args); err != nil {
		return cli.UsageError{Err: err}
	}
	key, err := publisherKey(keyFile)
	if err != nil {
		return err
	}
	if p.Data, err = payload(cmd.InOrStdin(), args); err != nil {
		return err
	}
	roots, err := r.roots()
	if err != nil {
		return err
	}
	sender := client.Publisher{URL: r.server, Key: key, HTTP: &http.Client{Transport: &http.Transport{
		DialContext: r.dial, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
	}}}
	receipt, err := sender.Publish(ctx, p)
	if err != nil {
		return err
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(receipt)
}

func checkPublication(r *remote, p client.Publication, args []string) error {
	switch {
	case r.server == "":
		return r.check()
	case len(args) > 1:
		return fmt.Errorf("publish: takes one text, got %d; quote it", len(args))
	case (p.Token == "") == (p.App == ""):
		return errors.New("publish: give one of --token TOKEN and --app NAME")
	case p.App != "" && p.Version == "":
		return errors.New("publish: an app's message is for one of its versions, give --app-version VERSION, or '*' for all")
	}
	return nil
}

func publisherKey(file string) (string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("key: %w", err)
		}
		defer f.Close()
		return firstLine("key", f)
	}
	if key := os.Getenv("PUSHD_KEY"); key != "" {
		return key, nil
	}
	return "", errors.New("key: nothing given; set PUSHD_KEY, or use --key-file FILE")
}

// largest is more than any server takes.
const largest = 1 << 20

func payload(in io.Reader, args []string) ([]byte, error) {
	if len(args) == 1 {
		return []byte(args[0]), nil
	}
	data, err := io.ReadAll(io.LimitReader(in, largest+1))
	if err == nil && len(data) > largest {
		err = fmt.Errorf("more than %d bytes on standard input", largest)
	}
	return data, err
}
