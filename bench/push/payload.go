package main

import (
	"encoding/binary"
	"fmt"
	"time"
)

// payloadBytes is the size of every message: that of a short notification.
const payloadBytes = 256

// A payload says which message it is, whose, and since when it is under way.
type payload struct {
	number   uint64        // from 0, of one run of publishes
	terminal uint32        // whom it is for, by index
	due      time.Duration // when it was to be published, on the clock of now
	sent     time.Duration // when it was
}

// encode fills the rest of the message with zeros.
func (p payload) encode() []byte {
	b := make([]byte, 0, payloadBytes)
	b = binary.BigEndian.AppendUint64(b, p.number)
	b = binary.BigEndian.AppendUint32(b, p.terminal)
	b = binary.BigEndian.AppendUint64(b, uint64(p.due))
	b = binary.BigEndian.AppendUint64(b, uint64(p.sent))
	return b[:payloadBytes]
}

func decodePayload(b []byte) (payload, error) {
	if len(b) != payloadBytes {
		return payload{}, fmt.Errorf("message of %d bytes, want %d", len(b), payloadBytes)
	}
	return payload{
		number:   binary.BigEndian.Uint64(b),
		terminal: binary.BigEndian.Uint32(b[8:]),
		due:      time.Duration(binary.BigEndian.Uint64(b[12:])),
		sent:     time.Duration(binary.BigEndian.Uint64(b[20:])),
	}, nil
}
