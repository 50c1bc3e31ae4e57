package web

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"slices"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/outbox"
)

// maxCompose bounds the form with its attachment.
const maxCompose = 26 << 20

// composeView is the form that sends a message.
type composeView struct {
	frame
	Form  form
	From  input
	Key   string
	Again bool // the file has to be chosen again
}

// composeFields are the fields that the page shows problems beside.
func composeFields() []string { return []string{"mailbox", "to", "subject", "text", "attachments"} }

func (p *Pages) composeShow(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.showCompose(w, r, http.StatusOK, composeView{Form: form{Values: map[string][]string{"mailbox": q["mailbox"]}}, Key: event.NewID()})
}

func (p *Pages) showCompose(w http.ResponseWriter, r *http.Request, code int, v composeView) {
	from, err := p.offered(r.Context(), func(m mailbox.Mailbox, s mailbox.GrantState) bool { return m.Send != nil && s == mailbox.GrantActive })
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v.frame = p.frame(r, "Send a message")
	v.From = input{Name: "mailbox", Label: "From", Required: true, Hint: "A mailbox that is connected and sends."}
	if typed := v.Form.value("mailbox"); len(from) > 0 && len(from) < mostChoices && (typed == "" || slices.Contains(from, typed)) {
		for _, a := range from {
			v.From.Options = append(v.From.Options, option{Value: a, Label: a})
		}
	} else if len(from) == 0 {
		v.From.Hint = "No mailbox is connected that sends. A message from one that is not is kept, and goes once its owner has authorised it."
	}
	p.show(w, r, code, composePage(v))
}

func (p *Pages) compose(w http.ResponseWriter, r *http.Request) {
	f, files, err := readCompose(r)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	v := composeView{Form: f, Key: f.value("key"), Again: len(files) > 0}
	draft := message.Draft{Subject: f.value("subject"), Text: f.Values.Get("text"), Attachments: files}
	if draft.To, err = message.ParseParties(f.Values.Get("to")); err != nil {
		v.Form = v.Form.refused(about("to", err))
		p.showCompose(w, r, http.StatusUnprocessableEntity, v)
		return
	}
	box := f.value("mailbox")
	if box == "" {
		v.Form = v.Form.refused(&fault.Error{ID: "web.field", Kind: fault.Invalid, Field: "mailbox", Text: "The mailbox that sends is missing.", Remedy: "Choose one."})
		p.showCompose(w, r, http.StatusUnprocessableEntity, v)
		return
	}
	s, _, err := p.Outbox.Submit(r.Context(), outbox.Request{Actor: by(r), Caller: callerOf(by(r)), IdempotencyKey: v.Key, Mailbox: box, Draft: &draft})
	switch e := fault.Of(err); {
	case err == nil:
		http.Redirect(w, r, submissionPath(s.ID)+"?done=accepted", http.StatusSeeOther)
	case e.ID == "idempotency.key_reused":
		v.Key = event.NewID()
		v.Form = v.Form.refused(&fault.Error{
			ID: e.ID, Kind: fault.Invalid, Text: "This form has been sent before, with something else in it; that message is among the submissions.",
			Remedy: "If this one is to go out as well, press the button again.",
		})
		p.showCompose(w, r, http.StatusUnprocessableEntity, v)
	case e.Kind == fault.NotFound, e.Field == "from", e.ID == "message.address" && e.Field == "":
		v.Form = v.Form.refused(about("mailbox", err))
		p.showCompose(w, r, http.StatusUnprocessableEntity, v)
	case mayShowAgain(err):
		v.Form = v.Form.refused(err)
		p.showCompose(w, r, status(e), v)
	default:
		p.fail(w, r, err)
	}
}

// about is a refusal that concerns a field.
func about(field string, err error) error {
	f := *fault.Of(err)
	f.Field = field
	return &f
}

// readCompose reads the form and its file.
func readCompose(r *http.Request) (form, []message.File, error) {
	err := r.ParseMultipartForm(maxCompose) // all of it in memory
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return form{}, nil, &fault.Error{
			ID: "web.too_large", Kind: fault.Invalid, Text: "The message with its attachment is larger than " + sizeWords(maxCompose) + ".",
			Remedy: "Go back and choose a smaller file, or hand the message over through the API, which takes more.", Err: err,
		}
	case err != nil:
		return form{}, nil, badForm(err)
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }() // nothing was put into files
	f := form{Values: r.PostForm}
	var files []message.File
	for _, header := range r.MultipartForm.File["attachments"] {
		if header.Size == 0 && header.Filename == "" {
			continue
		}
		content, err := readFile(header)
		if err != nil {
			return f, nil, badForm(err)
		}
		files = append(files, message.File{Filename: header.Filename, ContentType: header.Header.Get("Content-Type"), Content: content})
	}
	return f, files, nil
}

func readFile(header *multipart.FileHeader) ([]byte, error) {
	file, err := header.Open()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(file)
	return content, errors.Join(err, file.Close())
}
