package client

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"keyhole/push/wire"
)

// Limits of a state, which are the server's unless it is configured to take
// less. One whole state fits a frame, sealed or not.
const (
	stateKeys       = 64
	stateValueBytes = 256
	stateBytes      = 8 << 10
)

// infoState separates sealed states from whatever else is sealed to a server's
// key.
const infoState = "keyhole-push.v1 state"

var stateKey = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

// checkState returns what a server would refuse state for. It is refused here,
// since one bad key would keep every good one beside it from arriving.
func checkState(state map[string]string) error {
	if len(state) > stateKeys {
		return fmt.Errorf("%w: %d keys, want at most %d", wire.StateInvalid, len(state), stateKeys)
	}
	total := 0
	for key, value := range state {
		if !stateKey.MatchString(key) {
			return fmt.Errorf("%w: key %.80q: want a letter a-z and up to 63 more of a-z, 0-9, _ . -", wire.StateInvalid, key)
		}
		if len(value) > stateValueBytes {
			return fmt.Errorf("%w: the value of %q has %d bytes, want at most %d", wire.StateInvalid, key, len(value), stateValueBytes)
		}
		total += len(key) + len(value)
	}
	if total > stateBytes {
		return fmt.Errorf("%w: %d bytes of keys and values, want at most %d", wire.StateInvalid, total, stateBytes)
	}
	return nil
}

// A stateChange is the JSON that a sealed State has in it.
type stateChange struct {
	Set   map[string]string `json:"set"`
	Unset []string          `json:"unset"`
}

// listen asks for messages, with the whole state.
func (ch *channel) listen() error {
	state := ch.currentState()
	f := &wire.Listen{Ref: ch.ref(), Token: ch.who.token, State: state}
	if ch.sealed {
		var err error
		if f.Sealed, err = ch.seal(state); err != nil {
			return err
		}
		f.State = nil
	}
	ch.listenRef, ch.sent = f.Ref, state
	return ch.conn.write(f)
}

func (ch *channel) listening() {
	ch.setup = nil
	ch.cfg.OnStatus(Status{Phase: Listening})
}

// reportState sends what changed since the server was last told.
func (ch *channel) reportState() error {
	state := ch.currentState()
	set, unset := difference(ch.sent, state)
	if len(set) == 0 && len(unset) == 0 {
		return nil
	}
	f := &wire.State{Ref: ch.ref(), Set: set, Unset: unset}
	if ch.sealed {
		var err error
		if f.Sealed, err = ch.seal(stateChange{set, unset}); err != nil {
			return err
		}
		f.Set, f.Unset = nil, nil
	}
	ch.sent = state
	return ch.conn.write(f)
}

// difference is what makes from into to.
func difference(from, to map[string]string) (set map[string]string, unset []string) {
	for key, value := range to {
		if had, ok := from[key]; !ok || had != value {
			if set == nil {
				set = map[string]string{}
			}
			set[key] = value
		}
	}
	for key := range from {
		if _, ok := to[key]; !ok {
			unset = append(unset, key)
		}
	}
	slices.Sort(unset)
	return set, unset
}

// ref is a new name for a frame that is answered.
func (ch *channel) ref() string {
	ch.refs++
	return strconv.FormatUint(ch.refs, 10)
}

// seal is v as JSON, for the key that the server proved.
func (ch *channel) seal(v any) (wire.Bytes, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("seal the state: %w", err)
	}
	server, err := ch.who.server()
	if err != nil {
		return nil, err
	}
	return server.Seal(infoState, b)
}
