package server

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"keyhole/push/auth"
	"keyhole/push/store"
	"keyhole/push/wire"
)

type loginRequest struct {
	User      string `json:"user"`
	Password  string `json:"password"`
	Device    string `json:"device"`
	App       string `json:"app"`
	ClientKey string `json:"client_key"` // keys.Public in text
}

type loginReply struct {
	Session   string `json:"session"`
	ServerKey string `json:"server_key"` // keys.Public in text
	STime     int64  `json:"s_time"`     // milliseconds of Unix time
	Expires   int64  `json:"expires"`    // milliseconds of Unix time
}

// login (K1) gives a session token and the server's key for a password.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	reply, err := s.checkLogin(w, r)
	if err != nil {
		code, _ := answerTo(err)
		s.metrics.logins.WithLabelValues(string(code)).Inc()
		return err
	}
	s.metrics.logins.WithLabelValues("ok").Inc()
	return writeJSON(w, http.StatusOK, reply)
}

func (s *Server) checkLogin(w http.ResponseWriter, r *http.Request) (loginReply, error) {
	q, err := readJSON[loginRequest](w, r, bodyLimit)
	if err != nil {
		return loginReply{}, err
	}
	reply, err := s.config.Auth.Login(r.Context(), auth.LoginRequest{
		User: q.User, Password: q.Password, Device: q.Device, App: q.App, Key: q.ClientKey,
	})
	return loginReply(reply), err
}

// logout revokes the session that asks, and closes its connections.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	session, err := s.session(r)
	if err != nil {
		return err
	}
	if err := s.config.Auth.Logout(r.Context(), session); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type tokenRequest struct {
	Device   string  `json:"device"`
	App      string  `json:"app"`
	Account  string  `json:"account"`
	VAPIDKey *string `json:"vapid_key"` // absent: as it is; "": none any more
}

type tokenReply struct {
	Token    string `json:"token"`
	Endpoint string `json:"endpoint"` // for Web Push
}

// messageToken (T1) gives the message token of device, app and account, which
// must be the session's (T2).
func (s *Server) messageToken(w http.ResponseWriter, r *http.Request) error {
	session, err := s.session(r)
	if err != nil {
		return err
	}
	q, err := readJSON[tokenRequest](w, r, bodyLimit)
	if err != nil {
		return err
	}
	if q.VAPIDKey != nil && *q.VAPIDKey != "" {
		if err := checkVAPIDKey(*q.VAPIDKey); err != nil {
			return err
		}
	}
	text, t, err := s.config.Auth.Token(r.Context(), session, q.Device, q.App, q.Account)
	if err != nil {
		return err
	}
	if err := s.restrict(r, t, q.VAPIDKey); err != nil {
		return err
	}
	origin, err := s.origin(r)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, tokenReply{Token: text, Endpoint: origin + "/push/" + text})
}

// restrict has a token accept Web Push of one key alone (RFC 8292 section 4).
func (s *Server) restrict(r *http.Request, t store.Token, key *string) error {
	for key != nil && t.VAPIDKey != *key {
		t.VAPIDKey = *key
		_, err := s.config.Store.UpdateToken(r.Context(), t)
		if err == nil {
			return nil
		}
		if !errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("message token of user %q: %w", t.User, err)
		}
		if t, err = s.config.Store.Token(r.Context(), t.Hash); err != nil {
			return fmt.Errorf("message token of user %q: %w", t.User, err)
		}
	}
	return nil
}

// checkVAPIDKey wants what a browser calls applicationServerKey.
func checkVAPIDKey(text string) error {
	point, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(point)
	}
	if err != nil {
		return fmt.Errorf("%w: vapid_key: %v; want base64url without padding of an uncompressed P-256 point, 87 characters", wire.BadRequest, err)
	}
	return nil
}
