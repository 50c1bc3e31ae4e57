package cli

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/cli/resources"
	"github.com/mailgrant/mailgrant/internal/config"
)

// addFile gives a command -f.
func addFile(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "file", "f", "", "`FILE` of resources, in YAML; - for the standard input")
}

func (s *shell) apply() *cobra.Command {
	var file string
	var o client.ApplyOptions
	var yes bool
	c := s.withJSON(&cobra.Command{
		Use: "apply -f FILE", Short: "Make the resources what a file says", Args: noArguments,
		Long: `Makes providers, mailboxes, webhooks and apps what a file says, and says what it
changed. The same file again changes nothing. One mistake in the file changes
nothing either: every mistake is named with its line and what to do, first those
of the form and, where that is right, those of the contents.

Nothing is deleted, unless --prune is given: then what is missing from a list
that the file has is deleted. A list that the file does not have is left alone.

Secrets are not in the file. It names them, as {env: NAME} or {file: PATH}, and
they are fetched where this command runs; a path begins at the file's folder.`,
		Example: `  mailgrant apply -f mailgrant-resources.yaml
  mailgrant apply -f mailgrant-resources.yaml --dry-run
  mailgrant apply -f mailgrant-resources.yaml --prune --yes`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := s.readResources(file)
			if err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			if o.Prune && !o.DryRun {
				if err := s.confirmPrune(cmd, c, f, file, yes); err != nil {
					return err
				}
			}
			step, end := s.progress()
			o.Tell = func(done, of int, _ client.Change) { step(done, of) }
			a, err := c.Apply(cmd.Context(), f.Document, o)
			end()
			if p, ok := errors.AsType[*client.Problem](err); ok && len(p.Changes) > 0 {
				a.Changes = p.Changes
			}
			if err == nil || len(a.Changes) > 0 {
				if printed := s.showApplied(a, err == nil); printed != nil {
					return printed
				}
			}
			return inFile(f, file, err)
		},
	})
	addFile(c, &file)
	c.Flags().BoolVar(&o.Prune, "prune", false, "delete what is stored and missing from a list that the file has")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "check everything and say what would be done; change nothing")
	addYes(c, &yes)
	return s.asking(c)
}

// confirmPrune names what would be deleted, and asks.
func (s *shell) confirmPrune(cmd *cobra.Command, c *client.Client, f *resources.File, file string, yes bool) error {
	if yes {
		return nil
	}
	a, err := c.Apply(cmd.Context(), f.Document, client.ApplyOptions{DryRun: true, Prune: true})
	if err != nil {
		return inFile(f, file, err)
	}
	var gone []string
	for _, change := range a.Changes {
		if change.Action == "deleted" {
			gone = append(gone, fmt.Sprintf("%s %s", change.Kind, plain(change.Name)))
		}
	}
	if len(gone) == 0 {
		return nil
	}
	for _, one := range gone {
		s.remark("  %s", one)
	}
	return s.confirm(false, fmt.Sprintf("Delete %s, with all that belongs to %s?", counted(len(gone), "resource", "resources"), map[bool]string{true: "it", false: "them"}[len(gone) == 1]))
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// readResources reads a file of resources, with the secrets that it names.
func (s *shell) readResources(file string) (*resources.File, error) {
	if file == "" {
		return nil, missing("file", "name the file of resources, or - for the standard input.")
	}
	raw, err := s.readFile(file, resources.MaxSize)
	if err != nil {
		return nil, err
	}
	beside := func(path string) string {
		if file == "-" || filepath.IsAbs(path) {
			return filepath.Clean(path)
		}
		return filepath.Join(filepath.Dir(file), path)
	}
	f, wrong := resources.Read(raw, resources.Sources{
		Variable: s.variable,
		Secret:   func(path string) (string, error) { return s.readSecret(beside(path)) },
		PEM:      func(path string) (string, error) { return s.readPEM(beside(path)) },
		Setting:  config.Known,
	})
	if len(wrong) > 0 {
		return nil, &mistakenFile{name: file, mistakes: wrong}
	}
	return f, nil
}

// mistakenFile is a file with mistakes in it.
type mistakenFile struct {
	name     string
	mistakes []resources.Mistake
}

func (m *mistakenFile) Error() string {
	return fmt.Sprintf("%s in %s", counted(len(m.mistakes), "mistake", "mistakes"), shown(m.name))
}

// inFile finds where in the file stands what the server refused.
func inFile(f *resources.File, file string, err error) error {
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || len(p.Changes) > 0 || p.Field == "" && len(p.Errors) == 0 || p.Status == http.StatusForbidden || p.Status == http.StatusUnauthorized {
		return err
	}
	return &mistakenFile{name: file, mistakes: f.Mistakes(p)}
}

// tellMistakes writes every mistake of a file with its place.
func (s *shell) tellMistakes(m *mistakenFile) {
	name := m.name
	if name == "-" {
		name = "standard input"
	}
	for _, one := range m.mistakes {
		text := one.Text
		if one.Field != "" {
			text = one.Field + ": " + text
		}
		s.remark("mailgrant: %s:%d:%d: %s", plain(name), one.Line, one.Column, plain(text))
		if one.Remedy != "" {
			s.remark("  What to do: %s", plain(one.Remedy))
		}
	}
	s.remark("mailgrant: %s; nothing was changed.", plain(m.Error()))
}

// showApplied says what was changed, or would be.
func (s *shell) showApplied(a client.Applied, whole bool) error {
	if s.json {
		return s.print(a)
	}
	var rows [][]string
	count := map[string]int{}
	for _, c := range a.Changes {
		if count[c.Action]++; c.Action != "unchanged" {
			rows = append(rows, []string{c.Action, c.Kind, c.Name, strings.Join(c.Fields, ", ")})
		}
	}
	if len(rows) > 0 {
		s.table([]string{"ACTION", "KIND", "NAME", "CHANGED"}, rows)
	}
	if whole {
		s.say("%s", summary(a.DryRun, len(rows), count))
	}
	var fresh []string // mailboxes that nobody authorised yet
	for _, c := range a.Changes {
		if c.APIKey != "" {
			s.say("\nThe API key of the app %s, shown this once:\n\n  %s", plain(c.Name), plain(c.APIKey))
		}
		if c.Secret != "" {
			s.say("\nThe signing secret of the webhook %s, shown this once:\n\n  %s", plain(c.Name), plain(c.Secret))
		}
		if c.Kind == "mailbox" && c.Action == "created" {
			fresh = append(fresh, plain(c.Name))
		}
	}
	switch {
	case a.DryRun || len(fresh) == 0:
	case len(fresh) > 5:
		s.say("Let the owners of the %d new mailboxes in: mailgrant authorize ADDRESS, for each.", len(fresh))
	default:
		for _, address := range fresh {
			s.say("Let the owner of %s in: mailgrant authorize %s", address, address)
		}
	}
	return nil
}

// summary is what a file did, in one line.
func summary(dryRun bool, changed int, count map[string]int) string {
	if changed == 0 {
		return fmt.Sprintf("Nothing to change: %s as the file says.", map[bool]string{true: "1 resource is", false: fmt.Sprintf("%d resources are", count["unchanged"])}[count["unchanged"] == 1])
	}
	var parts []string
	for _, action := range []string{"created", "updated", "deleted", "unchanged"} {
		if n := count[action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, action))
		}
	}
	text := strings.Join(parts, ", ") + "."
	if dryRun {
		return "It would be: " + text + " Nothing was changed."
	}
	return text
}
