package web

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

// The pace of a live timeline. A stream ends after liveFor and the browser opens
// it again, so that whoever has been signed out meanwhile sees no more.
const (
	liveEvery = 500 * time.Millisecond
	liveFor   = time.Minute
)

// eventLive streams what comes, as rows of the timeline (server-sent events,
// WHATWG HTML section 9.2).
func (p *Pages) eventLive(w http.ResponseWriter, r *http.Request) {
	f, wanted, err := p.readEvents(r)
	if err == nil && f.bad() {
		err = f.firstProblem()
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	wanted.Before = ""
	if wanted.After = r.Header.Get("Last-Event-ID"); wanted.After == "" {
		wanted.After = f.value("after")
	}
	if wanted.After == "" {
		wanted.After = "0"
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(liveFor + 10*time.Second))
	_, _ = fmt.Fprint(w, "retry: 1000\n\n")
	tick, end := time.NewTicker(liveEvery), time.NewTimer(liveFor)
	defer tick.Stop()
	defer end.Stop()
	for {
		page, err := p.Reads.EventPage(r.Context(), wanted)
		if err != nil {
			return // the browser comes again
		}
		moved, err := p.stream(w, r, page, &wanted)
		if err != nil || moved && control.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		case <-p.Draining:
			return
		}
	}
}

// stream sends a page of new events. An ID without data tells the browser only
// where to go on.
func (p *Pages) stream(w http.ResponseWriter, r *http.Request, page event.Page, wanted *event.Filter) (moved bool, err error) {
	for _, e := range page.Events {
		var b bytes.Buffer
		if err := eventRow(p.Now(), rowOf(e)).Render(r.Context(), &b); err != nil {
			return false, err
		}
		data := strings.NewReplacer("\r", "", "\n", "\ndata: ").Replace(b.String())
		if _, err := fmt.Fprintf(w, "id: %s\ndata: %s\n\n", e.ID, data); err != nil {
			return false, err
		}
	}
	if page.Next == "" || page.Next == wanted.After {
		return len(page.Events) > 0, nil
	}
	wanted.After = page.Next
	_, err = fmt.Fprintf(w, "id: %s\n\n", page.Next)
	return true, err
}
