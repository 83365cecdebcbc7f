package server

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// One message through the whole API, TLS and the disk included, by one client
// and by 64. A version of an app takes 10,000 messages, so there are many.
func BenchmarkPublish(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprint(clients, " clients"), func(b *testing.B) {
			a := startAPI(b)
			var count atomic.Int64
			publish := func() {
				q := publishRequest{App: "mail", Version: fmt.Sprint(count.Add(1) / 5000), Text: ptr("hello")}
				if r := a.send("POST", "/v1/messages", q, bearer(a.key)); r.status != http.StatusCreated {
					b.Errorf("publish = %d %s, want 201", r.status, r.body)
				}
			}
			work := make(chan struct{})
			done := make(chan struct{})
			for range clients {
				go func() {
					for range work {
						publish()
					}
					done <- struct{}{}
				}()
			}
			for b.Loop() {
				work <- struct{}{}
			}
			close(work)
			for range clients {
				<-done
			}
		})
	}
}
