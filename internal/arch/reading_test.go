package arch_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	longestFile     = 500 // lines
	longestFunction = 80  // lines, from its first to its last
)

// long lists what may be longer, each with the reason: "path" for a file, "path:Function" for a function.
var long = map[string]string{}

// oversized finds files and functions too long to be read in one go. Tables make a function long without making it hard: neither
// functions of tests count, nor those that only return a table; the length of their file does.
func oversized(t tree, allowed map[string]string) []string {
	var findings []string
	found := func(name string, lines, limit int) {
		if _, ok := allowed[name]; !ok {
			findings = append(findings, fmt.Sprintf("%s has %d lines, more than %d: divide it by meaning, or write the reason down in internal/arch", name, lines, limit))
		}
	}
	for _, s := range t.sources {
		if s.generated {
			continue
		}
		if s.lines > longestFile {
			found(s.path, s.lines, longestFile)
		}
		for _, declared := range s.syntax.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok || s.test || locate(s.folder).tests || onlyTable(f) {
				continue
			}
			if lines := t.set.Position(f.End()).Line - t.set.Position(f.Pos()).Line + 1; lines > longestFunction {
				found(s.path+":"+f.Name.Name, lines, longestFunction)
			}
		}
	}
	return findings
}

// onlyTable reports whether a function does nothing but return a list written out, declarations for it aside.
func onlyTable(f *ast.FuncDecl) bool {
	if f.Body == nil || len(f.Body.List) == 0 {
		return false
	}
	last := len(f.Body.List) - 1
	for _, before := range f.Body.List[:last] {
		if _, ok := before.(*ast.DeclStmt); !ok {
			return false
		}
	}
	answer, ok := f.Body.List[last].(*ast.ReturnStmt)
	if !ok || len(answer.Results) != 1 {
		return false
	}
	_, ok = answer.Results[0].(*ast.CompositeLit)
	return ok
}

func TestHouse_FilesAndFunctionsCanBeRead(t *testing.T) {
	report(t, oversized(house(t), long))
}

func TestSizes_AreMeasured(t *testing.T) {
	body := strings.Repeat("\t_ = 0\n", longestFunction)
	t.Run("a long function is found", func(t *testing.T) {
		expect(t, oversized(model(t, map[string]string{"internal/api/x.go": "package api\nfunc f() {\n" + body + "}\n"}), nil), "x.go:f")
	})
	t.Run("a long table is not", func(t *testing.T) {
		table := "package api\nfunc f() []int {\n\treturn []int{\n" + strings.Repeat("\t\t0,\n", longestFunction) + "\t}\n}\n"
		expect(t, oversized(model(t, map[string]string{"internal/api/x.go": table}), nil))
	})
	t.Run("a long test function is not", func(t *testing.T) {
		expect(t, oversized(model(t, map[string]string{"internal/api/x_test.go": "package api\nfunc f() {\n" + body + "}\n"}), nil))
	})
	t.Run("a long file is found", func(t *testing.T) {
		expect(t, oversized(model(t, map[string]string{"internal/api/x_test.go": "package api\n" + strings.Repeat("\n", longestFile)}), nil), "501 lines")
	})
	t.Run("one with a reason is not", func(t *testing.T) {
		expect(t, oversized(model(t, map[string]string{"internal/api/x.go": "package api\n" + strings.Repeat("\n", longestFile)}), map[string]string{"internal/api/x.go": "a table"}))
	})
	t.Run("every exception is still needed", func(t *testing.T) {
		without := strings.Join(oversized(house(t), nil), "\n")
		for name := range long {
			if !strings.Contains(without, name+" has ") {
				t.Errorf("%s is excepted but not too long any more", name)
			}
		}
	})
}

// undocumented finds packages without a sentence saying what they are for.
func undocumented(t tree) []string {
	var findings []string
	for _, folder := range t.packages() {
		documented, product := false, false
		for _, s := range t.sources {
			if s.folder != folder || s.test {
				continue
			}
			product = true
			if s.syntax.Doc != nil && len(strings.Fields(s.syntax.Doc.Text())) > 3 {
				documented = true
			}
		}
		if product && !documented {
			findings = append(findings, folder+" has no package doc: write above the package clause what it is for")
		}
	}
	return findings
}

func TestHouse_PackagesSayWhatTheyAreFor(t *testing.T) {
	report(t, undocumented(house(t)))
}

func TestDocs_AreLookedFor(t *testing.T) {
	expect(t, undocumented(model(t, map[string]string{
		"internal/api/x.go":   "package api\n",
		"internal/seal/x.go":  "// Package seal keeps secrets shut.\npackage seal\n",
		"internal/seal/y.go":  "package seal\n",
		"internal/web/x.go":   "// web\npackage web\n",
		"internal/a_test/.go": "package nothing\n",
	})), "internal/a_test", "internal/api", "internal/web")
}

// providers are the names that only their own folder may know, beside the places in named.
var providers = []string{"microsoft", "google"}

