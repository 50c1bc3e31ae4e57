package message_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
)

// wire gives a text CRLF line ends.
func wire(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

const report = `From: =?iso-8859-1?Q?J=FCrgen?= <juergen@example.org>
To: "Desk, Service" <desk@example.org>, broken-address, other@example.org
Cc: a@example.org
Message-ID: <one@example.org>
In-Reply-To: <zero@example.org>
References: <a@b> <zero@example.org>
Date: Tue, 24 Nov 2026 03:00:00 +0100
Subject: =?utf-8?B?R3LDvMOfZQ==?= aus Wien
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="outer"

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=iso-8859-15
Content-Transfer-Encoding: quoted-printable

Preis: 5 =A4
--inner
Content-Type: text/html; charset=utf-8

<p>Preis: 5 €</p>
--inner--
--outer
Content-Type: application/pdf; name="plan.pdf"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename*=utf-8''Pl%C3%A4ne%2F..%2F2026.pdf

aGVs
bG8g d29ybGQ=
--outer
Content-Type: message/rfc822

Subject: inner

text
--outer
Content-Type: text/plain

-- the list's footer
--outer--
epilogue
`

func TestParse_ReadsAnOrdinaryMessage(t *testing.T) {
	t.Parallel()
	got := message.Parse(wire(report))
	want := message.Parsed{
		MessageID: "one@example.org", InReplyTo: []string{"zero@example.org"}, References: []string{"a@b", "zero@example.org"},
		Date: time.Date(2026, 11, 24, 3, 0, 0, 0, time.FixedZone("", 3600)), Subject: "Grüße aus Wien",
		From: []message.Party{{Name: "Jürgen", Address: "juergen@example.org"}},
		To:   []message.Party{{Name: "Desk, Service", Address: "desk@example.org"}, {Address: "other@example.org"}},
		CC:   []message.Party{{Address: "a@example.org"}},
		Text: "Preis: 5 €\n\n-- the list's footer", HTML: "<p>Preis: 5 €</p>",
		Parts: []message.Part{
			{Index: 0, Filename: "2026.pdf", ContentType: "application/pdf", Size: 11},
			{Index: 1, ContentType: "message/rfc822", Size: 22},
		},
		Remarks: []string{"The To field holds what is no address; it was left out."},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	part, r, err := message.Attachment(wire(report), 0)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "hello world" || part.Filename != "2026.pdf" {
		t.Fatalf("attachment = %q, %v, %+v", b, err, part)
	}
	if _, _, err := message.Attachment(wire(report), 2); !fault.Has(err, "message.no_attachment") {
		t.Fatalf("a missing attachment: %v", err)
	}
	opened := message.Attachments(wire(report), 7, 1, 0, -1)
	if len(opened) != 2 || opened[0].Index != 0 || opened[0].Filename != "2026.pdf" || opened[1].Index != 1 || opened[1].Size != 22 {
		t.Fatalf("several attachments: %+v", opened)
	}
	for i, want := range []string{"hello world", "Subject: "} {
		if b, err := io.ReadAll(opened[i].Content); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("attachment %d of several = %q, %v", i, b, err)
		}
	}
}

func TestParse_RemarksOnWhatItCannotRead(t *testing.T) {
	t.Parallel()
	deep := "Content-Type: multipart/mixed; boundary=b0\n\n"
	for i := range 40 {
		deep += fmt.Sprintf("--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n", i, i+1)
	}
	for _, c := range []struct{ outcome, raw, remark, text string }{
		{"an empty message", "", "empty", ""},
		{"no header", "\njust text\n", "no header", "just text\n"},
		{"a line that is no field", "Subject: x\nnonsense\n\nbody", "header line", "body"},
		{"an unknown charset", "Content-Type: text/plain; charset=klingon\n\nabc\xff", "klingon", "abc\uFFFD"},
		{"bytes of no declared charset", "Subject: x\n\nGr\xfc\xdfe", "Windows-1252", "Grüße"},
		{"a multipart without boundary", "Content-Type: multipart/mixed\n\nhello", "boundary", "hello"},
		{"a multipart that breaks off", "Content-Type: multipart/mixed; boundary=x\n\n--x\n\nhello", "cut off", "hello"},
		{"a date of another world", "Date: yesterday\n\nx", "Date", "x"},
		{"parts nested too deep", deep, "deeper than", ""},
		{"parts without number", "Content-Type: multipart/mixed; boundary=x\n\n" + strings.Repeat("--x\n\n", 1500), "more than 1000 parts", ""},
		{"a header without end", strings.Repeat("X-A: "+strings.Repeat("y", 990)+"\n", 1100) + "\nbody", "longer than 1048576", "body"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			t.Parallel()
			got := message.Parse([]byte(c.raw))
			if !strings.Contains(strings.Join(got.Remarks, "|"), c.remark) {
				t.Errorf("remarks = %q, want one with %q", got.Remarks, c.remark)
			}
			if got.Text != c.text && c.text != "" {
				t.Errorf("text = %q, want %q", got.Text, c.text)
			}
		})
	}
}

func TestParse_BoundsTheText(t *testing.T) {
	t.Parallel()
	got := message.Parse([]byte("Subject: long\n\n" + strings.Repeat("ä", message.MaxText)))
	if len(got.Text) > message.MaxText || !utf8.ValidString(got.Text) || len(got.Remarks) == 0 {
		t.Fatalf("%d bytes, remarks %q", len(got.Text), got.Remarks)
	}
}

func TestParse_HostileHeaderTakesBoundedTime(t *testing.T) {
	t.Parallel()
	start := time.Now()
	for _, field := range []string{"To: ", "Message-ID: ", "Date: ", "Content-Type: ", "Content-Disposition: "} {
		message.Parse([]byte(field + strings.Repeat("(", 500_000) + "\n\nx"))
		message.Parse([]byte(field + strings.Repeat("(a),", 200_000) + "\n\nx"))
		message.Parse([]byte(field + strings.Repeat("a;b=", 200_000) + "\n\nx"))
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Fatalf("took %s", took)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(wire(report))
	f.Add([]byte("Subject: =?utf-8?B?////?=\nContent-Transfer-Encoding: base64\n\n=a=b"))
	f.Add([]byte("Content-Type: multipart/digest; boundary=\"\"\n\n----\n--"))
	f.Add([]byte("From: a@b,<<>>,:;\"\n x: y\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := message.Parse(raw)
		for _, s := range []string{p.Subject, p.Text, p.HTML} {
			if !utf8.ValidString(s) {
				t.Fatalf("not UTF-8: %q", s)
			}
		}
		for i, want := range p.Parts {
			got, r, err := message.Attachment(raw, i)
			if err != nil {
				t.Fatalf("attachment %d of %d: %v", i, len(p.Parts), err)
			}
			n, _ := io.Copy(io.Discard, r)
			if n != want.Size || got.Filename != want.Filename {
				t.Fatalf("attachment %d: %d bytes of %q, parsed as %d of %q", i, n, got.Filename, want.Size, want.Filename)
			}
		}
	})
}
