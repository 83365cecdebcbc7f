package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is one headless Chromium for all tests; each has tabs that share nothing with those of the others.
var chromium = sync.OnceValues(func() (context.Context, error) {
	if _, err := exec.LookPath("chromium"); err != nil {
		return nil, fmt.Errorf("%w: on Debian, .ci/install-clients installs it", err)
	}
	allocator, _ := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.IgnoreCertErrors)...)
	ctx, _ := chromedp.NewContext(allocator)
	return ctx, chromedp.Do(ctx) // which starts it
})

func TestMain(m *testing.M) {
	status := m.Run()
	if ctx, err := chromium(); err == nil {
		if err := chromedp.Cancel(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "close chromium:", err)
			status = 1
		}
	}
	os.Exit(status)
}

// A tab is the page in a browser of its own.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// open loads the page. An exception that nothing catches, or what the policy does not allow, fails the test.
func (o *origin) open() *tab {
	o.t.Helper()
	browser, err := chromium()
	if err != nil {
		o.t.Fatalf("start chromium: %v", err)
	}
	return openTab(o, browser, chromedp.WithNewBrowserContext())
}

// openTab loads the page in a tab beside those of parent.
func openTab(o *origin, parent context.Context, options ...chromedp.ContextOption) *tab {
	o.t.Helper()
	ctx, _ := chromedp.NewContext(parent, options...)
	o.t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			o.t.Errorf("close the tab: %v", err)
		}
	})
	p := &tab{o.t, ctx}
	if err := chromedp.Listen(ctx, p.noticed); err != nil { // opens the tab
		o.t.Fatalf("open a tab: %v", err)
	}
	p.run(chromedp.Navigate(o.URL + "/terminal.html"))
	return p
}

// noticed fails the test for what must not happen in a page.
func (p *tab) noticed(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.t.Errorf("the page threw %s", asJSON(e.ExceptionDetails))
	case *log.EventEntryAdded:
		if e.Entry.Source != log.EntrySourceNetwork { // a refusal is one of those
			p.t.Errorf("the browser logged %s: %s", e.Entry.Source, e.Entry.Text)
		}
	}
}

func (p *tab) run(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("in the browser: %v; the terminal is at %s", err, p.status())
	}
}

func (p *tab) status() string {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`JSON.stringify(globalThis.keyhole?.status ?? null)`))
	if err != nil {
		return err.Error()
	}
	return text
}

// every: the usual way, with each frame that is drawn, never looks at a tab in the background.
var every = chromedp.WithPollingInterval(20 * time.Millisecond)

// until waits for an expression to be true.
func (p *tab) until(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[chromedp.Void](expression, every)); err != nil {
		p.t.Fatalf("%s is not so: %v; the terminal is at %s", expression, err, p.status())
	}
}

// phase waits for one, with an error that has text in it.
func (p *tab) phase(phase, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("keyhole.status.phase === %q && keyhole.status.error.includes(%q)", phase, text))
}

// evaluate returns the value of an expression.
func evaluate[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v; the terminal is at %s", expression, err, p.status())
	}
	return value
}

// signIn fills in the form.
func (p *tab) signIn(password string) {
	p.t.Helper()
	p.phase("signed-out", "")
	for name, value := range map[string]string{
		"user": "ada", "password": password, "device": "tab-1", "app": "notes", "appVersion": "2.1",
	} {
		p.run(chromedp.SetValue(chromedp.CSS(`#sign-in-form [name="`+name+`"]`), value))
	}
	p.run(chromedp.Click(chromedp.CSS("#sign-in-form button")))
}

// texts are those of the messages that the page has.
func (p *tab) texts() string {
	p.t.Helper()
	texts := evaluate[[]*string](p, "keyhole.messages.map((m) => m.text)")
	all := make([]string, len(texts))
	for i, text := range texts {
		if all[i] = "(bytes)"; text != nil {
			all[i] = *text
		}
	}
	return strings.Join(all, " ")
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
