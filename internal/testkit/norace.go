//go:build !race

package testkit

// RaceEnabled says that the race detector is on.
const RaceEnabled = false
