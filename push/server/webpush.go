package server

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"keyhole/push/auth"
	"keyhole/push/store"
	"keyhole/push/webpush"
	"keyhole/push/wire"
)

// webPushPublisher is who publishes by Web Push, where the endpoint itself is
// what lets a sender in (RFC 8030 section 8.3) and names nobody.
const webPushPublisher = "webpush"

// webPush takes a message as the libraries of web applications send it: RFC
// 8030 section 5, encrypted by RFC 8291, and signed by RFC 8292 where the app
// or the token demands it.
func (s *Server) webPush(w http.ResponseWriter, r *http.Request) error {
	t, err := s.config.Auth.PushToken(r.Context(), r.PathValue("token"))
	if err != nil {
		return err
	}
	origin, err := s.origin(r)
	if err != nil {
		return err
	}
	if err := s.checkVAPID(w, r, t, origin); err != nil {
		return err
	}
	push, err := webpush.ParseRequest(r.Header)
	switch {
	case errors.Is(err, webpush.ErrTTL):
		return fmt.Errorf("%w: %w", wire.TTLInvalid, err)
	case err != nil:
		return fmt.Errorf("%w: %w", wire.BadRequest, err)
	}
	m, err := s.pushMessage(w, r, t, push)
	if err != nil {
		return err
	}
	if _, _, err := s.put(r, m); err != nil {
		return err
	}
	w.Header().Set("Location", origin+"/push/message/"+m.ID)
	w.Header().Set("TTL", strconv.FormatInt(int64(m.Expires.Sub(m.Published)/time.Second), 10))
	w.WriteHeader(http.StatusCreated)
	return nil
}

// pushMessage reads the body. A ttl longer than the retention is cut down to
// it, as RFC 8030 section 5.2 lets a server do that says so in its answer.
func (s *Server) pushMessage(w http.ResponseWriter, r *http.Request, t store.Token, push webpush.Push) (store.Message, error) {
	body, err := readBody(w, r, s.config.Limits.PayloadBytes)
	if err != nil {
		return store.Message{}, err
	}
	if len(body) > 0 && push.ContentEncoding == "" {
		return store.Message{}, fmt.Errorf("%w: the body is not encrypted; send it with Content-Encoding: %s (RFC 8291)", wire.BadRequest, webpush.Aes128gcm)
	}
	now := s.now()
	return store.Message{
		ID: messageID(webPushPublisher, ""), Publisher: webPushPublisher, Token: t.Hash, Data: body,
		ContentEncoding: push.ContentEncoding, Topic: push.Topic, Urgency: push.Urgency,
		Published: now, Expires: now.Add(max(min(push.TTL, s.config.Store.Retention()), leastTTL)),
	}, nil
}

// checkVAPID checks who sends (RFC 8292). A sender that signs must sign
// correctly even where nobody demands it: it would not learn of its mistake
// otherwise.
func (s *Server) checkVAPID(w http.ResponseWriter, r *http.Request, t store.Token, origin string) error {
	policy := s.config.Auth.Policy(t.App)
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		if t.VAPIDKey == "" && len(policy.VAPIDKeys) == 0 && policy.VAPID != auth.Required {
			return nil
		}
		w.Header().Set("WWW-Authenticate", "vapid")
		return fmt.Errorf(`%w: send "Authorization: vapid t=..., k=..." (RFC 8292)`, wire.VAPIDRequired)
	}
	if len(headers) > 1 {
		return fmt.Errorf("%w: %d headers Authorization, want one", wire.VAPIDInvalid, len(headers))
	}
	sender, err := webpush.VerifyVAPID(headers[0], origin, s.now())
	if err != nil {
		return fmt.Errorf("%w: %w", wire.VAPIDInvalid, err)
	}
	key := base64.RawURLEncoding.EncodeToString(sender.Key)
	switch {
	case t.VAPIDKey != "" && t.VAPIDKey != key:
		return fmt.Errorf("%w: the token is for another sender's key", wire.VAPIDInvalid)
	case len(policy.VAPIDKeys) > 0 && !slices.Contains(policy.VAPIDKeys, key):
		return fmt.Errorf("%w: the app takes messages of other keys alone", wire.VAPIDInvalid)
	}
	return nil
}
