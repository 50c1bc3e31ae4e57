package resources

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/mailgrant/mailgrant/client"
)

// Reference is the page about resource files.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Resource files

Made from the list in the code by ` + "`make generate`" + `. A resource file says, in YAML, which providers, mailboxes, webhooks and apps are to be.
` + "`mailgrant apply -f FILE`" + ` makes them so, ` + "`mailgrant diff -f FILE`" + ` says what that would change, ` + "`mailgrant export`" + ` prints such a file.

- Everything is checked first; one mistake changes nothing, and every mistake is named with its line and what to do:
  first those of the form (names, kinds of value, what is missing), and where the form is right, those of the contents.
- The same file again changes nothing. Nothing is deleted, unless ` + "`--prune`" + ` is given: then what is missing from a list that the file has.
- Secrets are not in the file: it names them, as ` + "`{env: NAME}` or `{file: PATH}`" + `, and they are fetched where the command runs. Relative paths begin
  at the file's folder. A client secret is bound to the issuer, client id and endpoints that it was given for: where one of these changes it is
  asked for again.
- What is left out has its default; a setting without a value, and an empty list below the top, are refused. Anchors, aliases and tags are not taken.
- A file has at most 8 MiB.

`)
	needed := map[string]bool{}
	var walk func(t reflect.Type, prefix string)
	walk = func(t reflect.Type, prefix string) {
		for _, k := range keysOf(t) {
			at := join(prefix, k.name)
			needed[at] = k.needed && prefix != ""
			inner := t.FieldByIndex(k.index).Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && inner.PkgPath() == t.PkgPath() {
				walk(inner, at)
			}
		}
	}
	walk(reflect.TypeFor[client.Document](), "")
	for _, k := range Keys() {
		if !strings.Contains(k.Name, ".") {
			fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n| setting | takes |\n| --- | --- |\n", k.Name, strings.ToUpper(k.Takes[:1])+k.Takes[1:])
			continue
		}
		_, name, _ := strings.Cut(k.Name, ".")
		must := ""
		if needed[k.Name] {
			must = " (needed)"
		}
		fmt.Fprintf(&b, "| `%s`%s | %s |\n", name, must, strings.NewReplacer("|", `\|`, "*", `\*`).Replace(k.Takes))
	}
	return strings.ReplaceAll(b.String(), "\n\n\n", "\n\n")
}
