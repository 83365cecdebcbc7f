package client

import (
	"fmt"
	"slices"

	"keyhole/push/keys"
	"keyhole/push/wire"
)

// An identity is what the terminal is to the server. It is never changed, only
// replaced as a whole, so that its keys and its session always belong
// together. The zero identity has not logged in.
type identity struct {
	session string
	key     *keys.Private // that the session is bound to

	// pending is the next key. It is saved before it is first sent, and kept
	// until the server is heard using it: a crash or a lost reply in between
	// leaves both keys, and one of them is right (K3).
	pending *keys.Private

	// servers are keys of the server: the one that came with the login, and
	// others, each signed by one before it. One of them heads the session; the
	// last is the newest.
	servers []keys.Public

	token, endpoint string // of messages; "" until asked for
	vapid           string // Config.VAPIDKey when it was asked for
}

// serversKept bounds identity.servers: the one of the session, and the newest.
const serversKept = 4

// server is the key that proves the server in an exchange: the one that the
// session is sealed to (K7).
func (id *identity) server() (keys.Public, error) {
	kid, err := keys.SessionKey(id.session)
	if err != nil {
		return keys.Public{}, err
	}
	i := slices.IndexFunc(id.servers, func(p keys.Public) bool { return p.KID() == kid })
	if i < 0 {
		return keys.Public{}, fmt.Errorf("the session is sealed to server key %s, which nothing vouches for", kid)
	}
	return id.servers[i], nil
}

// withServer returns id with the server key k added, which one that is known
// must have signed (K5, K7). Otherwise the error is wire.ServerProofInvalid.
func (id *identity) withServer(k *wire.Key) (*identity, error) {
	public, err := keys.ParsePublic(k.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: server_key: %w", wire.BadFrame, err)
	}
	if slices.Contains(id.servers, public) {
		return id, nil
	}
	i := slices.IndexFunc(id.servers, func(p keys.Public) bool { return p.KID().String() == k.Previous })
	if i < 0 {
		return nil, fmt.Errorf("%w: server key %s is signed by %.16q, which is not known here", wire.ServerProofInvalid, public.KID(), k.Previous)
	}
	if !id.servers[i].VerifyServerKey(public, k.Signature) {
		return nil, fmt.Errorf("%w: server key %s is not signed by %s", wire.ServerProofInvalid, public.KID(), k.Previous)
	}
	next := *id
	next.servers = append(slices.Clone(id.servers), public)
	next.trimServers()
	return &next, nil
}

// trimServers drops the oldest keys but for the session's.
func (id *identity) trimServers() {
	for i := 0; len(id.servers) > serversKept; {
		if kid, err := keys.SessionKey(id.session); err == nil && id.servers[i].KID() == kid {
			i++
		}
		id.servers = slices.Delete(id.servers, i, i+1)
	}
}

// withSession returns id with a new session token, which must be sealed to a
// server key that is known, or the error is wire.ServerProofInvalid.
func (id *identity) withSession(session string) (*identity, error) {
	next := *id
	next.session = session
	if _, err := next.server(); err != nil {
		return nil, fmt.Errorf("%w: %w", wire.ServerProofInvalid, err)
	}
	return &next, nil
}

// following returns id with what a reply brought: a server key, or nil, and a
// session token, or "".
func (id *identity) following(server *wire.Key, session string) (next *identity, err error) {
	next = id
	if server != nil {
		if next, err = next.withServer(server); err != nil {
			return nil, err
		}
	}
	if session != "" {
		return next.withSession(session)
	}
	return next, nil
}

// renewed returns id with its pending key in use.
func (id *identity) renewed() *identity {
	next := *id
	next.key, next.pending = id.pending, nil
	return &next
}
