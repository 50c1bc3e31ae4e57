package web_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/mailgrant/mailgrant/internal/web"
)

func none(string) string { return "" }

func TestQuiet_ShowsTheMessagesOwnPictures(t *testing.T) {
	t.Parallel()
	picture := func(id string) string {
		return map[string]string{"logo@x.example": "data:image/png;base64,AA==", "a b": `data:"quoted"`}[id]
	}
	for in, want := range map[string]string{
		`<p>a<img src="cid:logo@x.example" alt="Logo">b`:         `<p>a<img src="data:image/png;base64,AA==" alt="Logo"/>b</p>`,
		`<IMG SRC=CID:logo%40x.example WIDTH=5 />`:               `<img src="data:image/png;base64,AA==" width="5"/>`,
		`<img src=" cid:a%20b ">`:                                `<img src="data:&#34;quoted&#34;"/>`,
		`<body background='cid:logo@x.example' title='"'>`:       `<body background="data:image/png;base64,AA==" title="&#34;">`,
		`<img src="cid:another@x.example">`:                      `<img src="cid:another@x.example"/>`,
		`<img src="cid:Logo@x.example">`:                         `<img src="cid:Logo@x.example"/>`,
		`<img src="cid:%zz"><img src="cid:"><img src>`:           `<img src="cid:%zz"/><img src="cid:"/><img src=""/>`,
		`<img src="https://x.example/cid:logo@x.example">`:       `<img src="https://x.example/cid:logo@x.example"/>`,
		`<a href="cid:logo@x.example">no picture</a>`:            `<a href="cid:logo@x.example">no picture</a>`,
		`<script src="cid:logo@x.example"></script>`:             ``,
		`<object data="cid:logo@x.example"></object>`:            ``,
		`<!-- <img src="cid:logo@x.example"> -->`:                ``,
		`<textarea><img src="cid:logo@x.example"></textarea>`:    `<textarea>&lt;img src=&#34;cid:logo@x.example&#34;&gt;</textarea>`,
		`<img src="cid:logo@x.example" src="https://x.example">`: `<img src="data:image/png;base64,AA=="/>`,
		`<img src="cid:logo@x.example"`:                          ``,
	} {
		if got := within(web.Quiet(in, picture)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestQuiet_LeavesNothingThatCallsAnotherServer(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`<p>Hello <b>you</b></p>`:                                                                           `<p>Hello <b>you</b></p>`,
		`<link rel="preconnect" href="http://x.example"><p>a</p>`:                                           `<p>a</p>`,
		`<LINK rel=dns-prefetch href=//x.example>b<Link/>`:                                                  `b`,
		`<meta http-equiv="refresh" content="0;url=http://x.example">c`:                                     `c`,
		`<iframe src="http://x.example"></iframe><object data=//x.example></object><embed src=//x.example>`: ``,
		`<base href="http://x.example">d</base>`:                                                            `d`,
		`<!-- <link rel=preconnect href=//x.example> -->e`:                                                  `e`,
		`<p title="<link>">f</p>`:                                                                           `<p title="&lt;link&gt;">f</p>`,
		"<link\x00 rel=preconnect href=//x.example>":                                                        "<link\ufffd rel=\"preconnect\" href=\"//x.example\"></link\ufffd>",
		`<style>p{}</style><svg><link rel=preconnect href="http://x.example"></svg>`:                        `<style>p{}</style><svg></svg>`,
		`<link rel=preconnect href=//x.example`:                                                             ``,
		`<iframe><link rel=preconnect href=//x.example></iframe>g`:                                          `g`,
		`<noscript><link rel=preconnect href=//x.example></noscript>h`:                                      `h`,
		`<svg><title><link rel=preconnect href=//x.example></title></svg>`:                                  `<svg><title></title></svg>`,
		`<svg><style><p><link rel=preconnect href=//x.example></style></svg>`:                               `<svg></svg><p></p>`,
		`<style><!--</style><link rel=preconnect href=//x.example><!--</style>-->i`:                         `<style><!--</style>i`,
		`<template><link rel=preconnect href=//x.example></template>j`:                                      `j`,
	} {
		if got := within(web.Quiet(in, none)); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

// within gives a document without the elements that every document has.
func within(document string) string {
	return strings.NewReplacer("<html>", "", "<head>", "", "</head>", "", "<body>", "", "</body>", "", "</html>", "").Replace(document)
}

func FuzzQuiet(f *testing.F) {
	f.Add(`<link rel=preconnect href=//x.example><p>`)
	f.Add(`<scr<link>ipt>`)
	f.Add(`<img "=' <link src=cid:x background=cid:y>`)
	f.Add(`<svg><style><p><link></style><title><link>`)
	f.Fuzz(func(t *testing.T, in string) {
		once := web.Quiet(in, none)
		// A browser reads again what is written, and finds nothing that calls anybody.
		root, err := html.ParseWithOptions(strings.NewReader(once), html.ParseOptionEnableScripting(false))
		if err != nil {
			t.Skip("nested too deep")
		}
		for n := range root.Descendants() {
			if n.Type == html.ElementNode && slices.Contains([]string{"link", "meta", "base", "iframe", "object", "embed"}, n.Data) {
				t.Errorf("%q became %q, in which a browser reads %s", in, once, n.Data)
			}
		}
		// Putting pictures in brings no element that was not there.
		with := web.Quiet(in, func(string) string { return `">'<link rel=preconnect>` })
		if names(with) != names(once) {
			t.Errorf("%q became %q with pictures, and %q without", in, with, once)
		}
	})
}

// names are those of all elements of a document, in order.
func names(document string) string {
	var all []string
	for z := html.NewTokenizer(strings.NewReader(document)); ; {
		switch kind := z.Next(); kind {
		case html.ErrorToken:
			return strings.Join(all, " ")
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			name, _ := z.TagName()
			all = append(all, kind.String(), string(name))
		}
	}
}
