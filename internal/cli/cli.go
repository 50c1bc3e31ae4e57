// Package cli is the command line of Mailgrant: it runs the server and the
// sandbox, and asks a running server through its HTTP API for everything else.
//
// Manners: exit 0 when all is well, 1 when the thing asked about failed, 2 when
// the command was not understood; results on the standard output, and what went
// wrong, with what to do next, on the standard error; --json wherever a table
// is printed; no colour and no QR code unless a person is looking; no secret
// among the arguments.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // the thing asked about failed
	exitUsage  = 2 // the command was not understood
)

// Run runs one command and gives its exit code. environ has os.Environ's form.
// When ctx ends the command ends in good order.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	s := &shell{in: stdin, out: &noted{w: stdout}, err: stderr, environ: environ, now: time.Now}
	s.outTerminal, s.errTerminal, s.inTerminal = isTerminal(stdout), isTerminal(stderr), isTerminal(stdin)
	s.colour = s.outTerminal && s.variable("NO_COLOR") == "" && s.variable("TERM") != "dumb"

	root := s.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(s.out)
	root.SetErr(stderr)
	ran, err := root.ExecuteContextC(ctx)
	if err == nil && s.out.err != nil {
		err = fmt.Errorf("the output cannot be written: %w", s.out.err)
	}
	return s.conclude(ran, err)
}

// conclude reports what went wrong, if anything did, and gives the exit code.
func (s *shell) conclude(ran *cobra.Command, err error) int {
	var usage *usageError
	var file *mistakenFile
	var trouble troubled
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage):
		s.tellUsage(ran, usage)
		return exitUsage
	case errors.As(err, &trouble):
		s.conclude(ran, trouble.error)
		return exitUsage
	case errors.As(err, &file):
		s.tellMistakes(file)
		return exitFailed
	}
	s.tell(byFlags(ran, err))
	return exitFailed
}

// shell is what a command may use of the world around it.
type shell struct {
	in      io.Reader
	out     *noted
	err     io.Writer
	environ []string
	now     func() time.Time

	inTerminal, outTerminal, errTerminal bool
	colour                               bool

	server  string // --server
	dataDir string // --data-dir
	json    bool   // --json
}

// noted remembers that a write failed, so that a full disk is not taken for
// success.
type noted struct {
	w   io.Writer
	err error
}

func (n *noted) Write(p []byte) (int, error) {
	written, err := n.w.Write(p)
	if err != nil && n.err == nil {
		n.err = err
	}
	return written, err
}

func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// variable gives an environment variable; empty when it is not set.
func (s *shell) variable(name string) string {
	for i := len(s.environ) - 1; i >= 0; i-- {
		if key, value, _ := strings.Cut(s.environ[i], "="); key == name {
			return value
		}
	}
	return ""
}

// say writes one line of result.
func (s *shell) say(format string, a ...any) { _, _ = fmt.Fprintf(s.out, format+"\n", a...) }

// remark writes one line beside the result.
func (s *shell) remark(format string, a ...any) { _, _ = fmt.Fprintf(s.err, format+"\n", a...) }

func (s *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "mailgrant",
		Short: "Connect applications to OAuth mailboxes, and keep them connected",
		Long: `Mailgrant connects applications to OAuth mailboxes and keeps them connected:
it proves whose authorisation it holds, renews access tokens ahead of need,
receives and sends mail, and says why mail does not flow.

See it at work, with nothing else: mailgrant demo
Run the server:                    mailgrant serve
Then, on the same host:            mailgrant operator setup`,
		SilenceErrors: true, SilenceUsage: true,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	root.SetFlagErrorFunc(unknownFlag)
	for _, g := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"run", "Running it:", []*cobra.Command{s.demo(), s.serve(), s.sandbox()}},
		{"resources", "What it knows:", []*cobra.Command{s.providers(), s.mailboxes(), s.webhooks(), s.apps(), s.operators(), s.apply(), s.diff(), s.export()}},
		{"connect", "Authorising a mailbox:", []*cobra.Command{s.authorize(), s.revoke(), s.pause(), s.resume()}},
		{"look", "Why does mail not flow?", []*cobra.Command{s.status(), s.test(), s.inspect(), s.events()}},
		{"use", "Using a mailbox:", []*cobra.Command{s.token(), s.send(), s.messages(), s.submissions()}},
		{"operate", "Operation:", []*cobra.Command{s.keys(), s.backup(), s.restore(), s.migrate(), s.version(), s.man()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("operate")
	root.SetCompletionCommandGroupID("operate")
	return root
}

// group is a command that only holds others.
func group(name, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: name, Short: short, Long: long,
		RunE: func(cmd *cobra.Command, args []string) error {
			var names []string
			for _, sub := range cmd.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			text := fmt.Sprintf("“%s” needs to know what to do: %s.", cmd.CommandPath(), orList(names))
			if len(args) > 0 {
				text = fmt.Sprintf("“%s” cannot do “%s”; it can %s.", cmd.CommandPath(), shorten(args[0], 40), orList(names))
				if near := fault.Nearest(args[0], names); near != "" {
					text += " Did you mean " + near + "?"
				}
			}
			return &usageError{text: text}
		},
	}
	c.AddCommand(commands...)
	return c
}

// orList joins words for people.
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
