package server

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"
	"time"

	"keyhole/push/auth"
	"keyhole/push/wire"
)

// versions are those spoken here, best first.
var versions = []string{wire.Subprotocol}

// tokenSize is the length of both tokens of an exchange, in bytes.
const tokenSize = 32

// An exchangeToken is the client's or the server's.
type exchangeToken [tokenSize]byte

// Bounds of what a hello may carry, beside the size of its frame. (An app's version is
// bounded by maxVersion, as a publication's is.)
const (
	maxVersions     = 16
	maxVersionBytes = 64
)

// How many tokens of either side a server remembers, and for how long. To
// forget one early opens nothing: a proof is over tokens of both sides, and the
// other side's is new.
const (
	remembered    = 1 << 16
	rememberedFor = 10 * time.Minute
)

// A phase is how far an exchange has come.
type phase uint8

const (
	expectHello   phase = iota // V1
	expectConfirm              // V3
	verified                   // V4 may be sent; there is no way back
	refused                    // by an error; the connection ends
)

// A verifier is what the exchanges of a server share.
type verifier struct {
	auth   *auth.Auth
	life   time.Duration // of a server token
	now    func() time.Time
	client *recent[exchangeToken, struct{}] // tokens that came in hellos
	server *recent[exchangeToken, struct{}] // tokens that were confirmed
	proven *exchange                        // the one of every terminal that is verified: it refuses

	renewed *recent[string, uint64] // epochs of sessions whose client key was renewed, by id
}

func newVerifier(a *auth.Auth, life time.Duration, now func() time.Time) *verifier {
	v := &verifier{
		auth: a, life: life, now: now,
		client:  newRecent[exchangeToken, struct{}](remembered, rememberedFor, now),
		server:  newRecent[exchangeToken, struct{}](remembered, max(rememberedFor, 2*life), now),
		renewed: newRecent[string, uint64](remembered, max(rememberedFor, 2*life), now),
	}
	v.proven = &exchange{v: v, phase: verified}
	return v
}

// An exchange is one mutual verification as the server goes through it (V1 to
// V4). Its transitions are hello and confirm, each allowed in one phase; the
// first error ends it. It writes nothing: not to the store, not to the registry
// of channels, not to the client.
type exchange struct {
	v        *verifier
	exporter func() ([]byte, error) // of the TLS connection (RFC 9266)

	phase   phase
	said    wire.Exchange
	session *auth.Session // whose key the client has to prove
	expires time.Time     // of the server token
}

func (v *verifier) exchange(exporter func() ([]byte, error)) *exchange {
	return &exchange{v: v, exporter: exporter}
}

// hello takes the client's token, session and versions (V1), and returns the
// answer (V2).
func (x *exchange) hello(ctx context.Context, h *wire.Hello) (*wire.Challenge, error) {
	if x.phase != expectHello {
		return nil, fmt.Errorf("%w: a hello comes first, and once a connection", wire.OutOfOrder)
	}
	x.phase = refused
	if err := checkHello(h); err != nil {
		return nil, err
	}
	if _, found := x.v.client.get(exchangeToken(h.ClientToken)); found {
		return nil, reusedClientToken()
	}
	session, err := x.v.auth.Open(ctx, h.Session)
	if err != nil {
		return nil, err
	}
	if err := x.bind(h.Binding, session.Claims.App); err != nil {
		return nil, err
	}
	// Remembered only now, so that a client without a session cannot push others'
	// tokens out.
	if !x.v.client.add(exchangeToken(h.ClientToken), struct{}{}) {
		return nil, reusedClientToken()
	}
	return x.challenge(h, session), nil
}

func checkHello(h *wire.Hello) error {
	switch {
	case len(h.ClientToken) != tokenSize:
		return fmt.Errorf("%w: client_token has %d bytes, want %d", wire.BadFrame, len(h.ClientToken), tokenSize)
	case len(h.Versions) > maxVersions, slices.ContainsFunc(h.Versions, func(v string) bool { return len(v) > maxVersionBytes }):
		return fmt.Errorf("%w: versions has %d entries, want at most %d of %d bytes", wire.BadFrame, len(h.Versions), maxVersions, maxVersionBytes)
	case len(h.AppVersion) > maxVersion:
		return fmt.Errorf("%w: app_version has %d bytes, want at most %d", wire.BadFrame, len(h.AppVersion), maxVersion)
	case h.Binding != wire.BindingExporter && h.Binding != wire.BindingNone:
		return fmt.Errorf("%w: binding is %.40q, want %q or %q", wire.BadFrame, h.Binding, wire.BindingExporter, wire.BindingNone)
	case best(h.Versions) == "":
		return fmt.Errorf("%w: %.40q offered, want one of %q", wire.VersionUnsupported, h.Versions, versions)
	}
	return nil
}

