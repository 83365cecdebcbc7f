package proxy

import (
	"errors"

	"keyhole/proxy/relay"
	"keyhole/routes"
	"keyhole/sni"
)

// The alerts of RFC 8446 section 6 that a rejected client can get, beside those
// of package sni.
const (
	alertIllegalParameter = 47
	alertDecodeError      = 50
	alertInternalError    = 80
	alertUnrecognizedName = 112
)

// refuse turns away a client whose hello could not be read. No route is asked,
// not even the default.
func (s *session) refuse(phase relay.Phase, err error) relay.Verdict {
	s.err = err
	switch {
	case errors.Is(err, sni.ErrNotTLS):
		s.clear = true // a client that does not speak TLS cannot read its alerts
		return s.turnAway(NotTLS, phase, 0)
	case err == sni.ErrTooLarge:
		return s.turnAway(HelloTooLarge, phase, sni.Alert(err))
	}
	return s.turnAway(HelloMalformed, phase, sni.Alert(err))
}

// turnAway rejects the client as its route wants it.
func (s *session) turnAway(r Reason, phase relay.Phase, alert uint8) relay.Verdict {
	s.reason, s.phase = r, phase
	// Before a version is agreed, 3.1 is the one that every client takes.
	return relay.Verdict{Op: relay.Reject, Farewell: s.farewell(1, alert)}
}

// alertRecords are the records of all alerts, for record versions 3.1 and 3.3.
var alertRecords = func() (all [2][256][7]byte) {
	for i, minor := range [2]byte{1, 3} {
		for alert := range 256 {
			all[i][alert] = [...]byte{21, 3, minor, 0, 2, 2, byte(alert)}
		}
	}
	return all
}()

// farewell is what the client sees. An alert is a record of type 21, its level
// fatal (RFC 8446 section 6).
func (s *session) farewell(minor, alert uint8) relay.Farewell {
	switch s.reject {
	case routes.RejectClose:
		return relay.Farewell{}
	case routes.RejectReset:
		return relay.Farewell{Ending: relay.Reset}
	case routes.RejectSilence:
		return relay.Farewell{Ending: relay.Silence}
	}
	if s.clear {
		return relay.Farewell{}
	}
	return relay.Farewell{Bytes: alertRecords[minor/2][alert][:]}
}
