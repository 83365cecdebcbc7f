package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// VersionCommand returns the command `version` of a program.
func VersionCommand(program string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), VersionLine(program))
			return err
		},
	}
}

// VersionLine returns the line that `version` and --version print.
func VersionLine(program string) string {
	return fmt.Sprintf("%s %s %s/%s %s\n", program, Version(), runtime.GOOS, runtime.GOARCH, runtime.Version())
}

// Version returns the module's version, with the commit if it was built from a checkout.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && v == "(devel)" {
			v += " " + s.Value[:12]
		}
	}
	return v
}
