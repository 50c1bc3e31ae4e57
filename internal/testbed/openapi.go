package testbed

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// LintOpenAPI checks an OpenAPI document with a linter that is not ours and gives a line for each finding.
func LintOpenAPI(t testing.TB, document []byte) []string {
	t.Helper()
	code := npmFolder(t, "openapi")
	found := node(t, code, string(document), nil, filepath.Join(code, "lint.js"))
	return strings.FieldsFunc(found, func(r rune) bool { return r == '\n' })
}

// TypeScriptStory makes a TypeScript client from an OpenAPI document, checks its types together with those of the program
// story.ts, runs that under Node.js with what it is given, and reads into saw what it printed.
func TypeScriptStory(t testing.TB, document []byte, given, saw any) {
	t.Helper()
	code := npmFolder(t, "openapi")
	dir := t.TempDir()
	input := filepath.Join(dir, "openapi.json")
	writeFile(t, input, string(document), 0o600)
	writeFile(t, filepath.Join(dir, "package.json"), `{"type":"module"}`, 0o600)
	for _, name := range []string{"story.ts", "tsconfig.json"} {
		content, err := os.ReadFile(filepath.Join(code, name))
		if err != nil {
			t.Fatalf("read %s: %v", name, err)
		}
		writeFile(t, filepath.Join(dir, name), string(content), 0o600)
	}
	node(t, code, "", nil, filepath.Join(code, "generate.js"), input, filepath.Join(dir, "client"))
	modules := filepath.Join(code, "node_modules")
	node(t, dir, "", nil, filepath.Join(modules, "typescript", "bin", "tsc"), "--project", dir, "--typeRoots", filepath.Join(modules, "@types"), "--types", "node")
	setting, err := json.Marshal(given)
	if err != nil {
		t.Fatalf("encode what the story is given: %v", err)
	}
	output := node(t, dir, "", []string{"STORY=" + string(setting)}, filepath.Join(dir, "made", "story.js"))
	if err := json.Unmarshal([]byte(output), saw); err != nil {
		t.Fatalf("the story printed what cannot be read: %v\n%s", err, output)
	}
}

// node runs a program under Node.js and gives what it printed; the test fails where the program does.
func node(t testing.TB, dir, input string, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, "node", "nodejs npm"), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(os.Environ(), env...), strings.NewReader(input)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %s: %v\n%s%s", strings.Join(args, " "), err, output, complaints.String())
	}
	return string(output)
}
