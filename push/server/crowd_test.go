package server

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"testing"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// crowdVariable tells a test process to be a crowd, and the address to connect
// to. A crowd holds idle terminals in a process of its own, so that of each
// connection the server's half alone is measured.
const crowdVariable = "PUSHD_TEST_CROWD"

// TestMain is also the crowd's.
func TestMain(m *testing.M) {
	address := os.Getenv(crowdVariable)
	if address == "" {
		os.Exit(m.Run())
	}
	if err := crowd(address); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

// A member is one terminal of a crowd.
type member struct {
	User, Device, App string
	Session, Token    string
	Key               []byte // keys.Private
	Server            string // keys.Public
}

// crowd connects the members that it reads, says so, and stays until its input
// ends.
func crowd(address string) error {
	in := json.NewDecoder(os.Stdin)
	var members []member
	if err := in.Decode(&members); err != nil {
		return err
	}
	conns := make([]*tls.Conn, len(members))
	errs := make(chan error, len(members))
	var tasks sync.WaitGroup
	turn := make(chan struct{}, 8)
	for i, m := range members {
		turn <- struct{}{}
		tasks.Go(func() {
			var err error
			if conns[i], err = m.connect(address); err != nil {
				errs <- fmt.Errorf("%s: %w", m.Device, err)
			}
			<-turn
		})
	}
	tasks.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// connect goes through the exchange and asks for messages.
func (m *member) connect(address string) (*tls.Conn, error) {
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // the exporter proves more
	if err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 1<<10)
	fmt.Fprintf(conn, "GET /v1/terminal HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: %s\r\n\r\n", siteName, wire.Subprotocol)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("upgrade: %v, %v", response, err)
	}
	x, key, err := m.exchange(conn)
	if err != nil {
		return nil, err
	}
	hello := &wire.Hello{Versions: x.Offered, ClientToken: x.ClientToken, Session: x.Session, AppVersion: x.AppVersion, Binding: x.Binding}
	challenge, err := ask[*wire.Challenge](conn, r, hello)
	if err != nil {
		return nil, err
	}
	x.Version, x.Supported, x.ServerToken = challenge.Version, challenge.Versions, challenge.ServerToken
	proof, err := x.ClientProof(key)
	if err != nil {
		return nil, err
	}
	if _, err := ask[*wire.Confirmed](conn, r, &wire.Confirm{
		ServerToken: x.ServerToken, Versions: x.Offered, ChannelBinding: x.BindingTag(), Proof: proof,
	}); err != nil {
		return nil, err
	}
	_, err = ask[*wire.Listening](conn, r, &wire.Listen{Token: m.Token, State: map[string]string{"network": "wifi", "foreground": "false"}})
	return conn, err
}

func (m *member) exchange(conn *tls.Conn) (*wire.Exchange, *keys.Private, error) {
	key, err := keys.ParsePrivate(m.Key)
	if err != nil {
		return nil, nil, err
	}
	server, err := keys.ParsePublic(m.Server)
	if err != nil {
		return nil, nil, err
	}
	state := conn.ConnectionState()
	exporter, err := wire.Exporter(&state)
	return &wire.Exchange{
		Offered: []string{wire.Subprotocol}, ClientToken: random(tokenSize), User: m.User, Device: m.Device, App: m.App,
		AppVersion: "2.1", Session: m.Session, Client: key.Public(), Server: server, Binding: wire.BindingExporter, Exporter: exporter,
	}, key, err
}

// ask sends a frame and returns the next of the server's.
func ask[F wire.Frame](conn *tls.Conn, r *bufio.Reader, f wire.Frame) (answer F, err error) {
	text, err := wire.Encode(f)
	if err != nil {
		return answer, err
	}
	if _, err := conn.Write(masked(text)); err != nil {
		return answer, err
	}
	body, err := readServerFrame(r)
	if err != nil {
		return answer, err
	}
	got, err := wire.DecodeServer(body)
	if err != nil {
		return answer, err
	}
	answer, ok := got.(F)
	if !ok {
		return answer, fmt.Errorf("received %s", body)
	}
	return answer, nil
}

// masked is a text message of a client in one frame, masked with zeros (RFC
// 6455 section 5.2).
func masked(text []byte) []byte {
	b := []byte{0x81, 0x80 | 126, byte(len(text) >> 8), byte(len(text)), 0, 0, 0, 0}
	return append(b, text...)
}

// readServerFrame reads a message in one frame of at most 65,535 bytes.
func readServerFrame(r *bufio.Reader) ([]byte, error) {
	header := make([]byte, 2)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, err
	}
	n := uint16(header[1])
	if n == 126 {
		if err := binary.Read(r, binary.BigEndian, &n); err != nil {
			return nil, err
		}
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}

// startCrowd has a process connect every phone, and returns when all of them
// listen. They hang up when leave is called, or the test ends.
func startCrowd(t testing.TB, s *site, phones []*phone) (leave func()) {
	t.Helper()
	members := make([]member, len(phones))
	for i, p := range phones {
		members[i] = member{p.user, p.device, p.app, p.session, p.token, p.key.Bytes(), p.server.String()}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crowdVariable+"="+s.address)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	leave = sync.OnceFunc(func() { in.Close(); _ = cmd.Wait() })
	t.Cleanup(leave)
	if err := json.NewEncoder(in).Encode(members); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "connected\n" {
		t.Fatalf("the crowd says %q, %v, want that it is connected", line, err)
	}
	return leave
}
