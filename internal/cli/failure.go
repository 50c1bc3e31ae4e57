package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// usageError is a command that was not understood.
type usageError struct{ text string }

func (u *usageError) Error() string { return u.text }

// errReported is a failure that the command has told already.
var errReported = errors.New("reported")

// wrong is a refusal of the command line itself: what is wrong, what to do.
func wrong(id, field, text, remedy string, cause error) error {
	return &fault.Error{ID: id, Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}, Err: cause}
}

// failure is what a person is told: what is wrong, who acts, what to do, and
// what a server outside said.
type failure struct {
	text, remedy string
	who          []string
	retry        bool
	outside      string   // what a server outside said
	cause        string   // what the operating system said
	more         []string // what is wrong beside
}

// tell writes a failure to the standard error.
func (s *shell) tell(err error) {
	f := s.explain(err)
	s.remark("mailgrant: %s", plain(f.text))
	if f.cause != "" {
		s.remark("  The cause: %s", plain(f.cause))
	}
	if f.outside != "" {
		s.remark("  The server outside said: %s", plain(f.outside))
	}
	if others := whoActs(f.who); others != "" {
		s.remark("  Who acts: %s", others)
	}
	if f.remedy != "" {
		s.remark("  What to do: %s", plain(f.remedy))
	}
	for _, also := range f.more {
		s.remark("  Wrong too: %s", plain(also))
	}
	if f.retry {
		s.remark("  It may pass: run the command again in a while.")
	}
}

func (s *shell) explain(err error) failure {
	var p *client.Problem
	var f *fault.Error
	var gone *client.Unreachable
	switch {
	case errors.As(err, &p):
		return problemFailure(p)
	case errors.As(err, &f):
		out := failure{text: f.Text, remedy: f.Remedy, retry: f.Retry}
		if f.Field != "" {
			out.text = f.Field + ": " + f.Text
		}
		if f.Err != nil {
			out.cause = f.Err.Error()
		}
		for _, w := range f.Who {
			out.who = append(out.who, string(w))
		}
		if all := fault.All(err); len(all) > 1 {
			for _, also := range all[1:] {
				out.more = append(out.more, strings.TrimSpace(strings.TrimPrefix(also.Field+": "+also.Text, ": ")+" "+also.Remedy))
			}
		}
		return out
	case errors.Is(err, context.Canceled):
		return failure{text: "Interrupted."}
	case errors.As(err, &gone):
		return unreachable(gone)
	case errors.Is(err, context.DeadlineExceeded):
		return failure{text: "The server took too long to answer.", remedy: "Try again; the server's log says what it was waiting for."}
	}
	return failure{text: sentence(err.Error())}
}

func problemFailure(p *client.Problem) failure {
	out := failure{text: p.Error(), remedy: p.Remedy, who: p.Who, retry: p.Retry}
	if p.Status == http.StatusUnauthorized && out.remedy == "" {
		out.remedy = "Put a valid API key in MAILGRANT_API_KEY; “mailgrant app create” on the server's host makes one."
	}
	if len(p.Errors) > 1 {
		for _, e := range p.Errors[1:] {
			out.more = append(out.more, strings.TrimSpace(e.Field+": "+sentence(e.Detail)+" "+e.Remedy))
		}
	}
	out.outside = outside(p.Provider)
	return out
}

// outside puts what a foreign server said about itself in one line.
func outside(d *client.ProviderDetail) string {
	if d == nil {
		return ""
	}
	var parts []string
	for _, one := range []struct{ name, value string }{
		{"", d.Code}, {"", d.Subcode}, {"", d.Reply}, {"trace id ", d.TraceID}, {"correlation id ", d.CorrelationID}, {"at ", d.Timestamp},
	} {
		if one.value != "" {
			parts = append(parts, one.name+one.value)
		}
	}
	return strings.Join(parts, "; ")
}

func unreachable(u *client.Unreachable) failure {
	switch {
	case errors.Is(u.Err, context.DeadlineExceeded):
		return failure{text: fmt.Sprintf("The Mailgrant server at %s took too long to answer.", u.Server), remedy: "Try again; its log says what it was waiting for."}
	case errors.Is(u.Err, os.ErrPermission):
		return failure{
			text:   fmt.Sprintf("The server's socket %s may not be used by this user.", u.Server),
			remedy: "Run the command as root or as the service's user, or name the server with --server and put an API key in MAILGRANT_API_KEY.",
		}
	case errors.Is(u.Err, syscall.ECONNREFUSED), errors.Is(u.Err, os.ErrNotExist):
		return failure{
			text:   fmt.Sprintf("Nobody answers at %s: the server is not running there.", u.Server),
			remedy: "Start it with “mailgrant serve”, or name the one that runs with --server or --data-dir.",
		}
	}
	return failure{
		text:   sentence(u.Error()),
		remedy: "See whether the address is right and the server is running. A private certificate authority is trusted by naming its file in SSL_CERT_FILE.",
	}
}

// whoActs names the parties, unless it is only the reader or nobody.
func whoActs(who []string) string {
	var names []string
	for _, w := range who {
		switch w {
		case "mailbox_owner":
			names = append(names, "the mailbox owner")
		case "app_owner":
			names = append(names, "the owner of the app registration")
		case "tenant_admin":
			names = append(names, "the tenant's administrator")
		case "mail_admin":
			names = append(names, "the mail server's administrator")
		case "provider":
			names = append(names, "the provider")
		}
	}
	return orList(names)
}

// tellUsage writes what was not understood, and how it is written.
func (s *shell) tellUsage(ran *cobra.Command, u *usageError) {
	s.remark("mailgrant: %s", plain(u.text))
	if ran == nil {
		return
	}
	if ran.Runnable() && !ran.HasSubCommands() {
		s.remark("  Usage: %s", strings.TrimSpace(ran.UseLine()))
	}
	s.remark("  “%s --help” says more.", ran.CommandPath())
}

// noArguments refuses arguments, naming what was probably meant.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasParent() {
		text := fmt.Sprintf("There is no command “%s”.", shorten(args[0], 40))
		near := cmd.SuggestionsFor(args[0])
		if len(near) == 0 {
			var names []string
			for _, c := range cmd.Commands() {
				names = append(names, c.Name())
			}
			if one := fault.Nearest(args[0], names); one != "" {
				near = []string{one}
			}
		}
		if len(near) > 0 {
			text += " Did you mean " + orList(near) + "?"
		}
		return &usageError{text: text}
	}
	return &usageError{text: fmt.Sprintf("“%s” is one argument too many.", shorten(args[0], 40))}
}

// arguments asks for exactly these arguments, by name.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return &usageError{text: names[len(args)] + " is missing."}
		}
		if len(args) > len(names) {
			return &usageError{text: fmt.Sprintf("“%s” is one argument too many.", shorten(args[len(names)], 40))}
		}
		return nil
	}
}

// missing says that a flag is needed.
func missing(flag, why string) error {
	return &usageError{text: fmt.Sprintf("--%s is missing: %s", flag, why)}
}

// sentence makes an error's text one: a capital first, a full stop last.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if first, size := utf8.DecodeRuneInString(text); size > 0 && !strings.HasPrefix(text, "http") {
		text = string(unicode.ToUpper(first)) + text[size:]
	}
	if text != "" && !strings.ContainsAny(text[len(text)-1:], ".?!") {
		text += "."
	}
	return text
}
