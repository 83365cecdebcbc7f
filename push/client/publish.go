package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"
)

// A Publisher sends messages to terminals.
//
//	p := client.Publisher{URL: "https://push.example.com", Key: key}
//	receipt, err := p.Publish(ctx, client.Publication{Token: token, Data: []byte("hello")})
//
// It may be used by many goroutines.
type Publisher struct {
	URL string // of the server, as in Config
	Key string // what `pushd key add` printed: pk_...

	// HTTP makes the requests. nil: one for all Publishers that asks for
	// TLS 1.3 and follows no redirect. A client that follows them hands the
	// key to wherever they lead on the same host.
	HTTP *http.Client
}

// A Publication is one message to be stored for one token, or, with App and
// Version, for all terminals of that version of the app; Version "*" is every
// version.
type Publication struct {
	Token        string
	App, Version string

	Data            []byte
	ContentType     string        // up to the app; "" is not sent
	ContentEncoding string        // "aes128gcm" when Data is encrypted for a Subscription
	Condition       string        // on the terminal's state, "network=wifi,app_version>=2.1"; it waits until this holds
	TTL             time.Duration // how long it is kept for those who are away, rounded up to seconds. 0: as long as the server keeps anything
	Topic           string        // replaces the undelivered message of the same topic and token
	Urgency         string        // very-low, low, normal (also when empty) or high

	// ID is what duplicates are told by: a publisher that may publish the same
	// thing twice, as after a crash, gives both the same. "": a random one.
	ID string
}

// A Receipt says that a message is on disk.
type Receipt struct {
	ID        string `json:"id"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"` // the id was stored before, and this is its Seq
}

type publishRequest struct {
	Token           string `json:"token,omitempty"`
	App             string `json:"app,omitempty"`
	Version         string `json:"version,omitempty"`
	Data            []byte `json:"data"`
	ContentType     string `json:"content_type,omitempty"`
	ContentEncoding string `json:"content_encoding,omitempty"`
	Condition       string `json:"condition,omitempty"`
	TTL             *int64 `json:"ttl,omitempty"` // seconds
	Topic           string `json:"topic,omitempty"`
	Urgency         string `json:"urgency,omitempty"`
	ID              string `json:"id"`
}

// defaultPublisherHTTP is Publisher.HTTP where that is nil. It is shared, so
// that a Publisher that is made for one message opens no connection of its own.
var defaultPublisherHTTP = &http.Client{
	Transport: &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS13},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// publishTimeout bounds one attempt: an answer that is lost on its way is
// asked for again.
const publishTimeout = 30 * time.Second

// The waits between attempts, when the server asks for none.
const (
	publishMinBackoff = 100 * time.Millisecond
	publishMaxBackoff = 10 * time.Second
)

// Publish returns once the message is on disk. While the server cannot be
// reached, does not answer, or refuses for a while, as with backlog_full,
// rate_limited and store_unavailable, Publish tries again until ctx ends, with
// the same id, so that the message is stored once however often it was sent.
// Any other refusal is an error that wraps its wire.Code. After an error that
// wraps the context's, the message may be stored or not.
func (p *Publisher) Publish(ctx context.Context, m Publication) (Receipt, error) {
	u, err := parseURL(p.URL)
	if err != nil {
		return Receipt{}, fmt.Errorf("publish: %w", err)
	}
	ask := m.request()
	wait := backoff{min: publishMinBackoff, max: publishMaxBackoff}
	for {
		receipt, err := p.attempt(ctx, u.JoinPath("/v1/messages").String(), ask)
		switch {
		case err == nil:
			return receipt, nil
		case ctx.Err() != nil:
			return Receipt{}, fmt.Errorf("publish %s: %w: %w", ask.ID, ctx.Err(), err)
		case !isTemporary(err):
			return Receipt{}, fmt.Errorf("publish %s: %w", ask.ID, err)
		}
		if stopped := sleep(ctx, max(wait.next(), retryAfter(err))); stopped != nil {
			return Receipt{}, fmt.Errorf("publish %s: %w: %w", ask.ID, stopped, err)
		}
	}
}

// request is m as the API takes it, with its id.
func (m Publication) request() publishRequest {
	r := publishRequest{
		Token: m.Token, App: m.App, Version: m.Version, Data: m.Data, ContentType: m.ContentType,
		ContentEncoding: m.ContentEncoding, Condition: m.Condition, Topic: m.Topic, Urgency: m.Urgency, ID: m.ID,
	}
	if r.Data == nil {
		r.Data = []byte{} // null is no payload, "" an empty one
	}
	if m.TTL != 0 {
		seconds := int64(math.Ceil(m.TTL.Seconds()))
		r.TTL = &seconds
	}
	if r.ID == "" {
		r.ID = rand.Text()
	}
	return r
}

func (p *Publisher) attempt(ctx context.Context, url string, ask publishRequest) (receipt Receipt, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	r, err := newRequest(ctx, http.MethodPost, url, ask)
	if err != nil {
		return receipt, err
	}
	r.Header.Set("Authorization", "Bearer "+p.Key)
	resp, err := or(p.HTTP, defaultPublisherHTTP).Do(r)
	if err != nil {
		return receipt, &transportError{err}
	}
	defer resp.Body.Close()
	err = readReply(resp, &receipt)
	return receipt, err
}

// isTemporary reports whether the same request may succeed later. A
// certificate that is wrong stays wrong.
func isTemporary(err error) bool {
	var transport *transportError
	var certificate *tls.CertificateVerificationError
	var no *refusal
	switch {
	case errors.As(err, &certificate):
		return false
	case errors.As(err, &transport):
		return true
	case errors.As(err, &no): // of the server, or of a proxy in between
		return no.status == http.StatusTooManyRequests || no.status >= 502 && no.status <= 504
	}
	return false
}
