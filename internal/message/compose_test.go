package message_test

import (
	"bytes"
	"io"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
)

func now() time.Time { return time.Date(2026, 11, 24, 3, 30, 0, 0, time.UTC) }

func draft() message.Draft {
	return message.Draft{
		From: message.Party{Name: "Service Desk ü", Address: "Desk@Example.org"},
		To:   []message.Party{{Name: "Adele, V.", Address: "adele@example.org"}},
		CC:   []message.Party{{Address: "b@bücher.example"}}, BCC: []message.Party{{Address: "secret@example.org"}, {Address: "adele@example.org"}},
		ReplyTo: []message.Party{{Address: "replies@example.org"}},
		Subject: "Ticket 4711: Gerät läuft wieder " + strings.Repeat("und wieder ", 20),
		Text:    "Hello\nworld\n.\nend " + strings.Repeat("long ", 400), HTML: "<p>Hallo <img src=\"cid:logo@x\"></p>",
		Attachments: []message.File{
			{Filename: "logo.png", ContentType: "image/png", ContentID: "logo@x", Content: []byte("png")},
			{Filename: "Überblick.bin", Content: bytes.Repeat([]byte{0, 255}, 5000)},
		},
		InReplyTo: "<q@example.org>", Headers: map[string]string{"X-Ticket": "4711 – äöü"},
	}
}

func TestCompose_MakesWhatParseReads(t *testing.T) {
	t.Parallel()
	out, err := message.Compose(draft(), now())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"adele@example.org", "b@xn--bcher-kva.example", "secret@example.org"}
	if !slices.Equal(out.Envelope.ForwardPaths, want) || out.Envelope.ReversePath != "Desk@example.org" {
		t.Errorf("envelope = %+v", out.Envelope)
	}
	if bytes.Contains(out.Raw, []byte("secret@")) {
		t.Error("the message names a recipient of bcc")
	}
	for line := range bytes.Lines(out.Raw) {
		if !bytes.HasSuffix(line, []byte("\r\n")) || len(line) > 998 {
			t.Fatalf("a line of %d bytes: %.60q", len(line), line)
		}
	}
	p := message.Parse(out.Raw)
	d := draft()
	if p.Subject != strings.TrimSpace(d.Subject) || p.Text != d.Text || p.HTML != d.HTML || p.MessageID != out.MessageID || len(p.Remarks) > 0 {
		t.Errorf("parsed: subject %q, text %d bytes of %d, html %q, remarks %q", p.Subject, len(p.Text), len(d.Text), p.HTML, p.Remarks)
	}
	if len(p.From) != 1 || p.From[0].Name != d.From.Name || len(p.To) != 1 || p.To[0].Name != "Adele, V." || !p.Date.Equal(now()) {
		t.Errorf("from %+v, to %+v, date %v", p.From, p.To, p.Date)
	}
	if len(p.Parts) != 2 || !p.Parts[0].Inline || p.Parts[1].Filename != "Überblick.bin" || p.Parts[1].Size != 10000 {
		t.Errorf("parts = %+v", p.Parts)
	}
	if m, err := netmail.ReadMessage(bytes.NewReader(out.Raw)); err != nil || m.Header.Get("In-Reply-To") != "<q@example.org>" {
		t.Errorf("the standard library reads %v, %v", m, err)
	}
}

func TestCompose_RefusesWhatWouldBreakTheHeader(t *testing.T) {
	t.Parallel()
	const evil = "x\r\nBcc: victim@example.org"
	for _, c := range []struct {
		field  string
		change func(*message.Draft)
	}{
		{"subject", func(d *message.Draft) { d.Subject = evil }},
		{"subject", func(d *message.Draft) { d.Subject = strings.Repeat("x", 901) }},
		{"from", func(d *message.Draft) { d.From.Name = evil }},
		{"from", func(d *message.Draft) { d.From.Address = "a@example.org\r\nX: y" }},
		{"from", func(d *message.Draft) { d.From.Address = "" }},
		{"to", func(d *message.Draft) { d.To[0].Address = "a@example.org, b@example.org" }},
		{"to", func(d *message.Draft) { d.To, d.CC, d.BCC = nil, nil, nil }},
		{"in_reply_to", func(d *message.Draft) { d.InReplyTo = "<a b>" }},
		{"references", func(d *message.Draft) { d.References = []string{evil} }},
		{"headers", func(d *message.Draft) { d.Headers = map[string]string{"Bcc": "x@example.org"} }},
		{"headers", func(d *message.Draft) { d.Headers = map[string]string{"X-A: b\r\nBcc": "x"} }},
		{"headers.X-A", func(d *message.Draft) { d.Headers = map[string]string{"X-A": evil} }},
		{"attachments[1].filename", func(d *message.Draft) { d.Attachments[1].Filename = evil }},
		{"attachments[1].content_type", func(d *message.Draft) { d.Attachments[1].ContentType = "text/plain\r\nX: y" }},
		{"attachments[0].content_id", func(d *message.Draft) { d.Attachments[0].ContentID = evil }},
	} {
		d := draft()
		c.change(&d)
		_, err := message.Compose(d, now())
		if f := fault.Of(err); f == nil || f.Kind != fault.Invalid || f.Field != c.field || f.Remedy == "" {
			t.Errorf("%s: %v", c.field, err)
		}
	}
}

