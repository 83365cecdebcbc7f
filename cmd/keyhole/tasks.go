package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// tasksTime is how long Stop waits for tasks.
const tasksTime = time.Second

// tasks run in the background of an edge until they are stopped.
type tasks struct {
	ctx    context.Context
	cancel context.CancelFunc
	log    *slog.Logger
	wg     sync.WaitGroup

	mu      sync.Mutex
	running map[string]int // by name
}

func newTasks(ctx context.Context, log *slog.Logger) *tasks {
	t := &tasks{log: log, running: map[string]int{}}
	t.ctx, t.cancel = context.WithCancel(ctx)
	return t
}

// Go runs f, which must return soon after its context has ended. An error is logged, unless the
// context has ended. The returned function ends this task's context and does not wait.
func (t *tasks) Go(name string, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(t.ctx)
	t.count(name, 1)
	t.wg.Go(func() {
		defer t.count(name, -1)
		defer cancel()
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.log.Error("background task failed", "task", name, "error", err)
		}
	})
	return cancel
}

func (t *tasks) count(name string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[name] += n; t.running[name] == 0 {
		delete(t.running, name)
	}
}

// Stop ends every task and waits for them, but not for one that hangs: after tasksTime it logs
// which those are.
func (t *tasks) Stop() {
	t.cancel()
	_, err := within(tasksTime, func() (struct{}, error) {
		t.wg.Wait()
		return struct{}{}, nil
	})
	if errors.Is(err, errLate) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.log.Warn("background tasks do not end, they are abandoned", "tasks", slices.Sorted(maps.Keys(t.running)))
	}
}

// An outcome is what a function returned.
type outcome[T any] struct {
	value T
	err   error
}

// aside runs f on a goroutine of its own and returns the channel for its outcome. The channel has
// room for it: a caller that has lost interest need not receive.
func aside[T any](f func() (T, error)) <-chan outcome[T] {
	done := make(chan outcome[T], 1)
	go func() {
		value, err := f()
		done <- outcome[T]{value, err}
	}()
	return done
}

// errLate is the error of within for a function that has not returned.
var errLate = errors.New("not done in time")

// within runs f aside and returns its outcome, or errLate when f takes longer than limit: f may
// hang in the kernel, where nothing can end it.
func within[T any](limit time.Duration, f func() (T, error)) (T, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case o := <-aside(f):
		return o.value, o.err
	case <-timer.C:
		var none T
		return none, errLate
	}
}
