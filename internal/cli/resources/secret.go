package resources

import (
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// How a file names a secret.
const (
	secretEnv  = "env"
	secretFile = "file"
)

const noLiteral = "A secret does not belong into this file."

// clientSecret reads {env: NAME, expires_at: DATE}.
func (r *reader) clientSecret(n *yaml.Node, field string, v reflect.Value) {
	var c client.ClientSecret
	if n.Kind == yaml.ScalarNode {
		r.refuse(placeOf(n), field, noLiteral, "Write {env: NAME} and put the secret into that environment variable, or {file: PATH} and put it alone into that file.")
		return
	}
	if n.Kind != yaml.MappingNode {
		r.wrongKind(n, field, "a group of settings")
		return
	}
	r.reference(n, field, true, &c.Value, func(name, value *yaml.Node, at string) bool {
		switch name.Value {
		case "expires_at":
			r.into(value, at, reflect.ValueOf(&c).Elem().FieldByName("ExpiresAt"))
		case "id":
			r.into(value, at, reflect.ValueOf(&c).Elem().FieldByName("ID"))
		default:
			return false
		}
		return true
	})
	v.Set(reflect.ValueOf(c))
}

// secret reads {file: PATH} into a text.
func (r *reader) secret(n *yaml.Node, field string, v reflect.Value) {
	r.file.places[field] = placeOf(n)
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" && n.Anchor == "" {
		r.refuse(placeOf(n), field, noLiteral, "Write {file: PATH} and put the secret alone into that file, or {env: NAME} and put it into that environment variable; or leave the line out, and one is made and shown once.")
		return
	}
	if r.strange(n, field) {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.wrongKind(n, field, "a group of settings")
		return
	}
	var value string
	r.reference(n, field, false, &value, func(_, _ *yaml.Node, _ string) bool { return false })
	v.SetString(value)
}

// reference reads where a secret is, and fetches it.
func (r *reader) reference(n *yaml.Node, field string, hasID bool, into *string, other func(name, value *yaml.Node, at string) bool) {
	possible := []string{secretEnv, secretFile}
	if hasID {
		possible = spelled(reflect.TypeFor[client.ClientSecret]())
	}
	var ways []string
	seen := r.eachKey(n, field, func(name, value *yaml.Node, at string) {
		r.file.places[at] = placeOf(value)
		r.needed[at] = slices.Contains([]string{secretEnv, secretFile}, name.Value)
		switch {
		case r.needed[at]:
			ways = append(ways, name.Value)
			if !r.strange(value, at) {
				r.fetch(name.Value, value, at, into)
			}
		case slices.Contains([]string{"value", "secret"}, name.Value):
			ways = append(ways, name.Value)
			r.refuse(placeOf(name), at, noLiteral, "Write {env: NAME} and put the secret into that environment variable, or {file: PATH} and put it alone into that file.")
		case !other(name, value, at):
			remedy := "Possible here: " + joinWords(possible) + "."
			if near := fault.Nearest(name.Value, possible); near != "" {
				remedy = "Did you mean " + near + "? " + remedy
				if near != "expires_at" { // it is not told twice that the secret is nowhere
					ways = append(ways, near)
				}
			}
			r.refuse(placeOf(name), at, fmt.Sprintf("There is no setting “%s” here.", fault.Shorten(name.Value, 60)), remedy)
		}
	})
	if seen["id"] && hasID {
		ways = append(ways, "id")
	}
	switch {
	case len(ways) == 0:
		r.refuse(placeOf(n), field, "It is not said where the secret is.", "Write {env: NAME} for an environment variable, or {file: PATH} for a file.")
	case len(ways) > 1:
		r.refuse(placeOf(n), field, fmt.Sprintf("%s and %s say the same in two ways.", ways[0], ways[1]), "Keep one of them.")
	}
}

func (r *reader) fetch(way string, n *yaml.Node, field string, into *string) {
	name, ok := r.text(n, field)
	if !ok {
		return
	}
	if way == secretEnv {
		if *into = r.from.Variable(name); *into == "" {
			r.refuse(placeOf(n), field, fmt.Sprintf("The environment variable %s is not set.", fault.Shorten(name, 60)), "Set it to the secret where this command runs, or write {file: PATH}.")
		}
		return
	}
	var err error
	if *into, err = r.from.Secret(name); err != nil {
		r.fetched(n, field, err)
	}
}

// fetched refuses a file that could not be read.
func (r *reader) fetched(n *yaml.Node, field string, err error) {
	f := fault.Of(err)
	text := f.Text
	if f.Err != nil {
		text += " (" + f.Err.Error() + ")"
	}
	r.refuse(placeOf(n), field, text, f.Remedy+" A relative path begins at the folder of the resource file.")
}

// pemFile reads the certificates that ca_file names into the member for them.
func (r *reader) pemFile(group, n *yaml.Node, field string, v reflect.Value) {
	at := join(field, namedPEM)
	r.file.places[at], r.file.places[join(field, inlinePEM)] = placeOf(n), placeOf(n)
	for i := 0; i+1 < len(group.Content); i += 2 {
		if group.Content[i].Value == inlinePEM {
			r.refuse(placeOf(n), at, "ca_file and ca_pem say the same in two ways.", "Keep one of them.")
			return
		}
	}
	if r.strange(n, at) {
		return
	}
	name, ok := r.text(n, at)
	if !ok {
		return
	}
	text, err := r.from.PEM(name)
	if err != nil {
		r.fetched(n, at, err)
		return
	}
	for _, k := range keysOf(v.Type()) {
		if k.name == inlinePEM {
			v.FieldByIndex(k.index).SetString(text)
		}
	}
}
