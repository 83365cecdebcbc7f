package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"keyhole/internal/testkit"
)

// A pushPage is the terminal that pushd serves, in a Chromium of its own that came by the edge and takes the node's
// certificate alone.
type pushPage struct {
	t     *testing.T
	ctx   context.Context
	close func() // ends the browser

	mu     sync.Mutex
	said   []string // exceptions, warnings and errors of the console
	sent   []string // frames of its WebSockets
	gotten []string
}

// page starts a browser and opens the page.
func (s *pushSite) page() *pushPage {
	s.t.Helper()
	allocator, _ := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox,
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors-spki-list", s.node.origin.id.keyPin()))...)
	ctx, _ := chromedp.NewContext(allocator)
	p := &pushPage{t: s.t, ctx: ctx, close: sync.OnceFunc(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			s.t.Errorf("close chromium: %v", err)
		}
	})}
	s.t.Cleanup(p.close)
	if err := chromedp.Listen(ctx, p.noticed); err != nil { // starts it
		s.t.Fatalf("start chromium: %v", err)
	}
	p.do(chromedp.Navigate(s.url() + "/"))
	return p
}

// noticed keeps what the tests look at afterwards.
func (p *pushPage) noticed(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.said = append(p.said, fmt.Sprintf("exception: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.Exception.Description))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			p.said = append(p.said, fmt.Sprintf("console: %s", e.Args[0].Value))
		}
	case *log.EventEntryAdded:
		p.said = append(p.said, fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text))
	case *network.EventWebSocketFrameSent:
		p.sent = append(p.sent, string(e.Response.PayloadData))
	case *network.EventWebSocketFrameReceived:
		p.gotten = append(p.gotten, string(e.Response.PayloadData))
	}
}

// frames returns those of both ways so far.
func (p *pushPage) frames() (sent, received string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.sent, "\n"), strings.Join(p.gotten, "\n")
}

// quiet fails the test if the console has anything but lines with one of these beginnings.
func (p *pushPage) quiet(but ...string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.said {
		if !slices.ContainsFunc(but, func(start string) bool { return strings.HasPrefix(line, start) }) {
			p.t.Errorf("the browser's console has %q, want no errors", line)
		}
	}
}

func (p *pushPage) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, testkit.Patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("in the browser: %v; the page says %s", err, p.looks())
	}
}

// evaluate returns the value of an expression, which may be a promise.
func evaluate[T any](p *pushPage, expression string) (value T) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, testkit.Patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v; the page says %s", expression, err, p.looks())
	}
	return value
}

// looks is what the page is about, for a failure.
func (p *pushPage) looks() string {
	ctx, cancel := context.WithTimeout(p.ctx, testkit.Patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText + JSON.stringify(globalThis.keyhole?.status)`))
	if err != nil {
		return err.Error()
	}
	return text
}

// until waits for an expression to be true.
func (p *pushPage) until(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, testkit.Patience)
	defer cancel()
	often := chromedp.WithPollingInterval(20 * time.Millisecond)
	if _, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, often)); err != nil {
		p.t.Fatalf("%s is not so: %v; the page says %s", expression, err, p.looks())
	}
}

// shows waits until somebody who looks at the page sees a text in the element with an id.
func (p *pushPage) shows(id, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf(`document.getElementById(%q).checkVisibility() && document.getElementById(%[1]q).innerText.includes(%q)`, id, text))
}

// signIn fills in the form.
func (p *pushPage) signIn(user, app string) {
	p.t.Helper()
	p.shows("phase", "signed out")
	p.fill("sign-in-form", map[string]string{"user": user, "password": pushPassword, "device": "browser", "app": app, "appVersion": "1.0"})
}

// fill writes into a form and presses its button.
func (p *pushPage) fill(form string, values map[string]string) {
	p.t.Helper()
	for name, value := range values {
		p.do(chromedp.SetValue(chromedp.CSS(fmt.Sprintf("#%s [name=%s]", form, name)), value))
	}
	p.do(chromedp.Click(chromedp.CSS("#" + form + " button")))
}

// expect waits until the log shows these texts and no others, the oldest first.
func (p *pushPage) expect(texts ...string) {
	p.t.Helper()
	const shown = `[...document.querySelectorAll("#log pre")].map((pre) => pre.innerText)`
	p.until(fmt.Sprintf("%s.length >= %d", shown, len(texts)))
	got := evaluate[[]string](p, shown)
	if slices.Reverse(got); !slices.Equal(got, texts) {
		p.t.Fatalf("the page shows %q, want %q", got, texts)
	}
}

// token is the message token, as the page shows it.
func (p *pushPage) token() string {
	p.t.Helper()
	return evaluate[string](p, `document.getElementById("token").innerText`)
}
