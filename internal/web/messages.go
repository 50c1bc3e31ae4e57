package web

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

func (p *Pages) messagePages(operator route) {
	operator("GET /messages", p.messageList)
	operator("GET /messages/{id}", p.messageShow)
	operator("GET /messages/{id}/html", p.messageHTML)
	operator("GET /messages/{id}/raw", p.messageRaw)
	operator("GET /messages/{id}/attachments/{n}", p.messageAttachment)
}

func messagePath(id string) string { return "/messages/" + url.PathEscape(id) }

// The bounds of what a page shows of a message; the rest is in the download.
const (
	mostParties = 50
	mostHeader  = 32 << 10
	longestRaw  = 128 << 20
)

// line and lines are foreign text, fit to be shown.
func line(text string) string { return message.Line(text) }

func lines(text string) string { return message.Lines(text) }

// sizeWords says how many bytes.
func sizeWords(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d bytes", n)
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// messagesView is the list of messages.
type messagesView struct {
	frame
	Now    time.Time
	Filter filter
	Rows   []fetch.Message
	Next   string
	First  string // address of a mailbox, where there is no message at all
}

// Any reports whether anything was asked for.
func (v messagesView) Any() bool {
	return v.Filter.asked("text", "mailbox", "since", "until", "before")
}

func (p *Pages) messageList(w http.ResponseWriter, r *http.Request) {
	f, err := p.readFilter(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := messagesView{frame: p.frame(r, "Messages"), Now: p.Now(), Filter: f}
	if !f.bad() {
		found, err := p.Reads.Messages(r.Context(), fetch.Filter{
			MailboxIDs: f.mailboxes(), Text: f.Text, Since: f.Since, Until: f.Until, Brief: true, Before: f.Before, Limit: pageLength,
		})
		if err != nil {
			p.fail(w, r, err)
			return
		}
		v.Rows, v.Next = found.Messages, found.Next
	}
	if len(v.Rows) == 0 && !v.Any() {
		offered, err := p.offered(r.Context(), anyMailbox)
		if err != nil {
			p.fail(w, r, err)
			return
		}
		if len(offered) > 0 {
			v.First = offered[0]
		}
	}
	p.show(w, r, f.status(), messagesPage(v))
}

// subjectOf is what stands for a message in a list.
func subjectOf(subject string) string {
	if s := strings.TrimSpace(line(subject)); s != "" {
		return s
	}
	return "(no subject)"
}

// partyWords is somebody as lists show them: the name, or else the address.
func partyWords(all []message.Party) string {
	if len(all) == 0 {
		return "nobody named"
	}
	if all[0].Name != "" {
		return line(all[0].Name)
	}
	return line(all[0].Address)
}

// filesWords counts attachments.
func filesWords(n int) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 attachment"
	}
	return strconv.Itoa(n) + " attachments"
}

// messageView is one message.
type messageView struct {
	frame
	Now     time.Time
	M       fetch.Message
	Show    string // text, html, source or header
	Header  string
	Whole   bool // of the header
	Handed  []webhook.Handed
	After   string // what became of it at the mail server
	Refused bool
}

// tabs are the ways to look at the message.
func (v messageView) tabs() []tab {
	at := func(title, show string) tab {
		return tab{Title: title, URL: messagePath(v.M.ID) + "?show=" + show, Current: v.Show == show}
	}
	out := []tab{at("Text", "text")}
	if v.M.Parsed.HTML != "" {
		out = append(out, at("As designed", "html"), at("HTML source", "source"))
	}
	return append(out, at("Header", "header"))
}

