package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Selector says which form to submit, and by which button.
type Selector struct {
	what    string
	matches func(Form) (button *ButtonElement, found bool)
}

// Button selects the form with a button whose words, or value, contain text, without regard to case. Exact words win over
// contained ones.
func Button(text string) Selector {
	return Selector{what: fmt.Sprintf("a button %q", text), matches: func(f Form) (*ButtonElement, bool) {
		for i, button := range f.Buttons {
			if strings.EqualFold(button.Text, text) {
				return &f.Buttons[i], true
			}
		}
		for i, button := range f.Buttons {
			if strings.Contains(strings.ToLower(button.Text), strings.ToLower(text)) || text != "" && strings.EqualFold(button.Value, text) {
				return &f.Buttons[i], true
			}
		}
		return nil, false
	}}
}

// Action selects the form whose action ends in suffix, and presses its first button.
func Action(suffix string) Selector {
	return Selector{what: fmt.Sprintf("a form that leads to …%s", suffix), matches: func(f Form) (*ButtonElement, bool) {
		path, _, _ := strings.Cut(f.Action, "?")
		return f.firstButton(), strings.HasSuffix(path, suffix)
	}}
}

// FormID selects the form with this id, and presses its first button.
func FormID(id string) Selector {
	return Selector{what: fmt.Sprintf("a form with the id %q", id), matches: func(f Form) (*ButtonElement, bool) {
		return f.firstButton(), f.ID == id
	}}
}

func (f Form) firstButton() *ButtonElement {
	if len(f.Buttons) == 0 {
		return nil
	}
	return &f.Buttons[0]
}

// Submit fills in the first form that the selector matches and submits it. values replace what the form holds; naming a control
// that the form does not have is an error, since a person could not fill it in either.
func (b *Browser) Submit(ctx context.Context, selector Selector, values map[string]string) error {
	for _, form := range b.page.Forms {
		if button, found := selector.matches(form); found {
			return b.submit(ctx, form, button, values)
		}
	}
	return fmt.Errorf("%s has no form with %s", b.page.describe(), selector.what)
}

func (b *Browser) submit(ctx context.Context, form Form, button *ButtonElement, values map[string]string) error {
	filled := url.Values{}
	for name, list := range form.Fields {
		filled[name] = append([]string(nil), list...)
	}
	for name, value := range values {
		if !form.HasField(name) {
			return fmt.Errorf("the form on %s has no field %q", b.page.describe(), name)
		}
		filled.Set(name, value)
	}
	if button != nil && button.Name != "" {
		filled.Set(button.Name, button.Value)
	}
	target, err := b.page.resolve(form.Action)
	if err != nil {
		return fmt.Errorf("submitting the form on %s: %w", b.page.describe(), err)
	}
	t := trip{method: form.Method, target: target, form: filled, initiator: b.page.location(), formAction: b.page.formAction()}
	if form.Method == http.MethodGet {
		target.RawQuery = filled.Encode()
		t.form = nil
	}
	return b.travel(ctx, t)
}

// SignIn fills in the sandbox's sign-in page. A wrong password is no error: the page then says so.
func (b *Browser) SignIn(ctx context.Context, userName, password string) error {
	return b.Submit(ctx, FormID("signin"), map[string]string{"loginfmt": userName, "passwd": password})
}

// Pick chooses a user in the sandbox's account picker, by user name.
func (b *Browser) Pick(ctx context.Context, userName string) error {
	return b.Submit(ctx, inForm("picker", userName), nil)
}

// PickAnother chooses "Use another account" in the sandbox's account picker.
func (b *Browser) PickAnother(ctx context.Context) error {
	return b.Submit(ctx, inForm("picker", "Use another account"), nil)
}

// Consent answers the sandbox's consent page, yes or no.
func (b *Browser) Consent(ctx context.Context, yes bool) error {
	if yes {
		return b.Submit(ctx, inForm("consent", "Accept"), nil)
	}
	return b.Submit(ctx, inForm("consent", "Cancel"), nil)
}

// Shows says which of the sandbox's pages is shown: "signin", "picker", "consent", "approval", "formpost", or "" for any other.
func (b *Browser) Shows() string {
	for _, form := range b.page.Forms {
		switch form.ID {
		case "signin", "picker", "consent", "approval", "formpost":
			return form.ID
		}
	}
	return ""
}

func inForm(id, buttonText string) Selector {
	button := Button(buttonText)
	return Selector{what: fmt.Sprintf("the id %q and %s", id, button.what), matches: func(f Form) (*ButtonElement, bool) {
		if f.ID != id {
			return nil, false
		}
		return button.matches(f)
	}}
}
