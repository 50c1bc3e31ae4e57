package resources

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// reader walks a file's nodes and the types of client side by side.
type reader struct {
	from     Sources
	file     *File
	mistakes []Mistake
	needed   map[string]bool // fields that cannot be left out
}

// otherwise is what to do about a value that is none.
func (r *reader) otherwise(field string) string {
	if r.needed[field] {
		return "Give it " + takesOf(field) + "."
	}
	return "Leave the line out, or give it " + takesOf(field) + "."
}

func (r *reader) refuse(at Place, field, text, remedy string) {
	r.mistakes = append(r.mistakes, Mistake{Place: at, Field: field, Text: text, Remedy: remedy})
}

// wrongKind refuses a node that is not what its field takes.
func (r *reader) wrongKind(n *yaml.Node, field, wants string) {
	is := map[yaml.Kind]string{yaml.MappingNode: "a group of settings", yaml.SequenceNode: "a list"}[n.Kind]
	remedy := ""
	if n.Kind == yaml.ScalarNode {
		is = map[string]string{"!!int": "a number", "!!float": "a number", "!!bool": "true or false", "!!timestamp": "a date"}[n.ShortTag()]
		if is == "" {
			is = "a text"
		} else if wants == "a text" && !strings.Contains(takesOf(field), "duration") {
			remedy = " Put quotes around it if it is meant as it stands."
		}
	}
	r.refuse(placeOf(n), field, fmt.Sprintf("This is %s, where %s is wanted.", is, wants), fmt.Sprintf("%s takes %s.%s", lastKey(field), takesOf(field), remedy))
}

// key is one that a group may have.
type key struct {
	name     string
	index    []int // of the struct's field
	needed   bool
	readOnly bool
}

// keysOf lists the keys of a type, those of embedded types among them. What has
// no omitempty is needed; of a resource, its name too.
func keysOf(t reflect.Type) (keys []key) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for _, k := range keysOf(f.Type) {
				k.index = append([]int{i}, k.index...)
				keys = append(keys, k)
			}
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		resource := t == reflect.TypeFor[client.Provider]() || t == reflect.TypeFor[client.Mailbox]() || t == reflect.TypeFor[client.Webhook]() || t == reflect.TypeFor[client.App]()
		keys = append(keys, key{name: name, index: f.Index, needed: options == "" || resource && i == 0, readOnly: f.Tag.Get("readOnly") == "true"})
	}
	return keys
}

// Certificates stand in a file of their own, or in the resource file itself.
const (
	inlinePEM = "ca_pem"
	namedPEM  = "ca_file"
)

// spelled are the names a file may use in a type, for the words of a refusal.
func spelled(t reflect.Type) (names []string) {
	if t == reflect.TypeFor[client.ClientSecret]() {
		return []string{secretEnv, secretFile, "expires_at", "id"}
	}
	for _, k := range keysOf(t) {
		if k.readOnly {
			continue
		}
		names = append(names, k.name)
		if k.name == inlinePEM {
			names = append(names, namedPEM)
		}
	}
	return names
}

// into reads a node into a value of one of client's types.
func (r *reader) into(n *yaml.Node, field string, v reflect.Value) {
	r.file.places[field] = placeOf(n)
	if r.strange(n, field) {
		return
	}
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		r.date(n, field, v)
		return
	case reflect.TypeFor[client.ClientSecret]():
		r.clientSecret(n, field, v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.into(n, field, v.Elem())
	case reflect.Struct:
		r.group(n, field, v)
	case reflect.Map:
		r.texts(n, field, v)
	case reflect.Slice:
		r.list(n, field, v)
	case reflect.String:
		if text, ok := r.text(n, field); ok {
			v.SetString(text)
		}
	case reflect.Int:
		number, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || err != nil {
			r.wrongKind(n, field, "a whole number")
			return
		}
		v.SetInt(int64(number))
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			r.wrongKind(n, field, "true or false")
			return
		}
		v.SetBool(n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	default:
		panic("resources: a type that no file can hold: " + v.Type().String())
	}
}

// strange refuses what YAML has and resource files do not.
func (r *reader) strange(n *yaml.Node, field string) bool {
	tag := n.ShortTag()
	known := []string{"!!str", "!!int", "!!float", "!!bool", "!!null", "!!timestamp", "!!map", "!!seq"}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.refuse(placeOf(n), field, noAlias, noAliasRemedy)
	case n.Style&yaml.TaggedStyle != 0 || !slices.Contains(known, tag):
		r.refuse(placeOf(n), field, fmt.Sprintf("A tag such as %s is not taken here.", fault.Shorten(tag, 40)), "Leave it out, and put quotes around a text.")
	case n.Kind == yaml.ScalarNode && tag == "!!null":
		r.refuse(placeOf(n), field, fmt.Sprintf("%s has no value.", orTop(lastKey(field))), r.otherwise(field))
	default:
		return false
	}
	return true
}

func orTop(name string) string {
	if name == "" {
		return "This"
	}
	return name
}

