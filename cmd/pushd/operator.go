package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
)

// oneArg wants exactly one argument.
func oneArg(what, example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] != "" {
			return nil
		}
		return cli.UsageError{Err: fmt.Errorf("%s: takes one %s, write `%s %s`", c.Name(), what, c.CommandPath(), example)}
	}
}

func group(name, short string, subcommands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short}
	cli.Group(c, "")
	c.AddCommand(subcommands...)
	return c
}

func userCommand() *cobra.Command {
	var file string
	add := operatorCommand(&cobra.Command{
		Use:   "add NAME",
		Short: "Let somebody log in",
		Long:  "Let somebody log in. The password comes from PUSHD_PASSWORD, from --password-file, or from standard input.",
		Args:  oneArg("name", "alice"),
	}, func(cmd *cobra.Command, o *operator, args []string) error {
		password, err := readPassword(cmd, file)
		if err != nil {
			return err
		}
		return o.ask(cmd.Context(), http.MethodPost, "/users", map[string]string{"name": args[0], "password": password}, nil)
	})
	bindPassword(add, &file)
	disable := operatorCommand(&cobra.Command{
		Use:   "disable NAME",
		Short: "End somebody's sessions and live connections, and let them log in no more",
		Args:  oneArg("name", "alice"),
	}, func(cmd *cobra.Command, o *operator, args []string) error {
		return o.ask(cmd.Context(), http.MethodPost, "/users/"+url.PathEscape(args[0])+"/disable", nil, nil)
	})
	return group("user", "Accounts of terminals", add, disable)
}

func keyCommand() *cobra.Command {
	var apps []string
	add := operatorCommand(&cobra.Command{
		Use:   "add NAME",
		Short: "Let somebody publish, and print the key, which is shown only once",
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("app") && len(apps) == 0 { // as of a variable that is not set
				return cli.UsageError{Err: errors.New("key add: --app is empty; name an app, or leave the flag out for every app")}
			}
			return oneArg("name", "newsroom")(cmd, args)
		},
	}, func(cmd *cobra.Command, o *operator, args []string) error {
		var made struct{ Key string }
		body := map[string]any{"name": args[0], "apps": apps}
		if err := o.ask(cmd.Context(), http.MethodPost, "/keys", body, &made); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), made.Key)
		return err
	})
	add.Flags().StringSliceVar(&apps, "app", nil, "`APP` that the key is for; may be repeated (default every app)")
	revoke := operatorCommand(&cobra.Command{
		Use:   "revoke NAME",
		Short: "Let a publisher publish no more",
		Args:  oneArg("name", "newsroom"),
	}, func(cmd *cobra.Command, o *operator, args []string) error {
		return o.ask(cmd.Context(), http.MethodDelete, "/keys/"+url.PathEscape(args[0]), nil, nil)
	})
	return group("key", "Keys of publishers", add, revoke)
}

func tokenCommand() *cobra.Command {
	return group("token", "Message tokens", operatorCommand(&cobra.Command{
		Use:   "revoke TOKEN",
		Short: "Make a message token worthless, also on a live connection",
		Args:  oneArg("token", "TOKEN"),
	}, func(cmd *cobra.Command, o *operator, args []string) error {
		return o.ask(cmd.Context(), http.MethodDelete, "/tokens/"+url.PathEscape(args[0]), nil, nil)
	}))
}

func sessionCommand() *cobra.Command {
	return group("session", "Sessions of accounts", operatorCommand(&cobra.Command{
		Use:   "revoke USER",
		Short: "End every session of an account, also on live connections",
		Args:  oneArg("user", "alice"),
	}, func(cmd *cobra.Command, o *operator, args []string) error {
		return o.ask(cmd.Context(), http.MethodDelete, "/sessions?user="+url.QueryEscape(args[0]), nil, nil)
	}))
}

func terminalsCommand() *cobra.Command {
	return operatorCommand(&cobra.Command{
		Use:   "terminals",
		Short: "List the terminals that are connected to this node, one JSON object a line",
		Args:  cli.NoArgs,
	}, func(cmd *cobra.Command, o *operator, _ []string) error {
		var reply struct{ Terminals []json.RawMessage }
		if err := o.ask(cmd.Context(), http.MethodGet, "/terminals", nil, &reply); err != nil {
			return err
		}
		for _, t := range reply.Terminals {
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", t); err != nil {
				return err
			}
		}
		return nil
	})
}
