package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"keyhole/push/client"
)

// A population is who takes part: the terminals, each logged in by password
// and with its message token, and a publisher.
type population struct {
	Key       string   `json:"key"` // of the publisher
	Terminals []member `json:"terminals"`

	took time.Duration // of the logins; 0: they were kept
}

// A member is one terminal. Its profile has the session and its keys.
type member struct {
	User    string          `json:"user"`
	Device  string          `json:"device"`
	Token   string          `json:"token"`
	Profile json.RawMessage `json:"profile"`
}

const (
	populationFile = "population.json"
	password       = "a password of the benchmark"
	devices        = 100 // of one account
	loginsAtOnce   = 8
)

// populate logs terminals in through the edge, each on its own connection, and
// leaves the store in the folder pristine. What an earlier run left is used
// again when it is of the same size.
func (s *site) populate(ctx context.Context) (*population, error) {
	p, err := readPopulation(s.dir)
	if err == nil && len(p.Terminals) == s.Terminals {
		return p, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.RemoveAll(filepath.Join(s.dir, pristine)); err != nil {
		return nil, err
	}
	if err := makeCertificate(s.dir); err != nil {
		return nil, err
	}
	defer s.stop()
	if err := s.start(ctx, pristine); err != nil {
		return nil, err
	}
	if p, err = s.register(ctx); err != nil {
		return nil, err
	}
	b, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return p, os.WriteFile(filepath.Join(s.dir, populationFile), b, 0o600)
}

func readPopulation(dir string) (*population, error) {
	b, err := os.ReadFile(filepath.Join(dir, populationFile))
	if err != nil {
		return nil, err
	}
	p := new(population)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("%s: %w; remove the folder", populationFile, err)
	}
	return p, nil
}

// register makes the accounts and the publisher's key, and logs in.
func (s *site) register(ctx context.Context) (p *population, err error) {
	p = &population{Terminals: make([]member, s.Terminals)}
	if p.Key, err = s.command(ctx, "", "key", "add", "bench", "--data", filepath.Join(s.dir, pristine)); err != nil {
		return nil, err
	}
	for i := 0; i < s.Terminals; i += devices {
		if _, err := s.command(ctx, password, "user", "add", account(i), "--data", filepath.Join(s.dir, pristine)); err != nil {
			return nil, err
		}
	}
	begin := time.Now()
	if err := s.logIn(ctx, p.Terminals); err != nil {
		return nil, fmt.Errorf("log in: %w", err)
	}
	p.took = time.Since(begin)
	return p, nil
}

func account(terminal int) string { return fmt.Sprintf("user-%d", terminal/devices) }

func (s *site) logIn(ctx context.Context, members []member) error {
	dial, err := newDialer(s.dir, s.Edge)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range loginsAtOnce {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(members) {
					return
				}
				m := &members[i]
				m.User, m.Device = account(i), fmt.Sprintf("device-%d", i)
				if err := m.logIn(ctx, dial); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// logIn pulls, which needs a session and a token.
func (m *member) logIn(ctx context.Context, d *dialer) error {
	t, err := client.New(m.config(d))
	if err != nil {
		return err
	}
	if _, err := t.Pull(ctx); err != nil {
		return err
	}
	m.Token = t.Token()
	return nil
}

func (m *member) config(d *dialer) client.Config {
	return client.Config{
		URL: "https://" + host, User: m.User, Password: password, Device: m.Device, App: "bench", AppVersion: "1.0",
		Profile: (*memory)(&m.Profile), Dial: d.dial, RootCAs: d.roots,
	}
}

// memory is a client.Profile that does not touch the disk.
type memory json.RawMessage

func (m *memory) Load() ([]byte, error) {
	if *m == nil {
		return nil, nil
	}
	return *m, nil
}

func (m *memory) Save(b []byte) error {
	*m = b
	return nil
}
