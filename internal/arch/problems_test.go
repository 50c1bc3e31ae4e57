package arch_test

import (
	"cmp"
	"encoding/json"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/api"
)

const (
	problemsList = "../api/problems.json"
	problemsPage = "../../docs/problems.md"
)

// The lists of problems are what the source says; MAILGRANT_TEST_UPDATE=1 writes them.
func TestProblems_AreUpToDate(t *testing.T) {
	found := problems(house(t))
	raw, err := json.MarshalIndent(found, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{problemsList: string(raw) + "\n", problemsPage: api.ProblemsPage(api.Describe(found))} {
		if os.Getenv("MAILGRANT_TEST_UPDATE") != "" {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is out of date; run “make generate”", path)
		}
	}
}

// A line that says nothing helps nobody: a name that stands for several sentences has its own in package api.
func TestProblems_SayWhatTheyMean(t *testing.T) {
	for _, k := range api.Describe(problems(house(t))) {
		if k.Status == 0 || k.Title == "" || strings.Trim(k.Text, "…. “”") == "" || strings.Trim(k.Remedy, "…. ") == "" {
			t.Errorf("%s is not explained: %+v", k.ID, k)
		}
	}
}

func TestProblems_AreFound(t *testing.T) {
	found := problems(model(t, map[string]string{
		"internal/fetch/a.go": "package fetch\nimport \"github.com/mailgrant/mailgrant/internal/fault\"\nconst named = \"fetch.named\"\n" +
			"func a(n string) error { return &fault.Error{ID: \"fetch.a\", Kind: fault.Conflict, Text: \"The \" + n + \" is there.\", Remedy: \"Go on.\"} }\n" +
			"func b(n int) error { return bad(\"fetch.b\", fmt.Sprintf(\"There are %d of “%s”.\", n, n), \"Count again.\") }\n" +
			"func bad(id, text, remedy string) error { return &fault.Error{ID: id, Kind: fault.NotFound, Text: text, Remedy: remedy} }\n" +
			"func c() error { return &fault.Error{ID: named, Kind: fault.Dead, Text: \"Ended.\"} }\n" +
			"func d(f *fault.Error) { f.ID, f.Text = \"fetch.d\", \"Otherwise.\" }\n",
		"internal/cli/a.go": "package cli\nvar a = fault.Error{ID: \"cli.a\", Kind: fault.Invalid}\n",
	}))
	want := []api.ProblemKind{
		{ID: "fetch.a", Kind: "conflict", Text: "The … is there.", Remedy: "Go on."},
		{ID: "fetch.b", Kind: "not_found", Text: "There are … of “…”.", Remedy: "Count again."},
		{ID: "fetch.d", Kind: "internal", Text: "Otherwise."},
		{ID: "fetch.named", Kind: "dead", Text: "Ended."},
	}
	if !slices.Equal(found, want) {
		t.Errorf("%+v", found)
	}
}

// faultName is what the name of a fault looks like.
var faultName = regexp.MustCompile(`^(internal|[a-z][a-z_]*\.[a-z][a-z_0-9]*(\.[a-z_0-9]+)?)$`)

// silent are rooms whose faults never come to a caller of the API.
var silent = []string{"internal/cli", "internal/config", "internal/app", "internal/web"}

// problems reads the faults out of the source: composite literals of fault.Error, calls of the helpers that make them, and
// assignments to their ID.
func problems(t tree) []api.ProblemKind {
	found := map[string]api.ProblemKind{}
	for _, folder := range t.packages() {
		if !strings.HasPrefix(folder, "internal/") || locate(folder).tests || slices.ContainsFunc(silent, func(room string) bool { return folder == room || strings.HasPrefix(folder, room+"/") }) {
			continue
		}
		r := reader{constants: map[string]string{}, makers: map[string]maker{}, found: found}
		files := slices.DeleteFunc(slices.Clone(t.sources), func(s source) bool { return s.folder != folder || s.test })
		for range 2 { // a maker may be made of others
			for _, s := range files {
				r.declarations(s.syntax)
			}
		}
		for _, s := range files {
			ast.Inspect(s.syntax, r.look)
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b api.ProblemKind) int { return cmp.Compare(a.ID, b.ID) })
}

// maker is a function that makes a fault out of its parameters, by their place.
type maker struct {
	id, kind, text, remedy int
	always                 api.ProblemKind // what it says whatever it is given
}

// reader reads one package.
type reader struct {
	constants map[string]string
	makers    map[string]maker
	found     map[string]api.ProblemKind
}

func (r reader) declarations(file *ast.File) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i < len(n.Values) {
					if text, ok := literal(n.Values[i]); ok {
						r.constants[name.Name] = text
					}
				}
			}
		case *ast.FuncDecl:
			r.maker(n.Name.Name, n.Type, n.Body)
		case *ast.AssignStmt:
			if f, ok := n.Rhs[0].(*ast.FuncLit); ok && len(n.Lhs) == 1 {
				if name, ok := n.Lhs[0].(*ast.Ident); ok {
					r.maker(name.Name, f.Type, f.Body)
				}
			}
		}
		return true
	})
}

