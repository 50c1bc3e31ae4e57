package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/outbox"
)

func (p *Pages) submissionPages(operator route) {
	operator("GET /submissions", p.submissionList)
	operator("GET /submissions/new", p.composeShow)
	operator("POST /submissions", p.compose)
	operator("GET /submissions/{id}", p.submissionShow)
	operator("GET /submissions/{id}/raw", p.submissionRaw)
	operator("POST /submissions/{id}/retry", p.submissionRetry)
	operator("POST /submissions/{id}/cancel", p.submissionCancel)
	operator("POST /submissions/{id}/again", p.submissionAgain)
}

const submissionsPath = "/submissions"

func submissionPath(id string) string { return submissionsPath + "/" + url.PathEscape(id) }

// standing is a state as lists are asked for it.
type standing struct {
	Value, Title string
	States       []outbox.State
}

// standings lists them, in the order of the tabs.
func standings() []standing {
	return []standing{
		{"", "All", nil},
		{"waiting", "Waiting", []outbox.State{outbox.Queued, outbox.Sending}},
		{"sent", "Sent", []outbox.State{outbox.Sent}},
		{"failed", "Failed or expired", []outbox.State{outbox.Failed, outbox.Expired}},
	}
}

// submissionsView is the list of submissions.
type submissionsView struct {
	frame
	Now    time.Time
	Filter filter
	Rows   []outbox.Submission
	Next   string
}

// Any reports whether anything was asked for.
func (v submissionsView) Any() bool {
	return v.Filter.asked("text", "mailbox", "since", "until", "show", "before")
}

func (v submissionsView) tabs() []tab {
	var out []tab
	for _, s := range standings() {
		out = append(out, tab{Title: s.Title, URL: v.Filter.url(submissionsPath, "show", s.Value), Current: v.Filter.value("show") == s.Value})
	}
	return out
}

