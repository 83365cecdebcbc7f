package store

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// natsConfig is what a NATS server is started with.
type natsConfig struct {
	Name     string
	Dir      string
	MaxStore int64
	Port     int
	Route    int
	Routes   []string // none: a server alone
}

// natsChild is a NATS server of its own process.
func natsChild() error {
	var c natsConfig
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: c.Dir, JetStreamMaxStore: c.MaxStore,
	}
	if len(c.Routes) > 0 {
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: c.Route}
	}
	for _, r := range c.Routes {
		u, err := url.Parse(r)
		if err != nil {
			return err
		}
		o.Routes = append(o.Routes, u)
	}
	srv, err := server.NewServer(o)
	if err != nil {
		return err
	}
	srv.Start()
	_, err = io.Copy(io.Discard, os.Stdin) // until killed
	return err
}

// A cluster is some NATS servers.
type cluster struct {
	t       *testing.T
	configs []natsConfig
	running []*exec.Cmd
	stdin   []io.WriteCloser
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	ports := freePorts(t, 6)
	var routes []string
	for _, p := range ports[3:] {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	var configs []natsConfig
	for i := range 3 {
		configs = append(configs, natsConfig{Name: fmt.Sprintf("nats-%d", i), Dir: t.TempDir(), Port: ports[i], Route: ports[3+i], Routes: routes})
	}
	return startServers(t, configs...)
}

func startServers(t *testing.T, configs ...natsConfig) *cluster {
	t.Helper()
	c := &cluster{t: t, configs: configs, running: make([]*exec.Cmd, len(configs)), stdin: make([]io.WriteCloser, len(configs))}
	t.Cleanup(func() {
		for i := range configs {
			c.kill(i)
		}
	})
	for i := range configs {
		c.start(i)
	}
	return c
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (c *cluster) start(i int) {
	c.t.Helper()
	cmd := child(c.t, "nats")
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		err = json.NewEncoder(stdin).Encode(c.configs[i])
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.running[i], c.stdin[i] = cmd, stdin
}

// kill ends a server as a power failure does.
func (c *cluster) kill(i int) {
	if cmd := c.running[i]; cmd != nil {
		cmd.Process.Kill()
		cmd.Wait()
		c.stdin[i].Close()
		c.running[i] = nil
	}
}

func (c *cluster) index(name string) int {
	c.t.Helper()
	i := slices.IndexFunc(c.configs, func(n natsConfig) bool { return n.Name == name })
	if i < 0 {
		c.t.Fatalf("no server is called %q", name)
	}
	return i
}

func (c *cluster) url() string {
	var urls []string
	for _, n := range c.configs {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", n.Port))
	}
	return strings.Join(urls, ",")
}

func (c *cluster) open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(within(t, patience), Config{
		URL: c.url(), Replicas: len(c.configs), Secret: make([]byte, secretSize), Backlog: 1 << 20, Log: quiet,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// settled waits until all three servers hold all that the leader does.
func (c *cluster) settled(s *Store) *jetstream.ClusterInfo {
	c.t.Helper()
	var info *jetstream.StreamInfo
	eventually(c.t, "all servers have caught up", func() bool {
		var err error
		info, err = s.streamInfo(within(c.t, patience), messageStream, "")
		if err != nil {
			c.t.Fatal(err)
		}
		current := 0
		for _, r := range info.Cluster.Replicas {
			if r.Current && !r.Offline {
				current++
			}
		}
		return info.Cluster.Leader != "" && current == 2
	})
	return info.Cluster
}

// consumerServer is where the consumer that was made last lives.
func (c *cluster) consumerServer(s *Store) (name string) {
	c.t.Helper()
	eventually(c.t, "the consumer's server is known", func() bool {
		var newest *jetstream.ConsumerInfo
		// Asked anew: while the servers elect who leads them all, nobody answers.
		list := s.streams[messageStream].ListConsumers(within(c.t, 10*time.Second))
		for info := range list.Info() {
			if newest == nil || info.Created.After(newest.Created) {
				newest = info
			}
		}
		if newest == nil || list.Err() != nil {
			return false
		}
		name = newest.Cluster.Leader
		return name != ""
	})
	return name
}

// nodeServer is the server that a store is connected to.
func (c *cluster) nodeServer(s *Store) (name string) {
	c.t.Helper()
	eventually(c.t, "the node is connected", func() bool {
		name = s.nc.ConnectedServerName()
		return name != ""
	})
	return name
}