// maker remembers a function with a parameter called id.
func (r reader) maker(name string, kind *ast.FuncType, body *ast.BlockStmt) {
	m := maker{id: -1, kind: -1, text: -1, remedy: -1}
	place := 0
	for _, field := range kind.Params.List {
		for _, p := range field.Names {
			switch p.Name {
			case "id":
				m.id = place
			case "kind":
				m.kind = place
			case "text", "what", "cause":
				m.text = place
			case "remedy":
				m.remedy = place
			}
			place++
		}
	}
	if m.id < 0 || body == nil {
		return
	}
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if k := r.composite(n); k.Kind != "" {
				m.always = k
			}
		case *ast.CallExpr:
			if k, ok := r.call(n); ok {
				m.always = k
			}
		}
		return true
	})
	if m.always.Kind != "" || m.kind >= 0 {
		r.makers[name] = m
	}
}

func (r reader) look(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.CompositeLit:
		r.keep(r.composite(n))
	case *ast.CallExpr:
		if k, ok := r.call(n); ok {
			r.keep(k)
		}
	case *ast.AssignStmt:
		k := api.ProblemKind{}
		for i, left := range n.Lhs {
			if s, ok := left.(*ast.SelectorExpr); ok && i < len(n.Rhs) && len(n.Lhs) == len(n.Rhs) {
				r.member(&k, s.Sel.Name, n.Rhs[i])
			}
		}
		r.keep(k)
	}
	return true
}

// call reads what a maker is given.
func (r reader) call(n *ast.CallExpr) (api.ProblemKind, bool) {
	name := ""
	switch f := n.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
	}
	m, ok := r.makers[name]
	if !ok {
		return api.ProblemKind{}, false
	}
	argument := func(i int) string {
		if i < 0 || i >= len(n.Args) {
			return ""
		}
		return r.words(n.Args[i])
	}
	k := m.always
	k.ID = argument(m.id)
	k.Text, k.Remedy = cmp.Or(argument(m.text), k.Text), cmp.Or(argument(m.remedy), k.Remedy)
	if m.kind >= 0 && m.kind < len(n.Args) {
		k.Kind = kindName(n.Args[m.kind])
	}
	return k, true
}

// composite reads the members of a literal.
func (r reader) composite(n *ast.CompositeLit) api.ProblemKind {
	var k api.ProblemKind
	for _, e := range n.Elts {
		if pair, ok := e.(*ast.KeyValueExpr); ok {
			if name, ok := pair.Key.(*ast.Ident); ok {
				r.member(&k, name.Name, pair.Value)
			}
		}
	}
	return k
}

func (r reader) member(k *api.ProblemKind, name string, value ast.Expr) {
	switch name {
	case "ID":
		k.ID = r.words(value)
	case "Kind":
		k.Kind = kindName(value)
	case "Text":
		k.Text = r.words(value)
	case "Remedy":
		k.Remedy = r.words(value)
	}
}

// keep takes what has the name of a fault; of several the one that says most.
func (r reader) keep(k api.ProblemKind) {
	if !faultName.MatchString(k.ID) || k.Text == "" && k.Kind == "" {
		return
	}
	k.Kind = cmp.Or(k.Kind, "internal")
	before, there := r.found[k.ID]
	if there && before.Kind != "internal" {
		k.Kind = before.Kind
	}
	if score(before) >= score(k) {
		k.Text, k.Remedy = before.Text, before.Remedy
	}
	r.found[k.ID] = k
}

// score prefers sentences that are whole.
func score(k api.ProblemKind) int {
	n := 0
	for _, s := range []string{k.Text, k.Remedy} {
		if s != "" && s != "…" {
			n += 10 - strings.Count(s, "…")
		}
	}
	return n
}

var verb = regexp.MustCompile(`%[#+]?[a-z]`)

// words is a text as far as the source says it; … stands for the rest.
func (r reader) words(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := literal(e)
		return text
	case *ast.Ident:
		return cmp.Or(r.constants[e.Name], "…")
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return strings.ReplaceAll(r.words(e.X)+r.words(e.Y), "……", "…")
		}
	case *ast.ParenExpr:
		return r.words(e.X)
	case *ast.CallExpr:
		if s, ok := e.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Sprintf" && len(e.Args) > 0 {
			return verb.ReplaceAllString(r.words(e.Args[0]), "…")
		}
	}
	return "…"
}

func literal(e ast.Expr) (string, bool) {
	b, ok := e.(*ast.BasicLit)
	if !ok || b.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(b.Value)
	return text, err == nil
}

var capital = regexp.MustCompile(`([a-z])([A-Z])`)

// kindName is a kind as fault.Kind spells it: fault.NotFound is not_found.
func kindName(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok && x.Name == "fault" {
			return strings.ToLower(capital.ReplaceAllString(s.Sel.Name, "${1}_$2"))
		}
	}
	return ""
}
