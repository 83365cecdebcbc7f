package backend

import (
	"fmt"
	"slices"
)

// ProxyProtocol is a version of the PROXY protocol, whose header tells a server where a connection
// comes from.
type ProxyProtocol uint8

const (
	NoProxyProtocol ProxyProtocol = iota // the servers get what the client sends
	ProxyV1                              // a line of text
	ProxyV2                              // binary, with more than the addresses
)

var proxyProtocols = [...]string{NoProxyProtocol: "off", ProxyV1: "v1", ProxyV2: "v2"}

// ProxyProtocolWords returns the words of a configuration, each at the place of its value.
func ProxyProtocolWords() []string { return slices.Clone(proxyProtocols[:]) }

// String spells the version as the configuration does.
func (p ProxyProtocol) String() string {
	if int(p) < len(proxyProtocols) {
		return proxyProtocols[p]
	}
	return fmt.Sprintf("ProxyProtocol(%d)", uint8(p))
}