func (p *Pages) messageShow(w http.ResponseWriter, r *http.Request) {
	v, err := p.messageView(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	if v.Show == "html" {
		// The page may frame a page of ours: that with the HTML, which may do nothing.
		w.Header().Set("Content-Security-Policy", csp+"; frame-src 'self'")
	}
	p.show(w, r, http.StatusOK, messagePage(v))
}

func (p *Pages) messageView(r *http.Request) (messageView, error) {
	ctx := r.Context()
	m, err := p.Reads.Message(ctx, r.PathValue("id"))
	if err != nil {
		return messageView{}, err
	}
	v := messageView{frame: p.frame(r, subjectOf(m.Parsed.Subject)), Now: p.Now(), M: m, Show: r.URL.Query().Get("show")}
	switch v.Show {
	case "html", "source":
		if m.Parsed.HTML == "" {
			v.Show = "text"
		}
	case "header":
		raw, err := p.Reads.MessageRaw(ctx, m.ID)
		if err != nil {
			return v, err
		}
		v.Header, v.Whole, err = message.Header(raw, mostHeader)
		_ = raw.Close() // only read from
		if err != nil {
			return v, err
		}
	default:
		v.Show = "text"
	}
	if m.EventID != "" {
		if v.Handed, err = p.Reads.HandedOn(ctx, m.EventID); err != nil {
			return v, err
		}
	}
	box, err := p.Connect.Mailboxes.Get(ctx, m.Mailbox)
	if err != nil && !fault.Has(err, "mailbox.unknown") {
		return v, err
	}
	v.After, v.Refused = afterWords(m.Disposed, box)
	return v, nil
}

// afterWords says what became of a message at the mail server.
func afterWords(done string, box mailbox.Mailbox) (words string, refused bool) {
	if cause, is := strings.CutPrefix(done, "refused: "); is {
		return cause + " It stays there as it was.", true
	}
	act, target, _ := strings.Cut(done, ":")
	switch act {
	case protocol.DisposeMarkSeen:
		return "It was marked as seen there.", false
	case protocol.DisposeDelete:
		return "It was deleted there.", false
	case protocol.DisposeMove:
		return "It was moved to the folder " + strings.TrimSpace(target) + " there.", false
	}
	if box.AfterReceive != "" && box.AfterReceive != protocol.DisposeKeep {
		return "Nothing: it was received before the mailbox was set to do so (" + box.AfterReceive + "), or the connection broke.", false
	}
	return "It stays there as it was.", false
}

// handedWords is how far a delivery has come.
func handedWords(now time.Time, h webhook.Handed) badge {
	switch h.State {
	case webhook.Delivered:
		return badge{"delivered", "green"}
	case webhook.Parked:
		return badge{"parked", "red"}
	}
	switch {
	case h.Attempts > 0 && h.NextAttemptAt.After(now):
		return badge{"next try " + ago(now, h.NextAttemptAt), "yellow"}
	case h.Attempts > 0:
		return badge{"tried next", "yellow"}
	}
	return badge{"waits", "secondary"}
}

// messageHTML gives the HTML of a message to the frame in its page. A browser
// treats it as another site's that may run nothing, load nothing, send nothing
// and lead nowhere: what it shows is what is in it, and nobody learns that it was
// looked at.
func (p *Pages) messageHTML(w http.ResponseWriter, r *http.Request) {
	m, err := p.Reads.Message(r.Context(), r.PathValue("id"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	pictures, err := p.pictures(r.Context(), m)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'self'")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-DNS-Prefetch-Control", "off")
	_, _ = io.WriteString(w, quiet(m.Parsed.HTML, func(id string) string { return pictures[id] }))
}

func (p *Pages) messageRaw(w http.ResponseWriter, r *http.Request) {
	m, err := p.Reads.Message(r.Context(), r.PathValue("id"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	raw, err := p.Reads.MessageRaw(r.Context(), m.ID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	defer func() { _ = raw.Close() }()
	p.download(w, r, "message/rfc822", m.ID+".eml", m.Size, raw)
}

func (p *Pages) messageAttachment(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		n = -1 // refused below, as any number that there is not
	}
	whole, err := p.rawMessage(r.Context(), r.PathValue("id"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	part, body, err := message.Attachment(whole, n)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	name := part.Filename
	if name == "" {
		name = fmt.Sprintf("attachment-%d", n)
	}
	p.download(w, r, part.ContentType, name, -1, body)
}

// rawMessage reads a message whole.
func (p *Pages) rawMessage(ctx context.Context, id string) ([]byte, error) {
	raw, err := p.Reads.MessageRaw(ctx, id)
	if err != nil {
		return nil, err
	}
	defer func() { _ = raw.Close() }() // only read from
	return io.ReadAll(io.LimitReader(raw, longestRaw))
}

// download gives foreign bytes as a file, which no browser shows as a page of ours.
func (p *Pages) download(w http.ResponseWriter, r *http.Request, contentType, name string, size int64, body io.Reader) {
	if _, _, err := mime.ParseMediaType(contentType); err != nil {
		contentType = "application/octet-stream"
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", message.Disposition(name))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
	if size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if _, err := io.Copy(w, body); err != nil && r.Context().Err() == nil {
		p.Logger.WarnContext(r.Context(), "a download broke off", "path", r.Pattern, "error", err)
		panic(http.ErrAbortHandler) // so that nobody takes it for whole
	}
}
