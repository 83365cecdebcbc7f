package server

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"keyhole/push/auth"
	"keyhole/push/keys"
	"keyhole/push/wire"
)

// proofSkew is how far the time in a proof may be from the server's, either
// way; a proof is remembered for twice that.
const proofSkew = time.Minute

// Proofs that are remembered, of one session and in all. Past either, requests
// are refused: forgetting a proof early would let it be used again.
const (
	proofsPerSession = 1024
	proofsInAll      = 1 << 17
)

// session lets in a terminal's request: "Authorization: DPoP <session token>"
// and in the header DPoP a proof of the session's key (RFC 9449 section 7.1).
// The session token alone is not enough: anybody who saw it could pull.
func (s *Server) session(r *http.Request) (*auth.Session, error) {
	token, err := credential(r, "DPoP", "a session token of POST /v1/login")
	if err != nil {
		return nil, err
	}
	proofs := r.Header.Values("DPoP")
	if len(proofs) != 1 {
		return nil, fmt.Errorf("%w: %d headers DPoP, want one with a proof of the session's key (RFC 9449)", wire.ProofInvalid, len(proofs))
	}
	origin, err := s.origin(r)
	if err != nil {
		return nil, err
	}
	session, err := s.config.Auth.Open(r.Context(), token)
	if err != nil {
		return nil, err
	}
	now := s.now()
	key, id, err := keys.VerifyDPoP(proofs[0], r.Method, origin+r.URL.EscapedPath(), now, proofSkew, token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ProofInvalid, err)
	}
	if !key.Equal(session.Client.SignKey()) {
		return nil, fmt.Errorf("%w: it is not by the key of the session", wire.ProofInvalid)
	}
	if session.Renewed {
		return nil, fmt.Errorf("%w: it was renewed; connect to /v1/terminal for the new one", wire.SessionStale)
	}
	return session, s.proofs.use(session.Claims.ID, id, now)
}

// credential returns what follows the scheme in the header Authorization, which
// must be there once (RFC 9110 section 11.6.2).
func credential(r *http.Request, scheme, what string) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", fmt.Errorf("%w: %d headers Authorization, want one: %s and %s", wire.Unauthorized, len(values), scheme, what)
	}
	got, text, _ := strings.Cut(values[0], " ")
	if text = strings.Trim(text, " "); !strings.EqualFold(got, scheme) || text == "" {
		return "", fmt.Errorf("%w: Authorization has scheme %.20q, want %s and %s", wire.Unauthorized, got, scheme, what)
	}
	return text, nil
}

// A proofSet remembers the proofs that were used, so that none is used twice
// (RFC 9449 section 11.1). It knows of this node's requests alone. Only the
// holder of a session's key adds to that session's part.
type proofSet struct {
	mu       sync.Mutex
	sessions map[string]map[string]time.Time // by session, then proof: until when
	all      int
	swept    time.Time
}

func newProofSet() *proofSet { return &proofSet{sessions: map[string]map[string]time.Time{}} }

// use remembers a proof that was verified. It is refused with ProofInvalid the
// second time, and with RateLimited where there is no room.
func (p *proofSet) use(session, id string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweepLocked(now)
	used := p.sessions[session]
	switch _, found := used[id]; {
	case found:
		return fmt.Errorf("%w: it was used before; make one for each request", wire.ProofInvalid)
	case len(used) >= proofsPerSession || p.all >= proofsInAll:
		return &auth.RetryError{After: 2 * proofSkew, Err: fmt.Errorf("%w: %d requests of a session within %s",
			wire.RateLimited, len(used), 2*proofSkew)}
	case used == nil:
		used = map[string]time.Time{}
		p.sessions[session] = used
	}
	used[id] = now.Add(2 * proofSkew)
	p.all++
	return nil
}

// sweepLocked forgets what has expired, at most once a second: a full set is
// not walked for each request.
func (p *proofSet) sweepLocked(now time.Time) {
	if now.Sub(p.swept) < time.Second {
		return
	}
	p.swept = now
	for session, used := range p.sessions {
		for id, until := range used {
			if now.After(until) {
				delete(used, id)
				p.all--
			}
		}
		if len(used) == 0 {
			delete(p.sessions, session)
		}
	}
}
