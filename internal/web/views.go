package web

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

// frame is what every page shares.
type frame struct {
	Title    string
	Operator string // who is signed in; empty on pages without sign-in
	Section  string // the path of the section that the page belongs to
	Narrow   bool   // a form of few fields
	Assets   assetURLs
}

// section is a place of the navigation.
type section struct{ Title, Path string }

// sections lists the places of the navigation, in its order.
func sections() []section {
	return []section{
		{"Mailboxes", "/"},
		{"Messages", "/messages"},
		{"Submissions", "/submissions"},
		{"Webhooks", "/webhooks"},
		{"Apps", "/apps"},
		{"Providers", "/providers"},
		{"Events", "/events"},
		{"Inspector", "/inspect"},
		{"Operators", "/operators"},
	}
}

// sectionOf finds the section of a path: the one whose path it begins with.
func sectionOf(path string) string {
	if thing, is := strings.CutPrefix(path, "/new/"); is { // "/new/provider" is of "/providers"
		path = "/" + thing + "s"
	}
	for _, s := range sections() {
		if s.Path != "/" && (path == s.Path || strings.HasPrefix(path, s.Path+"/")) {
			return s.Path
		}
	}
	return "/"
}

// assetURLs are the addresses of the embedded files; Styled is false in a
// build without the front-end files.
type assetURLs struct {
	Tabler, App, Theme, Page, HTMX string
	Styled                         bool
}

// ago words a moment relative to now, for people.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	d := now.Sub(at)
	if d < 0 {
		return "in " + span((-d).Round(unitOf(-d)))
	}
	if d < 5*time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

// unitOf is the unit in which a span is told. What is to come is rounded to it:
// three days less a second are three days.
func unitOf(d time.Duration) time.Duration {
	switch {
	case d < time.Minute:
		return time.Second
	case d < time.Hour:
		return time.Minute
	case d < 48*time.Hour:
		return time.Hour
	default:
		return 24 * time.Hour
	}
}

func span(d time.Duration) string {
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch {
	case d < time.Minute:
		return count(int(d.Seconds()), "second")
	case d < time.Hour:
		return count(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return count(int(d.Hours()), "hour")
	default:
		return count(int(d.Hours()/24), "day")
	}
}

// stamp is the exact form of a moment.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") }

// badge is a state in words with a colour that only repeats it.
type badge struct {
	Text string
	Tone string // green, red, yellow, azure, secondary
}

// signInView is the operators' sign-in.
type signInView struct {
	frame
	Name    string
	Problem string
	Remedy  string
	Next    string
}

// setupView makes an operator through the set-up link.
type setupView struct {
	frame
	Link  string
	For   string // whom the link was made for; empty: they choose a name
	Form  form   // the name as it was typed, and what is wrong with name and password
	Spent bool
}

// mailboxView is one mailbox.
type mailboxView struct {
	frame
	Now       time.Time
	Address   string
	Provider  string
	Title     string // the provider's kind for people
	Expects   string // who has to sign in
	Delegate  bool
	State     badge
	Verdict   string // a sentence
	SignedIn  string
	Subject   string
	Scopes    []string
	Since     time.Time
	By        string
	LastRenew time.Time
	NextRenew time.Time
	Access    []accessRow
	Standing  mailbox.Standing
	Trouble   *diagnose.Matter // why mail does not flow; nil: it does
	Waits     bool             // an authorization is in quarantine
	Paused    bool
	HasGrant  bool
	Receive   string
	ReceiveAt string // the server, its port and encryption; empty: not known
	SendAt    string
	Settings  mailbox.Mailbox
	Send      string
	After     string // what happens to a message after it was received
	Profile   string
	LastMail  time.Time
	Latest    *connect.Link // made last; nil: none yet
	Timeline  []timelineRow
	Notice    string
}

type accessRow struct {
	Resource  string
	ExpiresAt time.Time
}

// linkView is a fresh authorization link, shown once.
type linkView struct {
	URL     string
	QR      string // SVG
	Expires time.Time
}

// rungView is one step of a test.
type rungView struct {
	Title    string
	OK       bool
	Skipped  bool
	Observed string
	Cause    string
	Who      string
	Remedy   string
	Took     time.Duration
}

type testView struct {
	Climbing bool // the rungs are still to come
	OK       bool
	Rungs    []rungView
}

// ownerView is the page behind the one-time link.
type ownerView struct {
	frame
	Now          time.Time
	State        string // pending, granted, refused, expired, cancelled, unknown
	Link         string // path to post to
	URL          string // the whole link, for another device
	QR           string // SVG
	Mailbox      string
	Principal    string
	Delegate     bool
	Provider     string
	Permissions  []string
	AttemptsLeft int
	Expires      time.Time
	Last         *outcomeView
	SignOut      string
}

// signOutFirst says that the person has to sign out at the provider before
// another attempt has a chance.
func (v ownerView) signOutFirst() bool { return v.Last != nil && v.Last.Mismatch && v.SignOut != "" }

type outcomeView struct {
	OK        bool
	Others    bool // whoever signs in can do nothing about it
	Pending   bool // quarantined: verified later
	Mismatch  bool
	Guided    bool // the steps on the page say what to do
	Expected  string
	SignedIn  string
	Text      string // without the assurance that nothing was stored
	Unstored  bool   // nothing was stored
	Remedy    string
	Reference string
	Reply     string // the error as the server outside gave it
	Verdict   string
}

// problemView is a page that says what went wrong where there is no better one.
type problemView struct {
	frame
	Heading   string
	Text      string
	Remedy    string
	Reference string
	Home      bool // offer the way to the first page
}

var addressInText = regexp.MustCompile(`\S+@\S+`)

// wrapped is HTML of a text in which a mail address stays in one piece where
// there is room for it, and else is broken before its @.
func wrapped(text string) string {
	return addressInText.ReplaceAllStringFunc(templ.EscapeString(text), func(a string) string {
		return `<span class="mg-whole">` + strings.ReplaceAll(a, "@", "<wbr>@") + `</span>`
	})
}

// wrappedScope is HTML of a scope, which is often a URL and may be broken after a slash.
func wrappedScope(scope string) string {
	return strings.ReplaceAll(templ.EscapeString(scope), "/", "/<wbr>")
}
