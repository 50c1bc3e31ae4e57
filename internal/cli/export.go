package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/cli/resources"
)

func (s *shell) export() *cobra.Command {
	return s.asking(s.withJSON(&cobra.Command{
		Use: "export", Short: "Print every resource as a file that apply takes, without secrets", Args: noArguments,
		Long: `Prints providers, mailboxes, webhooks and apps as a file that “mailgrant apply”
takes back. No secret is in it: client secrets are named by their ids, and a
comment says how another one is given.`,
		Example: `  mailgrant export > mailgrant-resources.yaml
  mailgrant export --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			d, err := c.Export(cmd.Context())
			if err != nil || s.json {
				return s.printIf(err, d)
			}
			text, err := resources.Write(d)
			if err != nil {
				return err
			}
			_, err = s.out.Write([]byte(plainLines(string(text))))
			return err
		},
	}))
}

// troubled is what kept diff from answering: exit code 2, as with diff(1), where
// 1 says that there is a difference.
type troubled struct{ error }

func (t troubled) Unwrap() error { return t.error }

func (s *shell) diff() *cobra.Command {
	var file string
	var prune bool
	c := s.withJSON(&cobra.Command{
		Use: "diff -f FILE", Short: "Say what applying a file would change", Args: noArguments,
		Long: `Compares a file of resources with those that are stored, and changes nothing.
Exit code 0 when they are the same, 1 when applying the file would change
something, 2 when that cannot be said: the file has a mistake, or the server
cannot be asked.`,
		Example: `  mailgrant diff -f mailgrant-resources.yaml
  mailgrant diff -f mailgrant-resources.yaml --prune --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			same, err := s.compare(cmd, file, prune)
			switch {
			case err != nil:
				return troubled{err}
			case !same:
				return errReported
			}
			return nil
		},
	})
	addFile(c, &file)
	c.Flags().BoolVar(&prune, "prune", false, "count as a difference what is stored and missing from a list that the file has")
	return s.asking(c)
}

// compare prints the differences and reports whether there are none.
func (s *shell) compare(cmd *cobra.Command, file string, prune bool) (same bool, err error) {
	f, err := s.readResources(file)
	if err != nil {
		return false, err
	}
	c, err := s.client()
	if err != nil {
		return false, err
	}
	stored, err := c.Export(cmd.Context())
	if err != nil {
		return false, err
	}
	a, err := c.Apply(cmd.Context(), f.Document, client.ApplyOptions{DryRun: true, Prune: prune})
	if err != nil {
		return false, inFile(f, file, err)
	}
	same = true
	for _, change := range a.Changes {
		same = same && change.Action == "unchanged"
	}
	if s.json {
		return same, s.print(a)
	}
	before, after := byName(stored), byName(f.Document)
	for _, change := range a.Changes {
		name := change.Kind + "  " + plain(change.Name)
		switch change.Action {
		case "created":
			s.say("%s", s.paint(good, "+ "+name))
		case "deleted":
			s.say("%s", s.paint(bad, "- "+name))
		case "updated":
			s.say("~ %s", name)
			key := change.Kind + " " + strings.ToLower(change.Name)
			for _, field := range change.Fields {
				s.say("    %s: %s", plain(field), difference(field, before[key], after[key]))
			}
		}
	}
	if same {
		s.remark("No difference.")
	}
	return same, nil
}

// difference shows a member before and after. Of secrets and certificates it
// says only that they differ.
func difference(field string, before, after map[string]any) string {
	switch last := field[strings.LastIndexByte(field, '.')+1:]; last {
	case "client_secrets", "secret", "ca_pem":
		return "another"
	}
	return plain(fmt.Sprintf("%s → %s", member(before, field), member(after, field)))
}

// member is the value at a dotted path, short.
func member(v any, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		group, _ := v.(map[string]any)
		v = group[name]
	}
	if v == nil {
		return "(none)"
	}
	if text, ok := v.(string); ok {
		return shorten(text, 100)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "(cannot be shown)"
	}
	return shorten(string(raw), 100)
}

// byName gives the members of every resource of a document by its kind and name.
func byName(d client.Document) map[string]map[string]any {
	out := map[string]map[string]any{}
	put := func(kind, name string, resource any) {
		var members map[string]any
		if raw, err := json.Marshal(resource); err == nil && json.Unmarshal(raw, &members) == nil {
			out[kind+" "+strings.ToLower(name)] = members
		}
	}
	for _, p := range d.Providers {
		put("provider", p.Name, p)
	}
	for _, m := range d.Mailboxes {
		put("mailbox", m.Address, m)
	}
	for _, w := range d.Webhooks {
		put("webhook", w.Name, w)
	}
	for _, a := range d.Apps {
		put("app", a.Name, a)
	}
	return out
}
