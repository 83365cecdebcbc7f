package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// A certificateFile is a certificate and its key in two files, which somebody
// else may renew while connections live.
type certificateFile struct {
	cert, key string
	current   atomic.Pointer[tls.Certificate]
	read      [2]time.Time // modification times of what is current
}

func openCertificate(cert, key string) (*certificateFile, error) {
	f := &certificateFile{cert: cert, key: key}
	_, err := f.reload()
	return f, err
}

// get is tls.Config.GetCertificate.
func (f *certificateFile) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return f.current.Load(), nil
}

// reload reads the files if either was modified, and keeps the former
// certificate on an error.
func (f *certificateFile) reload() (changed bool, err error) {
	var times [2]time.Time
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return false, fmt.Errorf("certificate: %w", err)
		}
		times[i] = info.ModTime()
	}
	if f.current.Load() != nil && times == f.read {
		return false, nil
	}
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return false, fmt.Errorf("certificate %s with key %s: %w; both must be PEM, the chain with its leaf first", f.cert, f.key, err)
	}
	f.current.Store(&c)
	f.read = times
	return true, nil
}

// watch reloads the files when they change or when asked to, until ctx ends.
func (f *certificateFile) watch(ctx context.Context, asked <-chan os.Signal, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		case <-tick.C:
		}
		switch changed, err := f.reload(); {
		case err != nil:
			log.Error("certificate not reloaded; the former one stays in use", "error", err)
		case changed:
			log.Info("certificate reloaded", "file", f.cert, "not_after", f.current.Load().Leaf.NotAfter)
		}
	}
}
