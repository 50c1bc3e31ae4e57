package api_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants are the texts of a type's constants, read from the source of its package.
func constants(t *testing.T, room, kind string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", room, "*.go"))
	must(t, err)
	var all []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		must(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Type == nil || len(spec.Values) != 1 {
				return true
			}
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == kind {
				if text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value); err == nil {
					all = append(all, text)
				}
			}
			return true
		})
	}
	slices.Sort(all)
	return all
}

// TestWords_AreWhole compares the words that the description lists for a member
// with the constants that the code has for it: one that is added there must be
// listed here.
func TestWords_AreWhole(t *testing.T) {
	d := open(t).description(t)
	for member, of := range map[string][2]string{
		"App.may": {"access", "Right"}, "Submission.state": {"outbox", "State"}, "Grant.verdict": {"mailbox", "Verdict"}, "Send.tls": {"protocol", "TLSMode"},
		"Problem.who": {"fault", "Who"}, "Actor.kind": {"event", "ActorKind"}, "Event.kind": {"event", "Kind"}, "Payload.type": {"event", "Kind"},
		"Authorize.prompt": {"provider", "Prompt"}, "Report.form": {"diagnose", "Form"}, "Delivery.state": {"webhook", "State"},
	} {
		schema, name, _ := strings.Cut(member, ".")
		p := d.Components.Schemas[schema].Properties[name]
		if items, ok := p["items"].(object); ok {
			p = items
		}
		var listed []string
		words, _ := p["enum"].([]any)
		for _, w := range words {
			listed = append(listed, w.(string))
		}
		slices.Sort(listed)
		if want := constants(t, of[0], of[1]); len(want) == 0 || !slices.Equal(listed, want) {
			t.Errorf("%s lists %v, and package %s has %v", member, listed, of[0], want)
		}
	}
}
