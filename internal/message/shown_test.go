package message_test

import (
	"mime"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/message"
)

func TestLine_CannotLieAboutItself(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":                 "plain",
		"two\r\nlines\tand":     "two  lines and",
		"a\x1b[2Jb\x00c\u0085d": "a�[2Jb�c�d",
		"invoice\u202Efdp.exe":  "invoice�fdp.exe",
		"שלום\u200F עולם":       "שלום עולם",
		"broken \xff\xfe":       "broken �",
	} {
		if got := message.Line(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	if got := message.Lines("a\r\nb\tc\x07"); got != "a\nb\tc�" {
		t.Errorf("got %q", got)
	}
}

func TestDisposition(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.pdf":                         "a.pdf",
		"../../x.html":                  "x.html",
		`C:\temp\x.html`:                "x.html",
		"line\r\nX-Evil: 1.txt":         "line  X-Evil: 1.txt",
		`quo"te\.txt`:                   ".txt",
		`quo"te.txt`:                    `quo"te.txt`,
		"Übersicht 100%.pdf":            "Übersicht 100%.pdf",
		"שלום.pdf":                      "שלום.pdf",
		"invoice\u202Efdp.exe":          "invoice_fdp.exe",
		"":                              "",
		"..":                            "",
		strings.Repeat("ü", 400) + ".x": strings.Repeat("ü", 127),
	} {
		header := message.Disposition(name)
		kind, params, err := mime.ParseMediaType(header)
		if err != nil || kind != "attachment" || params["filename"] != want {
			t.Errorf("%q became %s: %q, want %q (%v)", name, header, params["filename"], want, err)
		}
		for _, r := range header {
			if r < ' ' || r > '~' {
				t.Errorf("%q became %q, which is no header", name, header)
			}
		}
	}
}

func TestHeader_EndsWhereItEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw, want string
		whole     bool
	}{
		{"A: 1\r\nB: 2\r\n\r\nbody\n\n", "A: 1\r\nB: 2", true},
		{"A: 1\nB: 2\n\nbody\r\n\r\n", "A: 1\nB: 2", true},
		{"A: 1", "A: 1", true},
		{"A: " + strings.Repeat("x", 100), ("A: " + strings.Repeat("x", 100))[:64], false},
		{"", "", true},
	} {
		if got, whole, err := message.Header(strings.NewReader(c.raw), 64); err != nil || got != c.want || whole != c.whole {
			t.Errorf("%q gave %q, %v, %v", c.raw, got, whole, err)
		}
	}
}

func TestParseParties(t *testing.T) {
	t.Parallel()
	got, err := message.ParseParties("a@example.org, \"Vance, Adele\" <b@example.org>;\r\n\n  Bert <c@example.org>\n")
	if err != nil || len(got) != 3 || got[1].Name != "Vance, Adele" || got[2].Address != "c@example.org" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := message.ParseParties("a@example.org\nnobody"); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("got %v", err)
	}
	if got, err := message.ParseParties(" \n,"); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