func TestPrepareRaw_CompletesAndKeeps(t *testing.T) {
	t.Parallel()
	in := "Received: from a\n\tby b\nFrom: Desk <desk@example.org>\nTo: Adele <Adele@example.org>,\n b@example.org\nBcc: hidden@example.org\nSubject: =?utf-8?Q?=C3=BC?=\nX-Odd:   kept  as is\n\nbody\n.\n"
	out, err := message.PrepareRaw([]byte(in), now())
	if err != nil {
		t.Fatal(err)
	}
	s := string(out.Raw)
	if !slices.Equal(out.Envelope.ForwardPaths, []string{"Adele@example.org", "b@example.org", "hidden@example.org"}) || out.Subject != "ü" {
		t.Errorf("got %+v, %q", out.Envelope, out.Subject)
	}
	if strings.Contains(s, "hidden@example.org") || !strings.Contains(s, "\r\nX-Odd:   kept  as is\r\n\r\nbody\r\n.\r\n") ||
		!strings.Contains(s, "Message-ID: <"+out.MessageID+">\r\n") || !strings.Contains(s, "Date: ") {
		t.Errorf("raw:\n%s", s)
	}
	again, err := message.PrepareRaw(out.Raw, now().Add(time.Hour))
	if err != nil || again.MessageID != out.MessageID || !bytes.Equal(again.Raw, out.Raw) {
		t.Errorf("a complete message was changed: %v\n%s", err, again.Raw)
	}
}

func TestPrepareRaw_Refuses(t *testing.T) {
	t.Parallel()
	const ok = "From: a@example.org\nTo: b@example.org\n"
	for _, c := range []struct{ outcome, raw, field string }{
		{"nothing", "", "header"},
		{"a line that is no field", ok + "nonsense\n\nx", "header"},
		{"no author", "To: b@example.org\n\nx", "From"},
		{"two authors", "From: a@example.org, c@example.org\nTo: b@example.org\n\nx", "From"},
		{"two From fields", "From: c@example.org\n" + ok + "\nx", "From"},
		{"no recipient", "From: a@example.org\n\nx", "To"},
		{"a recipient that is none", ok + "Cc: nobody\n\nx", "Cc"},
		{"a line too long", ok + "\n" + strings.Repeat("x", 999), "body"},
		{"a NUL", ok + "\nx\x00", "body"},
		{"two identifiers", ok + "Message-ID: <a@b>\nMessage-ID: <c@d>\n\nx", "Message-ID"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			_, err := message.PrepareRaw([]byte(c.raw), now())
			if f := fault.Of(err); f == nil || f.Kind != fault.Invalid || f.Field != c.field {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func FuzzPrepareRaw(f *testing.F) {
	f.Add([]byte("From: a@example.org\nTo: b@example.org\nBcc: hidden@example.org\n\nx\r\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		out, err := message.PrepareRaw(raw, now())
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatal(err)
			}
			return
		}
		m, err := netmail.ReadMessage(bytes.NewReader(out.Raw))
		if err != nil {
			return // the standard library is stricter about field names
		}
		if m.Header.Get("Bcc") != "" || m.Header.Get("Message-Id") == "" && m.Header.Get("Message-ID") == "" {
			t.Fatalf("header: %v", m.Header)
		}
		if _, err := io.Copy(io.Discard, m.Body); err != nil {
			t.Fatal(err)
		}
	})
}
