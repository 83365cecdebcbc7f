package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"keyhole/push/channel"
	"keyhole/push/store"
	"keyhole/push/wire"
)

// ControlHandler answers what the command line of pushd asks of a server that
// runs: accounts, publisher keys, revocations, and who is connected. It asks
// for no credential, and belongs on a unix socket that its owner alone may
// open. Bodies and errors are those of the API.
func (s *Server) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	s.handle(mux, s.controlRoutes())
	mux.Handle("/", s.endpoints(nil))
	return mux
}

func (s *Server) controlRoutes() []route {
	return []route{
		{"POST", "/users", s.addUser},
		{"POST", "/users/{name}/disable", s.disableUser},
		{"POST", "/keys", s.addKey},
		{"DELETE", "/keys/{name}", s.revokeKey},
		{"DELETE", "/tokens/{text}", s.revokeToken},
		{"DELETE", "/sessions", s.revokeSessions},
		{"GET", "/terminals", s.terminals},
	}
}

type userRequest struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

type userReply struct {
	Name string `json:"name"`
}

func (s *Server) addUser(w http.ResponseWriter, r *http.Request) error {
	q, err := readJSON[userRequest](w, r, bodyLimit)
	if err != nil {
		return err
	}
	if err := s.config.Auth.CreateUser(r.Context(), q.Name, q.Password); err != nil {
		return forOperator(err)
	}
	s.log.Info("user added", "user", q.Name)
	return writeJSON(w, http.StatusCreated, userReply{q.Name})
}

// disableUser ends an account, its sessions and their connections.
func (s *Server) disableUser(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	return s.done(w, s.config.Auth.DisableUser(r.Context(), name), "user disabled", "user", name)
}

type keyRequest struct {
	Name string   `json:"name"`
	Apps []string `json:"apps"` // none: all
}

type keyReply struct {
	Key string `json:"key"` // shown this once: its hash is what is kept
}

func (s *Server) addKey(w http.ResponseWriter, r *http.Request) error {
	q, err := readJSON[keyRequest](w, r, bodyLimit)
	if err != nil {
		return err
	}
	key, err := s.config.Auth.CreatePublisher(r.Context(), q.Name, q.Apps)
	if err != nil {
		return forOperator(err)
	}
	s.log.Info("key added", "publisher", q.Name, "apps", q.Apps)
	return writeJSON(w, http.StatusCreated, keyReply{key})
}

func (s *Server) revokeKey(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	err := about("publisher", name, s.config.Store.RevokePublisher(r.Context(), name))
	return s.done(w, err, "key revoked", "publisher", name)
}

// revokeToken ends a message token and the connection that listens to it.
func (s *Server) revokeToken(w http.ResponseWriter, r *http.Request) error {
	text := r.PathValue("text")
	hash := store.TokenHash(text)
	err := about("message token", text, s.config.Store.RevokeToken(r.Context(), hash))
	return s.done(w, err, "token revoked", "hash", hash)
}

// revokeSessions logs an account out everywhere. A user that does not exist is
// refused, since it is one mistyped.
func (s *Server) revokeSessions(w http.ResponseWriter, r *http.Request) error {
	user := r.URL.Query().Get("user")
	if _, err := s.config.Store.User(r.Context(), user); err != nil {
		return forOperator(about("user", user, err))
	}
	err := about("sessions of user", user, s.config.Store.RevokeSessions(r.Context(), user))
	return s.done(w, err, "sessions revoked", "user", user)
}

type terminalsReply struct {
	Terminals []terminalInfo `json:"terminals"` // the one that is connected longest first
}

type terminalInfo struct {
	Conn     string            `json:"conn"`
	User     string            `json:"user"`
	Device   string            `json:"device"`
	App      string            `json:"app"`
	Version  string            `json:"version"`
	Since    time.Time         `json:"since"`
	State    map[string]string `json:"state"`
	InFlight int               `json:"in_flight"` // messages sent and not acknowledged
	Held     int               `json:"held"`      // messages whose condition is false
	Behind   bool              `json:"behind"`    // it is sent what is stored
}

// terminals lists who is connected to this node.
func (s *Server) terminals(w http.ResponseWriter, r *http.Request) error {
	reply := terminalsReply{Terminals: []terminalInfo{}}
	for _, i := range s.channels.Channels() {
		reply.Terminals = append(reply.Terminals, infoOf(i))
	}
	return writeJSON(w, http.StatusOK, reply)
}

func infoOf(i channel.Info) terminalInfo {
	return terminalInfo{
		Conn: i.Conn, User: i.User, Device: i.Device, App: i.App, Version: i.Version, Since: i.Since,
		State: i.State, InFlight: i.InFlight, Held: i.Held, Behind: i.Behind,
	}
}

// done logs what an operator has changed, and answers what has no reply.
func (s *Server) done(w http.ResponseWriter, err error, what string, which ...any) error {
	if err != nil {
		return forOperator(err)
	}
	s.log.Info(what, which...)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func about(what, name string, err error) error {
	if err != nil {
		return fmt.Errorf("%s %.80q: %w", what, name, err)
	}
	return nil
}

// forOperator gives a code to what the store says of records. The rest of an
// error without one stays in the log, as everywhere.
func forOperator(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%w: %w", wire.NotFound, err)
	case errors.Is(err, store.ErrExists):
		return fmt.Errorf("%w: %w", wire.BadRequest, err)
	}
	return err
}