// best is the first version offered that is spoken here, or "".
func best(offered []string) string {
	for _, v := range offered {
		if slices.Contains(versions, v) {
			return v
		}
	}
	return ""
}

func reusedClientToken() error {
	return fmt.Errorf("%w: make 32 new random bytes for each exchange", wire.ClientTokenReused)
}

// bind ties the exchange to its TLS connection, unless the client has no
// exporter and the app's policy lets it in without (V5).
func (x *exchange) bind(binding, app string) error {
	x.said.Binding = binding
	if binding == wire.BindingNone {
		if x.v.auth.Policy(app).Binding != auth.Waived {
			return fmt.Errorf("%w: app %q demands %q", wire.BindingRequired, app, wire.BindingExporter)
		}
		return nil
	}
	exporter, err := x.exporter()
	if err != nil {
		return fmt.Errorf("bind the exchange: %w", err)
	}
	x.said.Exporter = exporter
	return nil
}

// challenge fills in the rest of what is said, with a token of the server's
// own.
func (x *exchange) challenge(h *wire.Hello, session *auth.Session) *wire.Challenge {
	made := random(tokenSize)
	x.session, x.expires = session, x.v.now().Add(x.v.life)
	s := &x.said
	s.Offered, s.Supported, s.Version = h.Versions, versions, best(h.Versions)
	s.ClientToken, s.ServerToken = h.ClientToken, made
	s.User, s.Device, s.App = session.Claims.User, session.Claims.Device, session.Claims.App
	s.AppVersion, s.Session = h.AppVersion, h.Session
	s.Client, s.Server = session.Client, session.Server.Private.Public()
	x.phase = expectConfirm
	return &wire.Challenge{Version: s.Version, Versions: s.Supported, ClientToken: s.ClientToken, ServerToken: made}
}

// confirm checks the first confirmation (V3), and returns the server's proof
// for the second (V4).
func (x *exchange) confirm(c *wire.Confirm) (proof []byte, err error) {
	if x.phase != expectConfirm {
		return nil, x.lateConfirm(c)
	}
	x.phase = refused
	if err := x.checkToken(c.ServerToken); err != nil {
		return nil, err
	}
	if err := x.checkSaid(c); err != nil {
		return nil, err
	}
	proof, err = x.said.ServerProof(x.session.Server.Private, c.Proof)
	if err != nil {
		return nil, fmt.Errorf("prove the exchange: %w", err)
	}
	x.phase = verified
	return proof, nil
}

// lateConfirm names what a confirmation at the wrong place is: one that was
// used, or one that nothing asked for.
func (x *exchange) lateConfirm(c *wire.Confirm) error {
	if x.v.used(c.ServerToken) {
		return fmt.Errorf("%w: it was confirmed before", wire.ServerTokenUsed)
	}
	return fmt.Errorf("%w: a confirm follows the challenge, and comes once", wire.OutOfOrder)
}

func (v *verifier) used(b []byte) bool {
	if len(b) != tokenSize {
		return false
	}
	_, found := v.server.get(exchangeToken(b))
	return found
}

// checkToken takes the server token of this exchange, once and in time.
func (x *exchange) checkToken(b []byte) error {
	if subtle.ConstantTimeCompare(b, x.said.ServerToken) != 1 {
		if x.v.used(b) {
			return fmt.Errorf("%w: it was confirmed on another connection", wire.ServerTokenUsed)
		}
		return fmt.Errorf("%w: it is not the one of this exchange", wire.ServerTokenMismatch)
	}
	x.v.server.add(exchangeToken(b), struct{}{})
	if x.v.now().After(x.expires) {
		return fmt.Errorf("%w: confirm within %s of the hello", wire.ServerTokenExpired, x.v.life)
	}
	return nil
}

// checkSaid compares what the client says was said with what was heard here.
// The proof alone would do; the other two name what is wrong.
func (x *exchange) checkSaid(c *wire.Confirm) error {
	var tag []byte
	if x.said.Binding == wire.BindingExporter {
		tag = x.said.BindingTag()
	}
	switch {
	case !slices.Equal(c.Versions, x.said.Offered):
		return fmt.Errorf("%w: %.40q confirmed, %.40q came in the hello", wire.Downgrade, c.Versions, x.said.Offered)
	case subtle.ConstantTimeCompare(c.ChannelBinding, tag) != 1:
		return fmt.Errorf("%w: the client is on another TLS connection than this one", wire.BindingMismatch)
	case !x.said.VerifyClient(c.Proof):
		return fmt.Errorf("%w: it is not over this exchange by key %s", wire.ProofInvalid, x.said.Client.KID())
	}
	return nil
}
