package main

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"

	"github.com/spf13/cobra"

	"keyhole/cmd/internal/cli"
	"keyhole/config/strict"
	"keyhole/push/config"
)

const defaultFile = "pushd.yaml"

// settings are the flags that stand for keys of the configuration.
type settings struct {
	file, data, listen, admin, cert, key string
	domains                              []string
	directory, directoryCA, email        string
}

// bindData adds what every command needs that works on the data folder.
func (s *settings) bindData(c *cobra.Command) {
	c.Flags().StringVarP(&s.file, "config", "c", "", "configuration `FILE` (default pushd.yaml, if there is one)")
	c.Flags().StringVar(&s.data, "data", "", "data `DIR`, everything that lasts is in it")
}

func (s *settings) bindServe(c *cobra.Command) {
	s.bindData(c)
	f := c.Flags()
	f.StringVar(&s.listen, "listen", "", "`ADDRESS` for terminals and publishers (default :10443); port 0 takes any that is free")
	f.StringVar(&s.admin, "admin", "", "`ADDRESS` for health and metrics (default 127.0.0.1:9281), or off")
	f.StringVar(&s.cert, "cert", "", "`FILE` of the certificate chain, PEM")
	f.StringVar(&s.key, "key", "", "`FILE` of the certificate's key, PEM")
	f.StringSliceVar(&s.domains, "domain", nil, "`NAME` to get a certificate for by ACME, through the edge; may be repeated")
	f.StringVar(&s.email, "acme-email", "", "`ADDRESS` that the certificate authority may write to")
	f.StringVar(&s.directory, "acme-directory", "", "`URL` of the ACME directory (default Let's Encrypt)")
	f.StringVar(&s.directoryCA, "acme-ca", "", "`FILE` of the authority of the ACME directory's own certificate, PEM")
}

// load reads the configuration, lays the flags over it, and returns it without
// asking whether it is complete.
func (s *settings) load() (*config.Config, error) {
	file := s.file
	if file == "" {
		file = defaultFile
	}
	c, err := config.Load(file)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && s.file == "":
		c = config.Default()
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
		return nil, cli.UsageError{Err: err}
	default:
		return nil, err
	}
	if s.cert != "" || s.key != "" || len(s.domains) > 0 { // one certificate: the flags' instead of the file's
		c.Certificate, c.ACME = config.Certificate{}, config.Default().ACME
	}
	for _, f := range []struct {
		flag string
		dst  *string
	}{
		{s.data, &c.Data}, {s.listen, &c.Listen}, {s.admin, &c.Admin}, {s.cert, &c.Certificate.Cert}, {s.key, &c.Certificate.Key},
		{s.email, &c.ACME.Email}, {s.directory, &c.ACME.Directory}, {s.directoryCA, &c.ACME.CA},
	} {
		if f.flag != "" {
			*f.dst = f.flag
		}
	}
	if len(s.domains) > 0 {
		c.ACME.Domains = s.domains
	}
	if c.Admin == "off" {
		c.Admin = ""
	}
	return c, nil
}

// usage marks an error as the operator's, unless it is one already.
func usage(err error) error {
	if _, ok := errors.AsType[strict.Problems](err); ok || err == nil {
		return err
	}
	return cli.UsageError{Err: err}
}

func logger(l config.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
