package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/push/client"
)

func pullCommand() *cobra.Command {
	var a account
	c := &cobra.Command{
		Use:   "pull",
		Short: "Print what is stored for a terminal, without taking it away",
		Long: `Print what is stored for a terminal and due by its last known state, as listen
would, without a connection that stays and without acknowledging it.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.terminal(cmd, func(c *client.Config) {
				c.OnMessage = func(context.Context, client.Message) error { return nil } // never called: pull does not run the terminal
			})
			if err != nil {
				return err
			}
			messages, err := t.Pull(cmd.Context())
			if err != nil {
				return err
			}
			for _, m := range messages {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s", messageLine(m)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.bind(c)
	return c
}
