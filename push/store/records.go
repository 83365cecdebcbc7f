package store

import "time"

// A User is an account.
type User struct {
	Name     string    `json:"name"`
	Password string    `json:"password"` // PHC string of Argon2id
	Created  time.Time `json:"created"`
	Disabled bool      `json:"disabled,omitempty"`
}

// A Publisher is somebody who may publish.
type Publisher struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"`           // SHA-256 of the key, in hexadecimal
	Apps    []string  `json:"apps,omitempty"` // empty: all
	Created time.Time `json:"created"`
	Revoked bool      `json:"revoked,omitempty"`
}

// A Session is what a login made.
type Session struct {
	ID       string `json:"id"`
	User     string `json:"user"`
	Device   string `json:"device"`
	App      string `json:"app"`
	Key      string `json:"key"`     // keys.Public in text
	Epoch    uint64 `json:"epoch"`   // renewals of the key so far
	STime    int64  `json:"s_time"`  // milliseconds of Unix time
	Expires  int64  `json:"expires"` // milliseconds of Unix time
	Revoked  bool   `json:"revoked,omitempty"`
	Revision uint64 `json:"-"` // of this record, for UpdateSession
}

// A Token is a message token: the address of one app of one account on one
// device.
type Token struct {
	Hash     string    `json:"hash"` // TokenHash of its text
	User     string    `json:"user"`
	Device   string    `json:"device"`
	App      string    `json:"app"`
	Created  time.Time `json:"created"`
	Used     time.Time `json:"used"` // to the day
	Revoked  bool      `json:"revoked,omitempty"`
	VAPIDKey string    `json:"vapid_key,omitempty"`
	Revision uint64    `json:"-"`
}

// A Terminal is what is known of the terminal behind a token.
type Terminal struct {
	State      map[string]string `json:"state,omitempty"`
	AppVersion string            `json:"app_version,omitempty"`
	Node       string            `json:"node,omitempty"` // where it was connected last
	Seen       time.Time         `json:"seen"`
	Cursors    map[string]Cursor `json:"cursors,omitempty"` // by app subject
}

// A Cursor says which messages of an app subject a terminal has acknowledged:
// those up to Floor, and those in Above.
type Cursor struct {
	Floor uint64   `json:"floor"`
	Above []uint64 `json:"above,omitempty"` // ascending, at most 1,000
}
