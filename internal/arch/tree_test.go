package arch_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/mailgrant/mailgrant"

// source is one Go file, with its place in the module.
type source struct {
	path      string // relative to the module's root, with slashes
	folder    string // its package's folder, likewise
	test      bool   // a _test.go file
	generated bool
	lines     int
	syntax    *ast.File
}

// imported lists what the file imports from this module, as folders relative to the root.
func (s source) imported() []string {
	var folders []string
	for _, spec := range s.syntax.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser accepted it, so it is quoted
		}
		if inside, ok := strings.CutPrefix(name, module+"/"); ok {
			folders = append(folders, inside)
		} else if name == module {
			folders = append(folders, ".")
		}
	}
	return folders
}

// tree is the module as the checks see it.
type tree struct {
	files   fs.FS
	set     *token.FileSet
	sources []source
}

// packages groups the sources by folder, in order.
func (t tree) packages() []string {
	var folders []string
	for _, s := range t.sources {
		folders = append(folders, s.folder)
	}
	slices.Sort(folders)
	return slices.Compact(folders)
}

func (t tree) at(node ast.Node) string {
	position := t.set.Position(node.Pos())
	return position.Filename + ":" + strconv.Itoa(position.Line)
}

// skipped are folders whose content is not the project's own text.
func skipped(name string) bool {
	switch path.Base(name) {
	case ".git", "node_modules":
		return true
	}
	return name == "internal/web/assets/vendor" || name == "bin"
}

// read parses every Go file of a module.
func read(files fs.FS) (tree, error) {
	t := tree{files: files, set: token.NewFileSet()}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // removed while we look
		case err != nil:
			return err
		case entry.IsDir() && (skipped(name) || path.Base(name) == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		syntax, err := parser.ParseFile(t.set, name, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.sources = append(t.sources, source{
			path: name, folder: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			generated: ast.IsGenerated(syntax), lines: strings.Count(string(content), "\n"), syntax: syntax,
		})
		return nil
	})
	return t, err
}

// root is the module's root folder: two above this package's.
const root = "../.."

// house is this module.
func house(t *testing.T) tree {
	t.Helper()
	if _, err := os.Stat(root + "/go.mod"); err != nil {
		t.Fatalf("the module's root is not where this test expects it: %v", err)
	}
	parsed, err := read(os.DirFS(root))
	if err != nil {
		t.Fatalf("read the module: %v", err)
	}
	if len(parsed.sources) == 0 {
		t.Fatal("the module has no Go files: the checks would look at nothing")
	}
	return parsed
}

// model is a small module made of the given files, for trying a check.
func model(t *testing.T, files map[string]string) tree {
	t.Helper()
	made := fstest.MapFS{}
	for name, content := range files {
		made[name] = &fstest.MapFile{Data: []byte(content)}
	}
	parsed, err := read(made)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// importing is the text of a Go file that imports folders of this module.
func importing(name string, folders ...string) string {
	text := "// Package " + name + " is for a test.\npackage " + name + "\n"
	for _, folder := range folders {
		text += "import _ \"" + module + "/" + folder + "\"\n"
	}
	return text
}

// report fails the test once per finding.
func report(t *testing.T, findings []string) {
	t.Helper()
	for _, finding := range findings {
		t.Error(finding)
	}
}

// expect compares findings with what they must contain, one word each, in order.
func expect(t *testing.T, findings []string, words ...string) {
	t.Helper()
	if len(findings) != len(words) {
		t.Fatalf("%d findings, want %d:\n%s", len(findings), len(words), strings.Join(findings, "\n"))
	}
	for i, word := range words {
		if !strings.Contains(findings[i], word) {
			t.Errorf("finding %q does not mention %q", findings[i], word)
		}
	}
}
