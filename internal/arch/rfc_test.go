package arch_test

import (
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const standards = "docs/rfc.md"

// The words of its column Status.
const (
	ruleDone   = "done"
	rulePartly = "partly"
	ruleNot    = "not done"
	ruleNA     = "n/a"
)

// tests lists the test, fuzz and benchmark functions of the tree, as folder.Name by the last element of the folder.
func (t tree) tests() map[string]bool {
	all := map[string]bool{}
	for _, s := range t.sources {
		if !s.test {
			continue
		}
		for _, declared := range s.syntax.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Recv == nil {
				all[path.Base(s.folder)+"."+f.Name.Name] = true
			}
		}
	}
	return all
}

// misled finds what a table of standards gets wrong: a file or a test that is not there, a status that is none, and rows
// that claim without saying where, or leave a rule unkept without saying why.
func misled(t tree, text string) []string {
	quoted := regexp.MustCompile("`([^`]+)`")
	isTest := regexp.MustCompile(`^[a-z]+\.((?:Test|Fuzz|Benchmark)\w+)$`)
	isFile := regexp.MustCompile(`^[\w.-]+(?:/[\w.-]+)+\.(?:go|md|templ|sql|txt)$`)
	known := t.tests()
	var findings []string
	for number, line := range strings.Split(text, "\n") {
		found := func(format string, args ...any) {
			findings = append(findings, fmt.Sprintf("%s:%d ", standards, number+1)+fmt.Sprintf(format, args...))
		}
		var files, tests int
		for _, match := range quoted.FindAllStringSubmatch(line, -1) {
			switch name := match[1]; {
			case isTest.MatchString(name):
				if tests++; !known[name] {
					found("names the test %s, which there is not", name)
				}
			case isFile.MatchString(name):
				files++
				if _, err := fs.Stat(t.files, name); err != nil {
					found("names the file %s, which there is not", name)
				}
			}
		}
		row, ok := cells(line)
		if !ok {
			continue
		}
		if len(row) != 5 {
			found("has %d columns, want 5: section, status, code, tests, remark", len(row))
			continue
		}
		status, proof, remark := row[1], row[3], row[4]
		switch status {
		case ruleDone, rulePartly:
			if files == 0 {
				found("says “%s” and not where in the code", status)
			}
			if tests == 0 && !strings.Contains(proof, "no test") {
				found("says “%s” and neither by which test nor “no test”", status)
			}
		case ruleNot, ruleNA:
		default:
			found("has the status “%s”; there are done, partly, not done and n/a", status)
		}
		if status != ruleDone && remark == "" {
			found("says “%s” and not why", status)
		}
	}
	return findings
}

// cells splits a table's row; the head of a table and the line below it are none.
func cells(line string) ([]string, bool) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
	if !ok || strings.HasPrefix(inner, "---") {
		return nil, false
	}
	row := strings.Split(strings.TrimSuffix(inner, "|"), "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row, !slices.Contains(row, "Status")
}

func TestHouse_StandardsAreKeptWhereTheyAreSaidToBe(t *testing.T) {
	h := house(t)
	text, err := fs.ReadFile(h.files, standards)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "| done |"); n < 100 {
		t.Fatalf("%s has %d rows that are done: the check would look at nothing", standards, n)
	}
	report(t, misled(h, string(text)))
}

func TestStandards_AreChecked(t *testing.T) {
	m := model(t, map[string]string{
		"internal/oauth/x.go":      "package oauth\nfunc TestFalse() {}\n",
		"internal/oauth/x_test.go": "package oauth\nfunc TestTrue() {}\nfunc (s) TestMethod() {}\n",
	})
	for _, c := range []struct {
		outcome, line string
		words         []string
	}{
		{"a true row is fine", "| 1 | done | `internal/oauth/x.go` | `oauth.TestTrue` | |", nil},
		{"a row without a test says so", "| 1 | partly | `internal/oauth/x.go` | no test | Half. |", nil},
		{"what does not apply needs a reason only", "| 1 | n/a | | | Not ours. |", nil},
		{"a table's head is no row", "| Section | Status | Code | Tests | Remark |\n|---|---|---|---|---|", nil},
		{"other words are left alone", "Words like `code=` and `aud.x`, `X-Y: z`.", nil},
		{"a file that is gone", "| 1 | done | `internal/oauth/y.go` | `oauth.TestTrue` | |", []string{"internal/oauth/y.go"}},
		{"a test that is gone", "| 1 | done | `internal/oauth/x.go` | `oauth.TestGone` | |", []string{"oauth.TestGone"}},
		{"a test of another folder", "| 1 | done | `internal/oauth/x.go` | `sasl.TestTrue` | |", []string{"sasl.TestTrue"}},
		{"a test that is a method", "See `oauth.TestMethod`.", []string{"oauth.TestMethod"}},
		{"a test outside a test file", "See `oauth.TestFalse`.", []string{"oauth.TestFalse"}},
		{"a claim without code", "| 1 | done | | `oauth.TestTrue` | |", []string{"where in the code"}},
		{"a claim without test", "| 1 | done | `internal/oauth/x.go` | | |", []string{"no test"}},
		{"a gap without reason", "| 1 | not done | | | |", []string{"not why"}},
		{"half a rule without reason", "| 1 | partly | `internal/oauth/x.go` | no test | |", []string{"not why"}},
		{"a status that is none", "| 1 | nearly | | | x |", []string{"nearly"}},
		{"a column too few", "| 1 | done | `internal/oauth/x.go` | `oauth.TestTrue` |", []string{"4 columns"}},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			expect(t, misled(m, c.line), c.words...)
		})
	}
}
