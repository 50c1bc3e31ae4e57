package arch_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// changing are the package variables that do change, each with the reason why it may.
var changing = map[string]string{
	"internal/testbed.shared": "one PostgreSQL per test binary; starting one for each test would take minutes",
}

// changes finds package variables that are assigned to, have their address taken, or are made to be changed (locks, atomic
// values), and functions named init.
func changes(t tree) []string {
	var findings []string
	for _, folder := range t.packages() {
		var files []source
		for _, s := range t.sources {
			if s.folder == folder && !s.test {
				files = append(files, s)
			}
		}
		findings = append(findings, inits(t, files)...)
		findings = append(findings, changesIn(t, folder, files)...)
	}
	return findings
}

func inits(t tree, files []source) []string {
	var findings []string
	for _, s := range files {
		for _, declared := range s.syntax.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				findings = append(findings, t.at(f)+": func init runs where nobody reads it; do it in a constructor that app calls")
			}
		}
	}
	return findings
}

// noImports lets one package be resolved without its imports: enough to know what each name of its own means.
type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not looked at") }

func changesIn(t tree, folder string, files []source) []string {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	var syntax []*ast.File
	for _, s := range files {
		syntax = append(syntax, s.syntax)
	}
	// What cannot be resolved without the imports is expected to be reported, and is not our question.
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := config.Check(folder, t.set, syntax, info)

	var findings []string
	found := func(node ast.Node, name, what string) {
		if _, allowed := changing[folder+"."+name]; !allowed {
			findings = append(findings, fmt.Sprintf("%s: package variable %s %s; state belongs in a value that app makes and hands on", t.at(node), name, what))
		}
	}
	// owned is the package variable at the root of an expression such as v, v.field or v[i].
	owned := func(e ast.Expr) (string, bool) {
		name, foreign := base(e, info)
		if name == nil {
			return "", false
		}
		if foreign {
			return name.Name, true
		}
		v, ok := info.Uses[name].(*types.Var)
		return name.Name, ok && pkg != nil && v.Parent() == pkg.Scope()
	}
	for _, s := range files {
		for _, spec := range madeToChange(s.syntax) {
			found(spec, spec.Names[0].Name, "is made to be changed")
		}
		ast.Inspect(s.syntax, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					if name, ok := owned(left); ok && n.Tok != token.DEFINE {
						found(n, name, "is assigned to")
					}
				}
			case *ast.IncDecStmt:
				if name, ok := owned(n.X); ok {
					found(n, name, "is assigned to")
				}
			case *ast.UnaryExpr:
				if name, ok := owned(n.X); ok && n.Op == token.AND {
					found(n, name, "has its address taken")
				}
			}
			return true
		})
	}
	return findings
}

// base is the identifier at the root of an expression; foreign when it is a variable of another package.
func base(e ast.Expr, info *types.Info) (name *ast.Ident, foreign bool) {
	switch e := e.(type) {
	case *ast.Ident:
		return e, false
	case *ast.ParenExpr:
		return base(e.X, info)
	case *ast.IndexExpr:
		return base(e.X, info)
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			if _, imported := info.Uses[x].(*types.PkgName); imported {
				return e.Sel, true
			}
		}
		return base(e.X, info)
	}
	return nil, false
}

// madeToChange finds the package variables whose type comes from sync or sync/atomic.
func madeToChange(file *ast.File) []*ast.ValueSpec {
	var found []*ast.ValueSpec
	for _, declared := range file.Decls {
		group, ok := declared.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			changes := false
			ast.Inspect(value, func(node ast.Node) bool {
				if _, function := node.(*ast.FuncLit); function {
					return false
				}
				if selector, ok := node.(*ast.SelectorExpr); ok {
					x, isName := selector.X.(*ast.Ident)
					changes = changes || isName && (x.Name == "atomic" || x.Name == "sync") && !strings.HasPrefix(selector.Sel.Name, "Once")
				}
				return true
			})
			if changes {
				found = append(found, value)
			}
		}
	}
	return found
}

func TestHouse_PackageVariablesStayAsTheyAre(t *testing.T) {
	report(t, changes(house(t)))
}

func TestChanges_AreFound(t *testing.T) {
	for _, c := range []struct{ outcome, code, word string }{
		{"a sentinel error is fine", `import "errors"; var ErrGone = errors.New("gone")`, ""},
		{"a table that is read is fine", `var table = map[string]int{"a": 1}; func f() int { return table["a"] }`, ""},
		{"a local of the same name is fine", `var x = 1; func f() int { x := 2; x = 3; return x }`, ""},
		{"an interface check is fine", `import "io"; var _ io.Reader = (*r)(nil); type r struct{}; func (*r) Read([]byte) (int, error) { return 0, nil }`, ""},
		{"a file tree is fine", "import \"embed\"\n//go:embed x\nvar files embed.FS", ""},
		{"an assignment is found", `var x = 1; func f() { x = 2 }`, "assigned"},
		{"a count is found", `var x = 1; func f() { x++ }`, "assigned"},
		{"an entry of a map is found", `var m = map[string]int{}; func f() { m["a"] = 1 }`, "assigned"},
		{"a field is found", `var s struct{ n int }; func f() { s.n = 1 }`, "assigned"},
		{"a taken address is found", `var x int; func f() *int { return &x }`, "address"},
		{"a lock is found", `import "sync"; var mu sync.Mutex`, "made to be changed"},
		{"an atomic value is found", `import "sync/atomic"; var n atomic.Int64`, "made to be changed"},
		{"another package's variable is found", `import "net/http"; func f() { http.DefaultClient = nil }`, "assigned"},
		{"init is found", `func init() {}`, "func init"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			found := changes(model(t, map[string]string{"internal/fault/x.go": "package fault\n" + c.code}))
			if c.word == "" {
				expect(t, found)
			} else {
				expect(t, found, c.word)
			}
		})
	}
	t.Run("every exception still exists", func(t *testing.T) {
		h := house(t)
		for name := range changing {
			folder, variable, _ := strings.Cut(name, ".")
			exists := slices.ContainsFunc(h.sources, func(s source) bool {
				return s.folder == folder && slices.ContainsFunc(variablesOf(s.syntax), func(v string) bool { return v == variable })
			})
			if !exists {
				t.Errorf("%s is excepted but does not exist any more", name)
			}
		}
	})
}

func variablesOf(file *ast.File) []string {
	var names []string
	for _, declared := range file.Decls {
		group, ok := declared.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				names = append(names, name.Name)
			}
		}
	}
	return names
}