// group reads a mapping into a struct.
func (r *reader) group(n *yaml.Node, field string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.wrongKind(n, field, "a group of settings")
		return
	}
	keys := keysOf(v.Type())
	var meant []string // by keys that there are not
	seen := r.eachKey(n, field, func(name *yaml.Node, value *yaml.Node, at string) {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name.Value })
		r.needed[at] = i >= 0 && keys[i].needed
		switch {
		case name.Value == namedPEM && slices.ContainsFunc(keys, func(k key) bool { return k.name == inlinePEM }):
			r.pemFile(n, value, field, v)
		case name.Value == "client_certificate" && v.Type() == reflect.TypeFor[client.Provider]():
			r.refuse(placeOf(name), at, "Client certificates are not offered yet.", "Use client_secrets, each {env: NAME} or {file: PATH}.")
		case i < 0:
			meant = append(meant, r.unknown(name, at, field, v.Type()))
		case name.Value == inlinePEM:
			r.into(value, at, v.FieldByIndex(keys[i].index))
			r.file.places[join(field, namedPEM)] = r.file.places[at]
		case keys[i].readOnly:
			r.refuse(placeOf(name), at, fmt.Sprintf("%s is the server's, and is written nowhere else.", name.Value), "Leave the line out.")
		case name.Value == "secret":
			r.secret(value, at, v.FieldByIndex(keys[i].index))
		default:
			r.into(value, at, v.FieldByIndex(keys[i].index))
		}
	})
	for _, k := range keys {
		if k.needed && !seen[k.name] && !slices.Contains(meant, k.name) {
			r.refuse(placeOf(n), join(field, k.name), fmt.Sprintf("%s is missing.", k.name), fmt.Sprintf("Add %s: %s.", k.name, takesOf(join(field, k.name))))
		}
	}
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// eachKey visits the pairs of a mapping whose key is usable.
func (r *reader) eachKey(n *yaml.Node, field string, visit func(name, value *yaml.Node, at string)) map[string]bool {
	first := map[string]int{}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		at := join(field, fault.Shorten(name.Value, 60))
		switch {
		case name.Kind != yaml.ScalarNode || name.ShortTag() == "!!merge":
			r.refuse(placeOf(name), field, "This cannot be the name of a setting.", "Write each setting as name: value; what another one holds is written out.")
			continue
		case name.Kind == yaml.AliasNode || name.Anchor != "":
			r.refuse(placeOf(name), field, noAlias, noAliasRemedy)
			continue
		case seen[name.Value]:
			r.refuse(placeOf(name), at, fmt.Sprintf("%s stands here twice; first on line %d.", fault.Shorten(name.Value, 60), first[name.Value]), "Keep one of them.")
			continue
		}
		seen[name.Value], first[name.Value] = true, name.Line
		visit(name, value, at)
	}
	return seen
}

// unknown refuses a key that there is not, and gives the one that was probably
// meant.
func (r *reader) unknown(name *yaml.Node, at, field string, t reflect.Type) (near string) {
	possible := spelled(t)
	shown := fault.Shorten(name.Value, 60)
	if field == "" && r.from.Setting != nil && r.from.Setting(name.Value) && fault.Nearest(name.Value, possible) == "" {
		r.refuse(placeOf(name), at, fmt.Sprintf("%s is a setting of the server, and no resource.", shown), "Put it into the server's own file, mailgrant.yaml.")
		return ""
	}
	remedy := "Possible here: " + strings.Join(possible, ", ") + "."
	if near = fault.Nearest(name.Value, possible); near != "" {
		remedy = "Did you mean " + near + "? " + remedy
	}
	r.refuse(placeOf(name), at, fmt.Sprintf("There is no setting “%s” here.", shown), remedy)
	return near
}

// list reads a sequence into a slice.
func (r *reader) list(n *yaml.Node, field string, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		r.wrongKind(n, field, "a list")
		return
	}
	if len(n.Content) == 0 && strings.Contains(field, ".") && v.Type().Elem() != reflect.TypeFor[client.ClientSecret]() {
		r.refuse(placeOf(n), field, fmt.Sprintf("%s is an empty list.", lastKey(field)), r.otherwise(field))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		r.into(item, fmt.Sprintf("%s[%d]", field, i), v.Index(i))
	}
}

// texts reads a mapping of texts.
func (r *reader) texts(n *yaml.Node, field string, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		r.wrongKind(n, field, "a group of settings")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	r.eachKey(n, field, func(name, value *yaml.Node, at string) {
		r.file.places[at] = placeOf(value)
		if r.strange(value, at) {
			return
		}
		if text, ok := r.text(value, at); ok {
			v.SetMapIndex(reflect.ValueOf(name.Value), reflect.ValueOf(text))
		}
	})
}

// text reads a scalar that is one. “move: Processed” is a text to the API and a
// group of one setting to YAML: both are taken.
func (r *reader) text(n *yaml.Node, field string) (string, bool) {
	pair := map[string]string{"mailboxes.acts_as": "delegate", "mailboxes.after_receive": "move"}[shape(field)]
	if n.Kind == yaml.MappingNode && pair != "" && len(n.Content) == 2 && n.Content[0].Value == pair && n.Content[1].Kind == yaml.ScalarNode && n.Content[1].ShortTag() == "!!str" {
		return pair + ": " + n.Content[1].Value, true
	}
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		r.wrongKind(n, field, "a text")
		return "", false
	case strings.TrimSpace(n.Value) == "":
		r.refuse(placeOf(n), field, fmt.Sprintf("%s is empty.", lastKey(field)), r.otherwise(field))
		return "", false
	}
	return n.Value, true
}

// date reads a day, or a moment.
func (r *reader) date(n *yaml.Node, field string, v reflect.Value) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!timestamp" && n.ShortTag() != "!!str" {
		r.wrongKind(n, field, "a date")
		return
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, n.Value); err == nil {
			v.Set(reflect.ValueOf(t.UTC()))
			return
		}
	}
	if strings.TrimSpace(n.Value) == "" {
		r.refuse(placeOf(n), field, fmt.Sprintf("%s is empty.", lastKey(field)), r.otherwise(field))
		return
	}
	r.refuse(placeOf(n), field, fmt.Sprintf("“%s” is not a date.", fault.Shorten(n.Value, 40)), "Write it as 2027-05-01 or 2027-05-01T12:00:00Z.")
}
