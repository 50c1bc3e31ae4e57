package web_test

import (
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/web"
)

func TestQuiet_LeavesNothingThatCallsAnotherServer(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`<p>Hello <b>you</b></p>`:                                                                           `<p>Hello <b>you</b></p>`,
		`<link rel="preconnect" href="http://x.example"><p>a</p>`:                                           `<p>a</p>`,
		`<LINK rel=dns-prefetch href=//x.example>b<Link/>`:                                                  `b`,
		`<meta http-equiv="refresh" content="0;url=http://x.example">c`:                                     `c`,
		`<iframe src="http://x.example"></iframe><object data=//x.example></object><embed src=//x.example>`: ``,
		`<base href="http://x.example">d</base>`:                                                            `d`,
		`<!-- <link rel=preconnect href=//x.example> -->e`:                                                  `<!-- <link rel=preconnect href=//x.example> -->e`,
		`<p title="<link>">f</p>`:                                                                           `<p title="<link>">f</p>`,
		"<link\x00 rel=preconnect href=//x.example>":                                                        "<link\x00 rel=preconnect href=//x.example>",
		`<style>p{}</style><svg><link rel=preconnect href="http://x.example"></svg>`:                        `<style>p{}</style><svg></svg>`,
		`<link rel=preconnect href=//x.example`:                                                             ``,
	} {
		if got := web.Quiet(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func FuzzQuiet(f *testing.F) {
	f.Add(`<link rel=preconnect href=//x.example><p>`)
	f.Add(`<scr<link>ipt>`)
	f.Fuzz(func(t *testing.T, in string) {
		once := web.Quiet(in)
		if twice := web.Quiet(once); strings.Contains(strings.ToLower(twice), "<link ") && twice != once {
			t.Errorf("%q became %q, and then %q", in, once, twice)
		}
	})
}
