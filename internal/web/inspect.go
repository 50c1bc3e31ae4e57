package web

import (
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func (p *Pages) inspectPages(operator route) {
	operator("GET "+inspectPath, p.inspectShow)
	operator("POST "+inspectPath, p.inspect)
}

const inspectPath = "/inspect"

// maxInspect bounds the form: 64 KiB of text, which a form may make three times as long.
const maxInspect = 256 << 10

// inspectView is the inspector.
type inspectView struct {
	frame
	Now     time.Time
	Form    form // without what was pasted
	Mailbox input
	Report  *diagnose.Report
	Against string // the mailbox that the token was held against
	Own     bool   // it is that mailbox's own
	Pasted  bool
}

func (p *Pages) inspectShow(w http.ResponseWriter, r *http.Request) {
	p.showInspect(w, r, http.StatusOK, inspectView{Form: form{Values: map[string][]string{"mailbox": r.URL.Query()["mailbox"]}}})
}

func (p *Pages) showInspect(w http.ResponseWriter, r *http.Request, code int, v inspectView) {
	v.frame, v.Now = p.frame(r, "Inspector"), p.Now()
	v.Mailbox = input{Name: "mailbox", Label: "Mailbox", Hint: "The token is compared with what this mailbox needs. With nothing pasted, the mailbox's own access token is looked at."}
	p.show(w, r, code, inspectPage(v))
}

// inspect reads what was pasted. It is held in memory for this one answer: no
// event, no log, no store, and nothing of it in the page but what it says.
func (p *Pages) inspect(w http.ResponseWriter, r *http.Request) {
	f, err := readForm(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	pasted, address := seal.NewSecret(f.value("token")), f.value("mailbox")
	v := inspectView{Form: form{Values: map[string][]string{"mailbox": {address}}}, Against: address, Pasted: pasted.Reveal() != ""}
	refuse := func(field string, err error) {
		if !mayShowAgain(err) && fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Dead {
			p.fail(w, r, err)
			return
		}
		e := fault.Of(err)
		v.Form = v.Form.refused(about(field, e))
		p.showInspect(w, r, status(e), v)
	}
	var want diagnose.Expectation
	if address != "" {
		m, err := p.Connect.Mailboxes.Get(r.Context(), address)
		if err == nil {
			v.Against = m.Address
			want, err = p.Tester.Expect(r.Context(), m)
		}
		if err == nil && !v.Pasted {
			v.Own = true
			pasted, _, err = p.Lender.Lend(r.Context(), m.ID, provider.ResourceMail, 0)
		}
		if err != nil {
			refuse("mailbox", err)
			return
		}
	}
	report, err := p.Inspector.Inspect(pasted, want)
	if err != nil {
		refuse("token", err)
		return
	}
	v.Report = &report
	p.showInspect(w, r, http.StatusOK, v)
}
