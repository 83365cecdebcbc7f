package address

import (
	"errors"
	"fmt"
	"strings"
)

const (
	sniHost    = "{sni}"  // stands for the name that a client asks for
	listenPort = "listen" // stands for the port of the listener that it came in by
)

var (
	errNotSNI    = errors.New("the one placeholder is {sni}, the name that the client asks for, as in {sni}:443")
	errBehindSNI = errors.New("after {sni} comes the port, or a dot and the rest of the name, as in {sni}.internal:443")
)

// IsSNI reports whether a server's address, if ParseServer takes it, has SNI. It is quick.
func IsSNI(server string) bool { return strings.HasPrefix(server, sniHost) }

// parseSNI reads {sni}:port or {sni}.suffix:port. Nothing goes before {sni}: a client chooses the
// name, and would choose the end of a longer one.
func parseSNI(s string) (Address, error) {
	before, rest, ok := strings.Cut(s, sniHost)
	suffix, port, _ := strings.Cut(rest, ":")
	switch {
	case !ok || strings.ContainsAny(rest, "{$"):
		return Address{}, errNotSNI
	case before != "":
		return Address{}, fmt.Errorf("{sni} is the whole name that the client asks for, leave out %.40q", before)
	case suffix != "" && (suffix[0] != '.' || len(suffix) == 1):
		return Address{}, errBehindSNI
	case port == "":
		return Address{}, fmt.Errorf("missing port, did you mean {sni}%.40s:443?", suffix)
	}
	a, err := parse(strings.TrimPrefix(suffix, ".") + ":" + port)
	switch {
	case err != nil:
		return Address{}, err
	case a.IP.IsValid():
		return Address{}, errBehindSNI
	case a.Port == 0 && !a.Listen:
		return Address{}, errors.New("port 0 cannot be connected to, want 1 to 65535")
	}
	a.Name, a.SNI = strings.TrimSuffix(a.Name, "."), true
	return a, nil
}