func (p *Pages) submissionList(w http.ResponseWriter, r *http.Request) {
	f, err := p.readFilter(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := submissionsView{frame: p.frame(r, "Submissions"), Now: p.Now(), Filter: f}
	all := standings()
	at := max(0, slices.IndexFunc(all, func(s standing) bool { return s.Value == f.value("show") }))
	if !f.bad() {
		found, err := p.Reads.Submissions(r.Context(), outbox.Filter{
			MailboxIDs: f.mailboxes(), States: all[at].States, Text: f.Text, Since: f.Since, Until: f.Until, Before: f.Before, Limit: pageLength,
		})
		if err != nil {
			p.fail(w, r, err)
			return
		}
		v.Rows, v.Next = found.Submissions, found.Next
	}
	p.show(w, r, f.status(), submissionsPage(v))
}

// standsAt words where a submission stands.
func standsAt(s outbox.Submission) badge {
	switch {
	case s.State == outbox.Queued && s.Cause != "":
		return badge{"waits", "yellow"}
	case s.State == outbox.Queued:
		return badge{"queued", "azure"}
	case s.State == outbox.Sending:
		return badge{"being sent", "azure"}
	case s.State == outbox.Sent:
		return badge{"sent", "green"}
	case s.Cause == "submission.cancelled":
		return badge{"called off", "secondary"}
	case s.State == outbox.Expired:
		return badge{"expired", "red"}
	}
	return badge{"failed", "red"}
}

// toWords is who gets a message, as lists show it.
func toWords(s outbox.Submission) string {
	to := s.Envelope.ForwardPaths
	if len(to) == 0 {
		return "nobody"
	}
	if len(to) == 1 {
		return to[0]
	}
	return fmt.Sprintf("%s and %d more", to[0], len(to)-1)
}

// submissionView is one submission.
type submissionView struct {
	frame
	Now      time.Time
	S        outbox.Submission
	Who      string // who acts, in words
	By       string // who handed it over
	Timeline []timelineRow
	Key      string // of the form that sends it again
	Notice   string
	Problem  *fault.Error
}

// Waits reports whether it can be tried at once or called off.
func (v submissionView) Waits() bool { return v.S.State == outbox.Queued }

// Again reports whether it can be sent again.
func (v submissionView) Again() bool {
	return v.S.State == outbox.Failed || v.S.State == outbox.Expired
}

func (p *Pages) submissionShow(w http.ResponseWriter, r *http.Request) {
	p.showSubmission(w, r, http.StatusOK, nil)
}

func (p *Pages) showSubmission(w http.ResponseWriter, r *http.Request, code int, problem *fault.Error) {
	ctx := r.Context()
	s, err := p.Reads.Submission(ctx, r.PathValue("id"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := submissionView{
		frame: p.frame(r, subjectOf(s.Subject)), Now: p.Now(), S: s, Key: event.NewID(), Notice: submissionNotices(r.URL.Query().Get("done")), Problem: problem,
	}
	f := event.Filter{Patterns: []event.Pattern{"submission.*"}, Text: s.ID, Since: s.CreatedAt.Add(-time.Minute), Limit: timelineLength}
	if s.MailboxID != "" {
		f.MailboxIDs = []string{s.MailboxID}
	}
	if !s.SettledAt.IsZero() {
		f.Until = s.SettledAt.Add(time.Minute)
	}
	events, err := p.Reads.Events(ctx, f)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	for _, e := range events {
		if e.Data["submission_id"] != s.ID {
			continue
		}
		v.Timeline = append(v.Timeline, rowOf(e).on(submissionPath(s.ID)))
		if v.Who == "" && e.Data["who"] != "" && e.Cause == s.Cause {
			v.Who = whoWords(whoOf(e))
		}
		if e.Kind == event.SubmissionAccepted {
			v.By = actorWords(e.Actor)
		}
	}
	p.show(w, r, code, submissionPage(v))
}

// whoOf is who has to act on an event.
func whoOf(e event.Event) []fault.Who {
	var out []fault.Who
	for one := range strings.SplitSeq(e.Data["who"], ",") {
		if who := fault.Who(one); who != "" && who != fault.Nobody {
			out = append(out, who)
		}
	}
	return out
}

func submissionNotices(done string) string {
	return map[string]string{
		"accepted": "The message was accepted. It is being sent now; where the mail server says “later”, it is tried again by itself.",
		"again":    "This is the new submission; the old one stays as it is.",
		"retry":    "It is tried at once.",
		"cancel":   "The message is called off and will not be sent.",
	}[done]
}

// actOnSubmission does one thing to a submission and returns to its page, which
// says what does not work.
func (p *Pages) actOnSubmission(w http.ResponseWriter, r *http.Request, done string, act func(context.Context, string, event.Actor) (outbox.Submission, error)) {
	s, err := act(r.Context(), r.PathValue("id"), by(r))
	if f := fault.Of(err); err != nil && f.Kind == fault.Conflict {
		p.showSubmission(w, r, status(f), f)
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	http.Redirect(w, r, submissionPath(s.ID)+"?done="+done, http.StatusSeeOther)
}

func (p *Pages) submissionRetry(w http.ResponseWriter, r *http.Request) {
	p.actOnSubmission(w, r, "retry", p.Outbox.RetryNow)
}

func (p *Pages) submissionCancel(w http.ResponseWriter, r *http.Request) {
	p.actOnSubmission(w, r, "cancel", p.Outbox.Cancel)
}

func (p *Pages) submissionAgain(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	p.actOnSubmission(w, r, "again", func(ctx context.Context, id string, by event.Actor) (outbox.Submission, error) {
		s, _, err := p.Outbox.SendAgain(ctx, outbox.Again{ID: id, Actor: by, Caller: callerOf(by), IdempotencyKey: f.value("key")})
		return s, err
	})
}

// callerOf is the scope of an operator's idempotency keys.
func callerOf(a event.Actor) string { return string(a.Kind) + ":" + a.Name }

func (p *Pages) submissionRaw(w http.ResponseWriter, r *http.Request) {
	s, err := p.Reads.Submission(r.Context(), r.PathValue("id"))
	if err != nil {
		p.fail(w, r, err)
		return
	}
	raw, err := p.Reads.Raw(r.Context(), s.ID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	defer func() { _ = raw.Close() }()
	p.download(w, r, "message/rfc822", s.ID+".eml", s.Size, raw)
}