// named are the places outside its folder where a provider may be named: a folder or the beginning of a file's path, and why.
var named = map[string]string{
	"internal/app/regist":    "the registry is where members are listed",
	"internal/cli/demo":      "the story plays at a tenant and says which",
	"internal/cli/provider":  "its help shows an administrator the first provider's example",
	"internal/cli/sandbox":   "says what it imitates",
	"internal/cli/setup":     "each provider's hand-off is asked for by its name",
	"internal/config/sample": "the sample file shows a provider",
	"internal/testbed/":      "for tests only",
	"internal/arch/":         "for tests only",
	"internal/crash/":        "for tests only",
	"internal/acceptance/":   "for tests only",
	"sandbox/":               "it is one",
}

// escaped finds providers named, in an identifier or a text, where nobody should need to know them. Comments may give examples.
func escaped(t tree) []string {
	var findings []string
	for _, s := range t.sources {
		if s.test || locate(s.folder).tests || slices.ContainsFunc(keys(named), func(prefix string) bool { return strings.HasPrefix(s.path, prefix) }) {
			continue
		}
		for _, name := range providers {
			if s.folder == "internal/provider/"+name || strings.HasPrefix(s.folder, "internal/provider/"+name+"/") {
				continue
			}
			ast.Inspect(s.syntax, func(node ast.Node) bool {
				text := ""
				switch n := node.(type) {
				case *ast.ImportSpec:
					if strings.HasSuffix(n.Path.Value, "/provider/"+name+`"`) {
						text = n.Path.Value
					} else {
						return false // somebody's repository may be called so
					}
				case *ast.Ident:
					text = n.Name
				case *ast.BasicLit:
					if n.Kind == token.STRING {
						text = n.Value
					}
				}
				// An example's address ends in the domain that its tenant happened to get.
				text = strings.ReplaceAll(strings.ToLower(text), ".onmicrosoft.com", "")
				if strings.Contains(text, name) {
					findings = append(findings, fmt.Sprintf("%s names %s: what is true of one provider only belongs in internal/provider/%s, where it is data for everybody else", t.at(node), name, name))
				}
				return true
			})
		}
	}
	return slices.Compact(findings)
}

func keys(m map[string]string) []string {
	var all []string
	for key := range m {
		all = append(all, key)
	}
	return all
}

func TestHouse_ProvidersStayInTheirFolders(t *testing.T) {
	report(t, escaped(house(t)))
}

func TestProviders_AreNoticed(t *testing.T) {
	expect(t, escaped(model(t, map[string]string{
		"internal/broker/x.go":            "package broker\nvar kind = \"Microsoft\"\n",
		"internal/connect/x.go":           "package connect\nfunc isGoogle() {}\n",
		"internal/webhook/x.go":           "package webhook\nconst example = \"desk@contoso.onmicrosoft.com\"\n",
		"internal/fetch/x.go":             "// Package fetch follows. Google answers late.\npackage fetch\nimport _ \"github.com/google/uuid\"\n",
		"internal/provider/google/x.go":   "package google\nconst name = \"google\"\n",
		"internal/provider/generic/x.go":  "package generic\nconst not = \"google\"\n",
		"internal/app/registry.go":        importing("app", "internal/provider/google"),
		"internal/app/start.go":           importing("app", "internal/provider/google"),
		"internal/broker/example_test.go": "package broker\nvar kind2 = \"Microsoft\"\n",
	})), "app/start.go", "broker/x.go:2", "connect/x.go:2", "provider/generic/x.go")
}

// foreignText finds what a reader elsewhere cannot follow: paths of the machine the text was written on, and hosts that a
// package happened to be fetched from.
func foreignText(files fs.FS, checkout string) ([]string, error) {
	hosts := regexp.MustCompile(`\b(?:registry|proxy|deb|mirror)\.[a-z]+\.(?:org|com|net)\b`)
	var findings []string
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.IsDir() && skipped(name):
			return fs.SkipDir
		case !entry.Type().IsRegular() || slices.Contains([]string{".png", ".test"}, path.Ext(name)):
			return nil
		}
		info, err := entry.Info()
		if err != nil || info.Size() > 1<<20 {
			return nil //nolint:nilerr // gone since, or a built binary
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		for number, line := range bytes.Split(content, []byte("\n")) {
			switch {
			case checkout != "" && bytes.Contains(line, []byte(checkout)):
				findings = append(findings, fmt.Sprintf("%s:%d names the folder it was written in", name, number+1))
			case hosts.Match(line):
				findings = append(findings, fmt.Sprintf("%s:%d names a package host: versions and checksums are enough", name, number+1))
			}
		}
		return nil
	})
	return findings, err
}

func TestHouse_SpeaksOnlyOfItself(t *testing.T) {
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(checkout, "/") < 2 {
		checkout = "" // "/src" is a word, not a path to give away
	}
	findings, err := foreignText(house(t).files, checkout)
	if err != nil {
		t.Fatal(err)
	}
	report(t, findings)
}

func TestForeignText_IsFound(t *testing.T) {
	here := "/some/where"
	findings, err := foreignText(model(t, map[string]string{
		"README.md":            "Run it.\nSee " + here + "/notes.\n",
		"package-lock.json":    `{"resolved": "https://` + "registry" + `.example.org/x.tgz"}`,
		"docs/fine.md":         "Ask your registry, or somewhere.\n",
		"node_modules/x/y.txt": here,
	}).files, here)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, findings, "README.md:2 names the folder", "package-lock.json:1 names a package host")
}
