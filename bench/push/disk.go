package main

import (
	"context"
	"os"
	"time"
)

// A disk is a file that a message's bytes are appended to, each time to stay:
// the yardstick for what is durable.
type disk struct{ *os.File }

// withDisk runs f on a file in dir.
func withDisk(dir string, f func(disk) error) error {
	file, err := os.CreateTemp(dir, "fsync-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	return f(disk{file})
}

func (d disk) append() error {
	if _, err := d.Write(make([]byte, payloadBytes)); err != nil {
		return err
	}
	return d.Sync()
}

// fsyncRate is how many a second the disk under dir does, one after the other.
func fsyncRate(dir string, limit time.Duration) (rate float64, err error) {
	err = withDisk(dir, func(d disk) error {
		n, begin := 0, now()
		for now()-begin < limit {
			if err := d.append(); err != nil {
				return err
			}
			n++
		}
		rate = float64(n) / (now() - begin).Seconds()
		return nil
	})
	return rate, err
}

// fsyncLatency times one every 50 ms until ctx ends. It says how much of a
// latency is the disk's, with all that use it.
func fsyncLatency(ctx context.Context, dir string) (Latency, error) {
	var all []time.Duration
	err := withDisk(dir, func(d disk) error {
		for rest(ctx, 50*time.Millisecond) == nil {
			begin := now()
			if err := d.append(); err != nil {
				return err
			}
			all = append(all, now()-begin)
		}
		return nil
	})
	return latency(all), err
}
